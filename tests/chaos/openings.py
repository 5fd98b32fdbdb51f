"""Answers with random mistakes while a server starts: it is used or refused, and costs no other.

`python -m tests.chaos openings --count 5000`. A case can be made again from its seed and number.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import SocketStream

from orchestrator import CallError, Orchestrator, Server, WorkflowError
from tests.chaos.answers import GUARD_S, KINDS_OF_BODY, LIMIT_S, Tally, Tracebacks, change, written
from tests.http_server import HttpServer, Json
from tests.puppet import ID, program, send, serve

COUNT = 5000
QUICK_COUNTS = {"http": 100, "stdio": 5}
# Servers that start at once, beside one that is as it should be.
AT_ONCE = 10
# What may come of a call to such a server.
KINDS = {"server_unavailable", "protocol_error", "invalid_arguments", "output_invalid"}
# An exception that nobody has put into words.
_UNTOLD = re.compile(r"pydantic|validation error|Traceback|\b[A-Z]\w*(Error|Exception|Group)\b")

# What it says itself may look like one.
ERRORS = '"error"'

INFO = {"name": "x", "version": "1", "title": "X"}
TOOL = {
    "name": "echo",
    "title": "Echo",
    "description": "hello",
    "inputSchema": {"type": "object", "properties": {"number": {"type": "integer"}}},
    "outputSchema": {"type": "object", "properties": {"number": {"type": "integer"}}},
    "annotations": {"readOnlyHint": True, "title": "Echo"},
    "_meta": {"x": 1},
}
CACHE = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete"}
REFUSED = {"code": -32601, "message": "Method not found"}
OLD = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
# A protocol setting, a method, and what answers it, before the mistakes.
BASES: list[tuple[str, str, Json]] = [
    *(
        (
            "legacy",
            "initialize",
            {
                "result": {
                    "protocolVersion": version,
                    "capabilities": {"tools": {"listChanged": True}, "logging": {}},
                    "serverInfo": INFO,
                    "instructions": "hello",
                }
            },
        )
        for version in ("2024-11-05", "2025-06-18", "2025-11-25")
    ),
    ("legacy", "initialize", {"error": REFUSED}),
    ("legacy", "tools/list", {"result": {"tools": [TOOL, {**TOOL, "name": "b"}]}}),
    ("legacy", "tools/list", {"result": {"tools": [TOOL], "nextCursor": "x", "_meta": {}}}),
    ("legacy", "tools/list", {"error": REFUSED}),
    ("2026-07-28", "tools/list", {"result": {"tools": [TOOL], **CACHE}}),
    (
        "auto",
        "server/discover",
        {
            "result": {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "_meta": {"io.modelcontextprotocol/serverInfo": INFO},
                "instructions": "hello",
                **CACHE,
            }
        },
    ),
    ("auto", "server/discover", {"error": REFUSED}),
    ("auto", "server/discover", {"error": {"code": -32022, "message": "no", "data": OLD}}),
    ("auto", "initialize", {"error": {"code": -32022, "message": "no", "data": OLD}}),
]


@dataclass(frozen=True)
class Opening:
    """One answer to one of the first requests, for `Tally`; `raw` is as in `Case`."""

    number: int
    protocol: str
    method: str
    raw: str
    kind: str

    @classmethod
    def choose(cls, seed: int, number: int) -> Opening:
        """The case of a number in the series of a seed."""
        chance = random.Random(f"{seed} opening {number}")
        protocol, method, body = chance.choice(BASES)
        message = copy.deepcopy({"jsonrpc": "2.0", "id": ID, **body})
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            change(chance, message)
        raw = written(chance, message)
        return cls(number, protocol, method, raw, chance.choice(KINDS_OF_BODY))

    def settings(self) -> dict[str, Any]:
        """Those of the server; a start that waits for its limit is noticed."""
        return {"protocol": self.protocol, "start_timeout_s": LIMIT_S, "timeout_s": LIMIT_S}

    async def puppet(self, stream: SocketStream, message: Json) -> bool:
        """Answer over HTTP."""
        if message.get("method") != self.method:
            return await serve(stream, message)
        raw = self.raw.replace(ID, str(message["id"]))
        if self.kind == "text/event-stream":
            raw = f"event: message\ndata: {raw.strip()}\n\n"
        await send(stream, raw.encode("latin-1"), self.kind)
        return True


async def start(orchestrator: Orchestrator, name: str, case: Opening, tally: Tally) -> None:
    """Start a server that answers so, with a call, and judge what comes of it."""
    where = f"{name} {case.method} {case.protocol}"
    try:
        with anyio.fail_after(GUARD_S):
            await orchestrator.call(f"{name}:echo", {"number": case.number})
        tally.outcomes["success"] += 1
    except CallError as error:
        tally.outcomes[error.kind] += 1
        json.dumps(error.error.to_dict())
        if error.kind not in KINDS or (_UNTOLD.search(str(error)) and ERRORS not in case.raw):
            tally.note(case, where, f"{error.kind}: {error}")
    except WorkflowError as error:  # no such tool
        tally.outcomes["no tool"] += 1
        if "echo" not in str(error):
            tally.note(case, where, str(error))
    except TimeoutError:
        tally.note(case, where, "it waited for its limit")
    except Exception as error:
        tally.note(case, where, f"raised {error!r}")


@asynccontextmanager
async def reached(transport: str, cases: list[Opening]) -> AsyncIterator[Orchestrator]:
    """The servers of some cases, as `it0` and so on, and a sound one."""
    async with AsyncExitStack() as stack:
        sound = await stack.enter_async_context(HttpServer("s").listen())
        servers = {"sound": Server(url=sound.url, protocol="legacy")}
        for number, case in enumerate(cases):
            if transport == "stdio":
                servers[f"it{number}"] = program({case.method: case.raw}, **case.settings())
                continue
            web = HttpServer(None if case.protocol == "2026-07-28" else "s")
            web.puppet = case.puppet
            url = (await stack.enter_async_context(web.listen())).url
            servers[f"it{number}"] = Server(url=url, **case.settings())
        yield await stack.enter_async_context(Orchestrator(servers))


async def bystander(orchestrator: Orchestrator, case: Opening, tally: Tally) -> None:
    """A call of another server, which nothing disturbs."""
    try:
        with anyio.fail_after(GUARD_S):
            output = await orchestrator.call("sound:echo", {"value": case.number})
        if output != {"value": case.number}:
            tally.note(case, "sound", f"another server was answered with {output}")
    except Exception as error:
        tally.note(case, "sound", f"a call of another server failed: {error!r}")


async def fuzz(
    seed: int, counts: dict[str, int], tell: Callable[[str], None] = lambda _: None
) -> Tally:
    """Try so many answers over each transport."""
    tally = Tally()
    watched = Tracebacks(tally)
    logging.getLogger("orchestrator").addHandler(watched)
    try:
        for transport, count in counts.items():
            cases = [Opening.choose(seed, number) for number in range(count)]
            for first in range(0, count, AT_ONCE):
                some = cases[first : first + AT_ONCE]
                async with (
                    reached(transport, some) as orchestrator,
                    anyio.create_task_group() as group,
                ):
                    for number, case in enumerate(some):
                        group.start_soon(start, orchestrator, f"it{number}", case, tally)
                    group.start_soon(bystander, orchestrator, some[0], tally)
            tell(f"{transport}: {count} answers, {len(tally.faults)} faults so far")
    finally:
        logging.getLogger("orchestrator").removeHandler(watched)
    return tally


def main(arguments: list[str]) -> int:
    """Try many answers, and print what came of them; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos openings")
    parser.add_argument("--count", type=int, default=COUNT, help="over each transport")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args(arguments)
    for name in ("mcp", "client"):  # the SDK's own log
        logging.getLogger(name).setLevel(logging.CRITICAL)
    counts = {"http": options.count, "stdio": options.count}
    tally = anyio.run(fuzz, options.seed, counts, print)
    print(", ".join(f"{kind}: {count}" for kind, count in tally.outcomes.most_common()))
    print("\n".join(tally.faults[:20]))
    return 1 if tally.faults else 0
