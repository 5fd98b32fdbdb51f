"""Answers of servers with random mistakes: each ends its call, and nothing else.

`python -m tests.chaos answers --count 10000`. A case can be made again from its seed and number.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

from orchestrator import CallError, Orchestrator, Server
from orchestrator.servers import elicitation
from tests.http_server import HttpServer
from tests.puppet import ID, program, serve

COUNT = 10_000
QUICK_COUNT = 300
# Calls under way at once on a session; one of them is answered as it should be.
AT_ONCE = 10
# So long that a call which waits for it is noticed by the guard below.
LIMIT_S = 3600.0
GUARD_S = 60.0
KINDS = {"tool_error", "protocol_error", "output_invalid", "invalid_arguments"}
KINDS_OF_ERRORS = KINDS | {"server_unavailable"}

TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
LINK = {"type": "resource_link", "uri": "file:///x", "name": "x"}
RESOURCE = {"type": "resource", "resource": {"uri": "file:///x", "text": "x"}}
ASKS = {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}}
RESULTS: list[dict[str, Any]] = [
    {"content": [TEXT]},
    {"content": [TEXT, IMAGE, LINK, RESOURCE], "isError": False},
    {"content": [], "structuredContent": {"a": [1, 2.5, {"b": None}]}, "_meta": {"x": 1}},
    {"content": [TEXT], "isError": True},
    {"content": [{**TEXT, "text": '{"a": [1, 2]}', "annotations": {"priority": 1}}]},
    {"resultType": "input_required", "inputRequests": {"q": ASKS}, "requestState": "s"},
    {"content": [TEXT], "resultType": "complete"},
]
ERRORS: list[dict[str, Any]] = [
    {"code": -32602, "message": "no"},
    {"code": -32000, "message": "Connection closed"},
    {"code": -32600, "message": "no", "data": {"retry_after_s": 5, "http_status": 404}},
    {"code": -32042, "message": "open", "data": {"elicitations": [{"mode": "url"}]}},
]
ODD: list[Any] = [
    None, True, False, 0, -1, 2**70, 1.5, 1e308, float("nan"), float("inf"), "", "x", "\ud83d",
    "\x00\x07", "é" * 5, "x" * 100_000, [], [None], {}, {"": {}}, {"type": "text"}, [[[]]],
    "input_required", "task", {"__class__": "x"}, list(range(1000)),
]  # fmt: skip
_WRITTEN_ID = re.compile(rf'"?{ID}(?:\.0)?"?')
KINDS_OF_BODY = ("application/json", "text/event-stream", "text/plain", "")


def deep(levels: int) -> Any:
    """A value that is nested."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def places(value: Any, levels: int = 20) -> list[tuple[Any, Any]]:
    """Each container in a value with each of its keys, so many levels deep."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    inner = [value[key] for key in keys if isinstance(value[key], dict | list) and levels]
    return found + [place for each in inner for place in places(each, levels - 1)]


def change(chance: random.Random, message: dict[str, Any]) -> None:
    """Make a mistake somewhere in a message; its id and the name of its id stay."""
    found = [place for place in places(message) if place[1] != "id" or place[0] is not message]
    where, key = chance.choice(found)
    match chance.randrange(6):
        case 0:
            del where[key]
        case 1:
            where[key] = deep(chance.choice([5, 150, 199, 250, 5000]))
        case 2 if isinstance(where, dict):
            where[str(key).upper()] = where.pop(key)
        case 3 if isinstance(where, dict):
            where[chance.choice(["error", "result", "content", "isError", "_meta", "x"])] = (
                copy.deepcopy(chance.choice(ODD))
            )
        case 4:
            where[key] = [where[key]]
        case _:
            where[key] = copy.deepcopy(chance.choice(ODD))
    if not message.keys() & {"jsonrpc", "result", "error"}:
        message["jsonrpc"] = "1.0"  # with none of them it could be a line of a log


def encoded(value: Any) -> str:
    """JSON of a value that may be nested deeper than an encoder recurses."""
    try:
        return json.dumps(value)
    except RecursionError:
        return '{"jsonrpc":"2.0","id":"%s","result":%s}' % (ID, "[" * 5000 + "]" * 5000)  # noqa: UP031


def written(chance: random.Random, message: dict[str, Any]) -> str:
    """The message as a careless program writes it, on one line, one character for each byte."""
    text = encoded(message).replace(f'"{ID}"', chance.choice([ID, ID, ID, f'"{ID}"', f"{ID}.0"]))
    middle = text.find('"', len(text) // 2)  # a string begins or ends there
    match chance.randrange(12):
        case 0:
            text = text.replace("hello", chance.choice([r"\ud83d", r"\ude00\ud83d", r"\u0000"]))
        case 1:
            text = text.replace(
                "hello", chance.choice(["\x92", "\xff\xfe", "\xc3", "\xed\xa0\xbd"])
            )
        case 2:
            text = text.replace("hello", chance.choice(["\x07", "\x00", "\t", "\x1b[2J"]))
        case 3 if ID in text[:40] and len(text) > 80:
            text = text[: chance.randrange(text.index(ID) + 20, len(text) + 1)]
        case 4:
            text = "\xef\xbb\xbf" + text
        case 5:
            text = f"[{text}]"
        case 6:
            text = f"  {text} \r"
        case 7:
            text = text.replace("1", "9" * 5000) if "1" in text[60:] and "-" not in text else text
        case 8 if middle > 60:
            text = text[:middle] + chance.choice([",", "'", "}", "\\"]) + text[middle:]
    return text


def over_lines(raw: str, indent: int) -> str:
    """JSON as it is written over several lines; any other text as it is."""
    if len(found := set(_WRITTEN_ID.findall(raw))) != 1:
        return raw
    try:
        lines = json.dumps(json.loads(_WRITTEN_ID.sub(f'"{ID}"', raw)), indent=indent)
    except (ValueError, RecursionError):
        return raw
    return lines.replace(f'"{ID}"', found.pop())


@dataclass(frozen=True)
class Case:
    """One answer.

    Attributes:
        raw: Its bytes, as Latin-1, with a place for the id.
        kind: The content type over HTTP.
    """

    number: int
    raw: str
    kind: str

    @classmethod
    def choose(cls, seed: int, number: int) -> Case:
        """The case of a number in the series of a seed."""
        chance = random.Random(f"{seed} {number}")
        body = {"result": chance.choice(RESULTS)}
        if not chance.randrange(4):
            body = {"error": chance.choice(ERRORS)}
        head: dict[str, Any] = {"jsonrpc": "2.0", "id": ID}
        message = copy.deepcopy({**head, **body} if chance.randrange(3) else {**body, **head})
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            change(chance, message)
        return cls(number, written(chance, message), chance.choice(KINDS_OF_BODY))

    @property
    def event(self) -> str:
        """The answer as an event of a stream."""
        return f"event: message\ndata: {self.raw.strip()}\n\n"

    def arguments(self, where: str) -> dict[str, Any]:
        """Those of the call that is answered so."""
        if self.kind == "text/event-stream" and where.startswith("http"):
            return {"raw": self.event, "type": self.kind}
        is_over_lines = where.startswith("stdio") and not self.number % 11
        raw = over_lines(self.raw, 2 * (self.number % 2)) if is_over_lines else self.raw
        return {"raw": raw, "type": self.kind}


class HasRaw(Protocol):
    """A case, for messages."""

    @property
    def number(self) -> int: ...
    @property
    def raw(self) -> str: ...


@dataclass
class Tally:
    """What came of the cases; `faults` should be empty."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, case: HasRaw, where: str, problem: str) -> None:
        """Something that should not be."""
        self.faults.append(f"case {case.number} over {where}: {problem}: {case.raw[:300]!r}")


async def answer(orchestrator: Orchestrator, where: str, case: Case, tally: Tally) -> None:
    """Make a call that is answered so, and judge what comes of it."""
    kinds = KINDS_OF_ERRORS if '"error"' in case.raw.lower() or "stream" in case.kind else KINDS
    try:
        with anyio.fail_after(GUARD_S):
            output = await orchestrator.call("it:say", case.arguments(where))
        json.dumps(output, allow_nan=False)
        tally.outcomes["success"] += 1
    except CallError as error:
        tally.outcomes[error.kind] += 1
        json.dumps(error.error.to_dict())
        if error.kind not in kinds:
            tally.note(case, where, f"{error.kind}: {error}")
        if "pydantic" in str(error) or "validation error" in str(error):
            tally.note(case, where, f"not in our words: {error}")
    except TimeoutError:
        tally.note(case, where, "it waited for its limit")
    except Exception as error:
        tally.note(case, where, f"raised {error!r}")


async def bystander(orchestrator: Orchestrator, where: str, case: Case, tally: Tally) -> None:
    """A call of the same session, which nothing disturbs."""
    try:
        with anyio.fail_after(GUARD_S):
            output = await orchestrator.call("it:echo", {"number": case.number})
        if output != {"number": case.number}:
            tally.note(case, where, f"another call was answered with {output}")
    except Exception as error:
        tally.note(case, where, f"another call failed: {error!r}")


@asynccontextmanager
async def reached(where: str) -> AsyncIterator[Orchestrator]:
    """A puppet as `it`, over a transport in a revision: `stdio legacy`, `http 2026-07-28`."""
    transport, protocol = where.split()
    settings: dict[str, Any] = {"protocol": protocol, "timeout_s": LIMIT_S, "writes": "parallel"}
    async with AsyncExitStack() as stack:
        if transport == "http":
            web = HttpServer("s" if protocol == "legacy" else None)
            web.puppet = serve
            server = Server(url=(await stack.enter_async_context(web.listen())).url, **settings)
        else:
            server = program(**settings)
        yield await stack.enter_async_context(Orchestrator({"it": server}))


WHERE = ("stdio legacy", "http legacy", "stdio 2026-07-28", "http 2026-07-28")


async def fuzz(seed: int, count: int, tell: Callable[[str], None] = lambda _: None) -> Tally:
    """Try so many answers, in turns over each transport and revision."""
    tally = Tally()
    watched = Tracebacks(tally)
    pause_s, elicitation.PAUSE_S = elicitation.PAUSE_S, 0.0  # between the rounds of a call
    logging.getLogger("orchestrator").addHandler(watched)
    try:
        for offset, where in enumerate(WHERE):
            async with reached(where) as orchestrator:
                cases = [Case.choose(seed, number) for number in range(offset, count, len(WHERE))]
                for start in range(0, len(cases), AT_ONCE):
                    async with anyio.create_task_group() as group:
                        for case in cases[start : start + AT_ONCE]:
                            group.start_soon(answer, orchestrator, where, case, tally)
                        group.start_soon(bystander, orchestrator, where, cases[start], tally)
            tell(f"{where}: {len(cases)} answers, {len(tally.faults)} faults so far")
    finally:
        elicitation.PAUSE_S = pause_s
        logging.getLogger("orchestrator").removeHandler(watched)
    return tally


class Tracebacks(logging.Handler):
    """Notes each traceback in our log."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._tally.faults.append(f"a traceback: {record.getMessage()}")


def main(arguments: list[str]) -> int:
    """Try many answers, and print what came of them; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos answers")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args(arguments)
    for name in ("mcp", "client"):  # the SDK's own log
        logging.getLogger(name).setLevel(logging.CRITICAL)
    tally = anyio.run(fuzz, options.seed, options.count, print)
    print(", ".join(f"{kind}: {count}" for kind, count in tally.outcomes.most_common()))
    print("\n".join(tally.faults[:20]))
    return 1 if tally.faults else 0
