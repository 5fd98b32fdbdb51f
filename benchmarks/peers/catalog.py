"""The peers: their programs, what pip installs for them, and what a reader has to know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import scenarios


@dataclass(frozen=True, slots=True)
class Peer:
    """A library that is compared.

    Attributes:
        program: Its module in `benchmarks.peer_programs`.
        requirements: What pip installs, at exact versions; the first is the peer's own package.
            Peers with the same requirements share an environment.
        note: What a reader has to know.
        way: The variant of its program.
        most_rounds: By workload, the most rounds, for one that takes minutes.
    """

    name: str
    program: str
    requirements: tuple[str, ...]
    note: str
    way: str = ""
    most_rounds: Mapping[str, int] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its name, as that of a file."""
        return re.sub(r"\W+", "-", self.name.lower())

    @property
    def packages(self) -> list[str]:
        """The distributions whose versions are shown."""
        return [part.partition("==")[0] for part in self.requirements if "==" in part]


OURS = "orchestrator"
MCP = "mcp==2.3.0"
BARE = (MCP,)
FASTMCP = ("fastmcp==4.1.2", MCP)
LANGGRAPH = ("langgraph==1.2.22", "langchain-mcp-adapters==0.3.2", "mcp==1.30.0")
MCP_AGENT = ("mcp-agent==0.2.6", "mcp==1.30.0")
# The server of this Prefect does not start with a newer FastAPI.
PREFECT = ("prefect==3.8.8", "fastapi==0.149.0", MCP)
# No usage data is sent, and the temporary server of Prefect gets enough time on a busy machine.
VARIABLES = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

BY_HAND = "by hand on the bare SDK"
FUTURES = "an asyncio task for each call"
TEMPORARY = "its temporary local server; CPU without that server's"

_PEERS = (
    Peer(
        OURS,
        "orchestrator_runs",
        ("-e", str(scenarios.HERE), MCP),
        "dataflow, no limit; cold: the command `orchestrator run`",
    ),
    Peer("gather, by layers", "gather", BARE, f"{BY_HAND}: a gather a layer", "by layers"),
    Peer("gather, task futures", "gather", BARE, f"{BY_HAND}: {FUTURES}"),
    Peer("FastMCP client", "fastmcp_client", FASTMCP, f"by hand: {FUTURES}"),
    Peer(
        "LangGraph, sessions kept",
        "langgraph_tools",
        LANGGRAPH,
        "StateGraph; load_mcp_tools on sessions that stay open",
        "kept",
    ),
    Peer(
        "LangGraph, as it comes",
        "langgraph_tools",
        LANGGRAPH,
        "get_tools(): a session and a server process for each call, 10 at once at most",
        most_rounds={"layers": 3, "instant": 1},
    ),
    Peer(
        "mcp-agent",
        "mcp_agent_parallel",
        MCP_AGENT,
        "FanOut of its parallel workflow over functions, one for each layer; no model",
    ),
    Peer(
        "Prefect, submit",
        "prefect_tasks",
        PREFECT,
        f"@task.submit on threads, {TEMPORARY}",
        "submit",
    ),
    Peer(
        "Prefect, async tasks",
        "prefect_tasks",
        PREFECT,
        f"async tasks in asyncio tasks, {TEMPORARY}",
    ),
)
PEERS = {peer.name: peer for peer in _PEERS}
