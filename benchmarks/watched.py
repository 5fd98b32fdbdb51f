"""Runs that somebody watches: on the stream of the page alone, and with a browser on the page.

Whoever watches is a process of its own, and has opened the run before its first call: what counts
is what watching costs, and not how long a page takes to load.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from benchmarks import scenarios
from benchmarks.delays import check
from benchmarks.measure import Bench, Measurement, Side, own_time, take_turns
from orchestrator import Orchestrator
from orchestrator.servers.config import Server

MS, LIMIT = 20, 10
SIZES, QUICK_SIZES = (100, 1000), (100,)
OPEN_S = 60.0
LEAVE = "-"  # in place of a run: watch none

Watch = Callable[[str], Awaitable[None]]


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure runs alone, and with each that watches, in turns."""
    async with AsyncExitStack() as stack:
        journal = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "runs.db"
        link = await stack.enter_async_context(_page(journal))
        watchers: dict[str, Watch] = {
            "the stream": await stack.enter_async_context(_by(link, "stream"))
        }
        if browser_path() is not None:
            watchers["a browser"] = await stack.enter_async_context(_by(link, "browser"))
        bare = Server(
            command=sys.executable, args=["-m", "mock_servers.bare"], cwd=str(scenarios.HERE)
        )
        orchestrator = await stack.enter_async_context(
            Orchestrator({"bare": bare}, journal=journal)
        )
        for size in QUICK_SIZES if bench.quick else SIZES:
            await _size(size, orchestrator, watchers, bench)


async def _size(
    size: int, orchestrator: Orchestrator, watchers: dict[str, Watch], bench: Bench
) -> None:
    call = {"tool": "bare:delay", "arguments": {"ms": MS}}
    workflow = {
        "name": "watched",
        "tasks": [{"id": f"t{number}", **call} for number in range(size)],
    }
    made = partial(_run, orchestrator, workflow, watchers)
    sides = {name: Side(partial(made, name)) for name in ("nobody", *watchers)}
    rounds = bench.pick(21, 3)
    times = await take_turns(sides, rounds, warm_up=not bench.quick, timer=own_time)
    without = "" if len(watchers) > 1 else "no Chromium or no playwright here: no browser"
    for name in sides:
        side = f"{size:,} calls of {MS} ms, {name}"
        ratios = {"nobody": times.ratio(name, "nobody")}
        bench.record(Measurement("watched", side, times.flat(name), ratios, note=without))


async def _run(
    orchestrator: Orchestrator, workflow: scenarios.Document, watchers: dict[str, Watch], name: str
) -> float:
    """How long a run takes that one of them watches, or nobody, milliseconds."""
    async with orchestrator.begin(workflow, max_concurrency=LIMIT) as run:
        for each, watch in watchers.items():
            await watch(run.run_id if each == name else LEAVE)
        began_at = time.perf_counter()
        check(await run.execute())
        return (time.perf_counter() - began_at) * 1000


@asynccontextmanager
async def _page(journal: Path) -> AsyncIterator[str]:
    """Serve the page of a journal; the link."""
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "ui",
        "--no-browser",
        "--journal",
        str(journal),
    ]
    async with await anyio.open_process(command, stdin=None, stdout=None, stderr=PIPE) as process:
        assert process.stderr is not None
        said = TextReceiveStream(process.stderr)
        with anyio.fail_after(OPEN_S):
            text = ""
            while "\n" not in text:
                text += await said.receive()
        try:
            yield text.split("\n")[0].rpartition(" ")[2]
        finally:
            process.terminate()


@asynccontextmanager
async def _by(link: str, kind: str) -> AsyncIterator[Watch]:
    """What opens a run by a program of this module, and returns when it is watched."""
    command = [sys.executable, "-m", "benchmarks.watched", kind, link]
    async with await anyio.open_process(command, stderr=None, cwd=scenarios.HERE) as process:
        assert process.stdout is not None
        answers = TextReceiveStream(process.stdout)

        async def watch(run: str) -> None:
            await _ask(process, answers, run)

        try:
            yield watch
        finally:
            process.terminate()


async def _ask(process: Process, answers: TextReceiveStream, run: str) -> None:
    assert process.stdin is not None
    await process.stdin.send(f"{run}\n".encode())
    with anyio.fail_after(OPEN_S):
        while "\n" not in await answers.receive():
            continue


def browser_path() -> str | None:
    """Where a browser is that can be driven; None if there is none."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return None
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def _browser(link: str) -> Iterator[Callable[[str], None]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        started = playwright.chromium.launch(executable_path=browser_path(), args=options)
        tab = started.new_page()
        tab.goto(link)

        def watch(run: str) -> None:
            tab.goto("about:blank")
            if run != LEAVE:
                tab.goto(f"{link.partition('?')[0]}#/run/{run}")
                tab.locator("svg.graph g.node").first.wait_for()

        yield watch
        started.close()


@contextmanager
def _stream(link: str) -> Iterator[Callable[[str], None]]:
    parts = urlsplit(link)
    assert parts.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", parts.port)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    cookie = str(answer.getheader("set-cookie")).partition(";")[0]
    key = parse_qs(urlsplit(str(answer.getheader("location"))).fragment)["key"][0]
    headers = {"cookie": cookie, "x-orchestrator-key": key}
    followed: list[http.client.HTTPConnection] = []

    def read(response: http.client.HTTPResponse) -> None:
        try:
            while response.readline():
                continue
        except (OSError, ValueError, AttributeError):  # it was closed
            return

    def watch(run: str) -> None:
        while followed:
            followed.pop().close()
        if run == LEAVE:
            return
        followed.append(http.client.HTTPConnection("127.0.0.1", parts.port))
        followed[-1].request("GET", f"/api/runs/{run}/events", headers=headers)
        response = followed[-1].getresponse()
        response.readline()
        threading.Thread(target=read, args=(response,), daemon=True).start()

    yield watch


def _watch(kind: str, link: str) -> None:
    """Watch each run that a line of stdin names, and say when it is opened."""
    with (_browser if kind == "browser" else _stream)(link) as watch:
        for line in sys.stdin:
            watch(line.strip())
            print("opened", flush=True)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
