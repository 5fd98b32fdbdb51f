"""A server that misbehaves on demand, by its tools and its start options; standard library only."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from mock_servers import wire
from mock_servers.wire import Connection, Json, RpcError, Tool

GARBAGE = b"this line is not JSON\n\xff\xfe\xfa neither text nor JSON\n"
SPILL = b"faulty: a line of log output that nobody asked for\n"
NOBODY = 2**31 - 1
"""A request id that no client has used."""


def text(value: str, *, is_error: bool = False) -> Json:
    """Return a result with a text and nothing else."""
    return {"content": [{"type": "text", "text": value}], "isError": is_error}


def structured(value: Json) -> Json:
    """Return a result with structured content, and the same as JSON text."""
    return {**text(json.dumps(value)), "structuredContent": value}


class Faulty:
    """The tools, and what one process remembers of their calls.

    Args:
        crash_after: How many calls are answered; the one after them ends the process.
    """

    def __init__(self, crash_after: int | None = None) -> None:
        self._calls_left = crash_after
        self._attempts: Counter[str] = Counter()
        self._cancelled: list[str] = []
        self._appended: list[Any] = []
        self._listings = Counter[str]()
        self._gathering: list[asyncio.Future[None]] = []
        self.tools = self._all_tools()

    def _all_tools(self) -> list[Tool]:
        """Return all tools; those that change something say so."""
        return [
            Tool(self.echo),
            Tool(self.delay),
            Tool(self.now),
            Tool(self.fail),
            Tool(self.flaky),
            Tool(self.crash),
            Tool(self.crash_writing, read_only=False, idempotent=False),
            Tool(self.hang),
            Tool(self.garbage),
            Tool(self.huge),
            Tool(self.rpc_error),
            Tool(self.stderr_flood),
            Tool(self.wrong_id),
            Tool(self.cancelled),
            Tool(self.infinity),
            Tool(self.pid),
            Tool(self.meet),
            Tool(self.append, read_only=False, idempotent=False),
            Tool(self.appended),
            Tool(self.progress),
            Tool(self.log),
            Tool(self.change_tools),
            Tool(self.listings),
            Tool(self.close_stdout),
            Tool(self.stop),
        ]

    async def list_tools(self, delay_s: float, answer: Callable[[], Awaitable[Json]]) -> Json:
        """Answer a request for the tools after a while, and count those at the same time."""
        self._listings["count"] += 1
        self._listings["now"] += 1
        self._listings["most"] = max(self._listings["most"], self._listings["now"])
        await asyncio.sleep(delay_s)
        self._listings["now"] -= 1
        return await answer()

    def count_call(self) -> None:
        """Count one call, and end the process if it is one too many."""
        if self._calls_left is not None:
            if self._calls_left == 0:
                wire.die(1, "faulty: crashing as asked (--crash-after)")
            self._calls_left -= 1

    def note_cancelled(self, params: Json) -> None:
        """Remember a call that the client cancelled by its label, or else by its tool."""
        label = (params.get("arguments") or {}).get("label")
        self._cancelled.append(label or params.get("name", ""))

    async def echo(self, value: Any) -> Json:
        """Return the value as it came."""
        return structured({"value": value})

    async def delay(self, ms: int = 0, label: str = "") -> Json:
        """Wait for a number of milliseconds, then return it with the label."""
        await asyncio.sleep(ms / 1000)
        return structured({"slept_ms": ms, "label": label})

    async def now(self) -> Json:
        """Tell when the call arrived, nanoseconds on the monotonic clock."""
        return structured({"ns": time.monotonic_ns()})

    async def fail(self, message: str = "failed as asked") -> Json:
        """Fail with a message (isError)."""
        return text(message, is_error=True)

    async def flaky(self, key: str, fail_times: int = 1, value: Any = None) -> Json:
        """Fail the first calls with this key, then return the value and the count of calls."""
        self._attempts[key] += 1
        attempt = self._attempts[key]
        if attempt <= fail_times:
            return text(f"attempt {attempt} of {key} fails as asked", is_error=True)
        return structured({"value": value, "attempts": attempt})

    async def crash(self, code: int = 1) -> Json:
        """End the process in the middle of the call, with an exit code; declared read-only."""
        wire.die(code, f"faulty: crashing as asked (code {code})")

    async def crash_writing(self, code: int = 1) -> Json:
        """End the process in the middle of the call; declared as writing, not to be repeated."""
        wire.die(code, f"faulty: crashing as asked (code {code})")

    async def hang(self, label: str = "") -> Json:  # noqa: ARG002 - see note_cancelled
        """Never answer."""
        return await asyncio.Future[Json]()

    async def garbage(self, lines: int = 3) -> Json:
        """Write lines that are no messages, some not even UTF-8, then answer as it should."""
        wire.write_bytes(GARBAGE * lines)
        return structured({"lines": 2 * lines})

    async def huge(self, bytes: int) -> Json:  # noqa: A002 - the tool's public name for it
        """Return a text of a number of bytes."""
        return text("x" * bytes)

    async def rpc_error(self, code: int = -32000, message: str = "refused as asked") -> Json:
        """Answer with a JSON-RPC error."""
        raise RpcError(code, message)

    async def stderr_flood(self, bytes: int = 1_000_000) -> Json:  # noqa: A002 - as in huge
        """Write at least a number of bytes to stderr, then answer; blocks if nobody reads them."""
        sys.stderr.buffer.write(SPILL * -(-bytes // len(SPILL)))
        sys.stderr.buffer.flush()
        return structured({"bytes": bytes})

    async def wrong_id(self) -> Json:
        """Answer a request that nobody made, and never this one."""
        wire.write({"jsonrpc": "2.0", "id": NOBODY, "result": text("for nobody")})
        return await self.hang()

    async def cancelled(self) -> Json:
        """List the calls that the client cancelled, by label or else by tool."""
        return structured({"cancelled": self._cancelled})

    async def infinity(self) -> Json:
        """Return Infinity as text and as structured content, which is no JSON."""
        return {**text("Infinity"), "structuredContent": {"value": float("inf")}}

    async def pid(self) -> Json:
        """Return the process id: it changes when the server is started again."""
        return structured({"pid": os.getpid()})

    async def meet(self, count: int, value: Any = None) -> Json:
        """Return the value and the process id, once a number of calls of this tool are there."""
        arrived = asyncio.get_running_loop().create_future()
        self._gathering.append(arrived)
        if len(self._gathering) == count:
            for each in self._gathering:
                each.set_result(None)
            self._gathering = []
        await arrived
        return structured({"value": value, "pid": os.getpid()})

    async def append(self, value: Any, ms: int = 10) -> Json:
        """Add to a list by reading it, waiting and writing it: calls at the same time lose data."""
        read = [*self._appended, value]
        await asyncio.sleep(ms / 1000)
        self._appended = read
        return structured({"length": len(read)})

    async def appended(self) -> Json:
        """Return what the calls of append left."""
        return structured({"values": self._appended})

    async def progress(self, steps: int = 3, ms: int = 0) -> Json:
        """Tell the progress of a number of steps, each of which takes some milliseconds."""
        asked = wire.progress(0, steps, "beginning")
        for step in range(1, steps + 1):
            await asyncio.sleep(ms / 1000)
            wire.progress(step, steps, f"step {step}")
        return structured({"steps": steps, "asked": asked})

    async def log(self, message: Any, level: str = "info", logger: str = "faulty") -> Json:
        """Send a log message to the client."""
        params = {"level": level, "logger": logger, "data": message}
        wire.notify("notifications/message", params)
        return structured({"level": level})

    async def change_tools(
        self,
        names: list[str],
        value: str = "string",
        remove: list[str] | None = None,
        notices: int = 1,
    ) -> Json:
        """Add tools that echo a value of a JSON type, remove others, and tell the client."""
        gone = {*names, *(remove or ())}
        self.tools[:] = [tool for tool in self.tools if tool.name not in gone]
        self.tools += [Tool(self.echo, alias=name, types={"value": value}) for name in names]
        for _ in range(notices):
            wire.notify("notifications/tools/list_changed", {})
        return structured({"tools": len(self.tools)})

    async def listings(self) -> Json:
        """Return how often the tools were listed, and how often at the same time at most."""
        return structured(dict(self._listings))

    async def close_stdout(self) -> Json:
        """Close stdout, and live on without a voice."""
        os.close(sys.stdout.fileno())
        return await self.hang()

    async def stop(self) -> Json:
        """Stop the process (SIGSTOP): it is there, and does nothing any more."""
        os.kill(os.getpid(), signal.SIGSTOP)
        return structured({})


def parser() -> argparse.ArgumentParser:
    """Return the start options."""
    options = argparse.ArgumentParser(prog="python -m mock_servers.faulty", description=__doc__)
    option = options.add_argument
    option("--name", default="faulty", help="the name the server gives itself (%(default)s)")
    option("--stderr", metavar="TEXT", help="write a line to stderr at the start")
    option("--start-delay", type=float, default=0, metavar="SECONDS", help="wait before serving")
    option("--hang-on-start", action="store_true", help="read everything, answer nothing")
    option("--exit-on-start", type=int, metavar="CODE", help="exit at once")
    option("--garbage-on-start", action="store_true", help="write lines that are no messages first")
    option("--crash-after", type=int, metavar="N", help="answer N calls, crash in the next")
    option("--needs", metavar="FILE", help="exit at once unless this file exists")
    option("--list-delay", type=float, default=0, metavar="SECONDS", help="list tools slowly")
    option("--ignore-eof", action="store_true", help="go on living when stdin ends")
    option("--ignore-sigterm", action="store_true", help="only SIGKILL ends the process")
    option(
        "--close-on-usr1",
        choices=("stdin", "stdout"),
        help="SIGUSR1 closes this pipe and nothing else; stdin from the next message on",
    )
    option(
        "--legacy-only",
        action="store_true",
        help="exit if the first message is not initialize, as old servers do",
    )
    return options


def close_pipe(name: str) -> None:
    """Close the program's end of stdin or stdout, and put the null device in its place.

    A read that waits already keeps stdin open until it has something.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, {"stdin": 0, "stdout": 1}[name])
    os.close(nothing)


async def serve(options: argparse.Namespace) -> None:
    """Serve the tools until stdin ends."""
    if options.close_on_usr1:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, close_pipe, options.close_on_usr1)
    faulty = Faulty(options.crash_after)
    answering = wire.methods(options.name, faulty.tools)
    call_tool, list_tools = answering["tools/call"], answering["tools/list"]

    async def counted(params: Json) -> Json:
        faulty.count_call()
        return await call_tool(params)

    async def listed(params: Json) -> Json:
        return await faulty.list_tools(options.list_delay, lambda: list_tools(params))

    answering["tools/call"] = counted
    answering["tools/list"] = listed
    first_method = "initialize" if options.legacy_only else None
    await Connection(answering, faulty.note_cancelled, first_method).serve()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server as the start options say."""
    options = parser().parse_args(argv)
    if options.stderr:
        wire.log(options.stderr)
    if options.exit_on_start is not None:
        code = options.exit_on_start
        wire.die(code, f"faulty: exiting at the start as asked (code {code})")
    if options.needs is not None and not Path(options.needs).exists():
        wire.die(1, f"faulty: exiting at the start as {options.needs} is missing")
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(options.start_delay)
    if options.garbage_on_start:
        wire.write_bytes(GARBAGE)
    if options.hang_on_start:
        while sys.stdin.buffer.readline():
            pass
    else:
        asyncio.run(serve(options))
    while options.ignore_eof:
        time.sleep(3600)


if __name__ == "__main__":
    main()
