"""Who is measured: the program, what pip installs for it, and what a reader has to know.

The rule of this file: data. Versions are exact, and were the newest that worked together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import scenarios


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those that are compared.

    Attributes:
        name: What it is called, everywhere.
        program: Its module in `benchmarks.peer_programs`, and `way` which of its ways.
        environment: Peers with the same one share it; it holds the `requirements`, for pip.
        packages: The distributions whose versions are shown; the first is the peer's own.
        note: What a reader has to know.
        most_rounds: By workload, how many rounds at most, for one that takes minutes.
        by_command: A cold start is `orchestrator run`, not its program.
        variables: The environment variables that its process has besides.
    """

    name: str
    program: str
    environment: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    note: str
    way: str = ""
    most_rounds: Mapping[str, int] = field(default_factory=dict)
    by_command: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its name, as that of a file."""
        return re.sub(r"\W+", "-", self.name.lower())


OURS = "orchestrator"

MCP = "mcp==2.3.0"
LANGGRAPH = ("langgraph==1.2.22", "langchain-mcp-adapters==0.3.2", "mcp==1.30.0")
LANGGRAPH_SHOWN = ("langgraph", "langchain-mcp-adapters", "mcp")
PREFECT = ("prefect==3.8.8", "fastapi==0.149.0", MCP)
"""FastAPI is held back: the server of this Prefect does not start with one that is newer."""
PREFECT_VARIABLES = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
"""Nothing is sent to anybody; and the temporary server may take its time on a busy machine."""

_ALL = (
    Peer(
        OURS,
        program="orchestrator_runs",
        environment="orchestrator",
        requirements=("-e", str(scenarios.HERE), MCP),
        packages=("mcp-orchestrator", "mcp"),
        note="dataflow, no limit; cold: the command `orchestrator run`",
        by_command=True,
    ),
    Peer(
        "gather, by layers",
        program="gather",
        way="by layers",
        environment="mcp",
        requirements=(MCP,),
        packages=("mcp",),
        note="by hand on the bare SDK: asyncio.gather for each layer",
    ),
    Peer(
        "gather, task futures",
        program="gather",
        way="task futures",
        environment="mcp",
        requirements=(MCP,),
        packages=("mcp",),
        note="by hand on the bare SDK: an asyncio task for each call, which awaits its needs",
    ),
    Peer(
        "FastMCP client",
        program="fastmcp_client",
        environment="fastmcp",
        requirements=("fastmcp==4.1.2", MCP),
        packages=("fastmcp", "mcp"),
        note="by hand: an asyncio task for each call, which awaits its needs",
    ),
    Peer(
        "LangGraph, sessions kept",
        program="langgraph_tools",
        way="kept",
        environment="langgraph",
        requirements=LANGGRAPH,
        packages=LANGGRAPH_SHOWN,
        note="StateGraph; load_mcp_tools on sessions that stay open",
    ),
    Peer(
        "LangGraph, as it comes",
        program="langgraph_tools",
        way="as it comes",
        environment="langgraph",
        requirements=LANGGRAPH,
        packages=LANGGRAPH_SHOWN,
        note="get_tools(): a session and a server process for each call, 10 at once at most",
        most_rounds={"layers": 3, "instant": 1},
    ),
    Peer(
        "mcp-agent",
        program="mcp_agent_parallel",
        environment="mcp-agent",
        requirements=("mcp-agent==0.2.6", "mcp==1.30.0"),
        packages=("mcp-agent", "mcp"),
        note="FanOut of its parallel workflow over functions, one for each layer; no model",
    ),
    Peer(
        "Prefect, submit",
        program="prefect_tasks",
        way="submit",
        environment="prefect",
        requirements=PREFECT,
        packages=("prefect", "mcp"),
        note="@task.submit on threads, its temporary local server; CPU without that server's",
        variables=PREFECT_VARIABLES,
    ),
    Peer(
        "Prefect, async tasks",
        program="prefect_tasks",
        way="gather",
        environment="prefect",
        requirements=PREFECT,
        packages=("prefect", "mcp"),
        note="async tasks in asyncio tasks, its temporary local server; CPU without that server's",
        variables=PREFECT_VARIABLES,
    ),
)

PEERS = {peer.name: peer for peer in _ALL}
