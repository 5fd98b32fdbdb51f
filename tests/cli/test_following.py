"""`run --on` and `submit --wait`: this process waits, another thread carries the run."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import JournalError, Orchestrator
from orchestrator.cli import asking, following, main
from orchestrator.cli.asking import Terminal
from orchestrator.errors import CarriedError
from orchestrator.journal.glance import is_answered
from orchestrator.journal.history import KnownRun, reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.workflow.model import Workflow
from tests.conftest import Write
from tests.journals import ask

FLOW: list[dict[str, Any]] = [{"id": "v", "value": 1}]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing waits a second, and no servers.toml is near."""
    monkeypatch.setattr(following, "LOOK_S", 0.02)
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.01)
    monkeypatch.chdir(tmp_path)


@contextmanager
def carrying(
    database: Address, begun: Callable[[], object] = lambda: None, servers: Any = None
) -> Iterator[None]:
    """A thread carries the first run that comes; if it cannot, the command is interrupted."""

    async def carry() -> None:
        async with Journal(database):
            pass  # a reader may be first
        with anyio.fail_after(30):
            while not Path("stop").exists() and not runs(database, status="queued"):
                await anyio.sleep(0.01)
            if found := runs(database, status="queued"):
                async with (
                    Orchestrator(servers or {}, journal=database) as orchestrator,
                    orchestrator.resume(found[0].id) as run,
                ):
                    begun()
                    await run.execute()

    def carry_or_end() -> None:
        try:
            anyio.run(carry)
        except BaseException:
            os.kill(os.getpid(), signal.SIGTERM)
            raise

    thread = threading.Thread(target=carry_or_end)
    thread.start()
    try:
        yield
    finally:
        Path("stop").touch()
        thread.join()


def test_a_run_on_a_database_is_shown_as_one_of_this_process(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flow = write(*FLOW, name="one")
    out_file, page = tmp_path / "result.json", tmp_path / "page.html"
    written = ["--output", str(out_file), "--report", str(page)]
    with carrying(database):
        assert main(["run", flow, "--on", database.url, *written]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"v": 1}
    run_id = runs(database)[0].id
    assert f"run {run_id} is submitted" in err
    assert "success: 1 of 1 task in " in err
    assert json.loads(out_file.read_text())["run_id"] == run_id
    assert "one" in page.read_text()


def test_exit_codes_are_those_of_run(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write({"id": "bad", "value": "${divide(1, 0)}"})
    with carrying(database):
        assert main(["run", bad, "--on", database.url, "--quiet"]) == 1
    Path("stop").unlink()
    asks = write({"id": "q", "ask": {"message": "well?"}})
    capsys.readouterr()
    with carrying(database):
        assert main(["run", asks, "--on", database.url, "--json", "--report", "page.html"]) == 3
    out, err = capsys.readouterr()
    assert "Then a worker goes on with it." in Path("page.html").read_text()
    assert json.loads(out)["status"] == "paused"
    assert "orchestrator answer" in err
    assert "then a worker goes on with it" in err
    database_of = ["--journal", database.url]
    assert main(["report", "last", *database_of]) == 0
    assert "Then a worker goes on with it." in capsys.readouterr().out
    assert main(["show", "last", *database_of]) == 0
    assert "then a worker goes on with it" in capsys.readouterr().err
    assert main(["answer", "last", "q", "yes", *database_of]) == 0
    err = capsys.readouterr().err
    assert "is answered; a worker goes on with the run" in err
    assert "nothing carries it now: no worker is connected; start one" in err


def test_the_first_interrupt_cancels_the_run_where_it_is_carried(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mcp = MCPServer("s")

    @mcp.tool()
    async def hang() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    (tmp_path / "servers.toml").write_text("[servers.s]\ncommand = 'no'\n")
    flow = write({"id": "h", "tool": "s:hang"})
    with carrying(database, servers={"s": mcp}):
        assert main(["run", flow, "--on", database.url]) == 130
    assert runs(database)[0].status == "cancelled"
    err = capsys.readouterr().err
    assert "interrupted by SIGINT: the run is being cancelled; once more leaves it" in err
    assert "cancelled on request" in err


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_second_interrupt_says_whether_the_run_is_told_to_end(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    options = argparse.Namespace(loop=None)
    flow = Workflow.load(write(*FLOW))
    run = following._Submitted(options, flow, {}, [], Orchestrator({}))
    assert run._cancel("SIGINT")
    assert not run._cancel("SIGINT")  # not even submitted
    assert "may go on" not in capsys.readouterr().err
    run.run_id = "r7"
    assert not run._cancel("SIGINT")
    assert '"orchestrator cancel r7" ends it' in capsys.readouterr().err
    run.is_asked = True
    assert not run._cancel("SIGINT")
    assert capsys.readouterr().err == ""


def test_a_run_that_nobody_has_begun_is_cancelled_here(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    looks: list[int] = []

    def look(self: Any, of: Any, journal: Address) -> Any:
        looks.append(1)
        if len(looks) < 3:  # the same trouble twice is told once
            of.look = broken
        elif len(looks) == 3:
            del of.look
            os.kill(os.getpid(), signal.SIGINT)
        return whole(self, of, journal)

    def broken() -> None:
        raise JournalError("the journal is away")

    async def end(self: Orchestrator, run: str) -> Any:
        ends.append(run)
        if len(ends) == 1:
            raise CarriedError("a worker has just begun it")
        return await whole_end(self, run)

    ends: list[str] = []
    whole, whole_end = following._Submitted._look, Orchestrator.end
    monkeypatch.setattr(following._Submitted, "_look", look)
    monkeypatch.setattr(Orchestrator, "end", end)
    assert main(["run", write(*FLOW), "--on", database.url]) == 130
    assert runs(database)[0].status == "cancelled"
    assert len(ends) == 2
    err = capsys.readouterr().err
    assert err.count("the journal is away; the run goes on") == 1
    assert err.count("the run waits: no worker is connected") == 1


def test_a_run_that_is_deleted_while_it_is_shown_is_unknown(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def look(self: Any, of: Any, journal: Address) -> Any:
        ask(database, "delete from run")
        return whole(self, of, journal)

    whole = following._Submitted._look
    monkeypatch.setattr(following._Submitted, "_look", look)
    assert main(["run", write(*FLOW), "--on", database.url]) == 2
    assert "unknown run" in capsys.readouterr().err


def test_what_only_a_run_of_this_process_can_have_is_refused(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = write(*FLOW)
    url = "postgresql://localhost/none"
    assert main(["run", flow, "--on", url, "--dry-run", "--events", "-"]) == 2
    err = capsys.readouterr().err
    assert "--dry-run and --on exclude each other" in err
    assert "--events and --on exclude each other" in err
    assert main(["run", flow, "--on", "runs.db"]) == 2
    assert "name one with --on postgresql://" in capsys.readouterr().err


@contextmanager
def working(database: Address) -> Iterator[None]:
    """A thread carries all that comes, as workers do."""

    def waits(run: KnownRun) -> bool:
        with reading(database) as db:
            return run.status == "queued" or (run.status == "paused" and is_answered(db, run.id))

    async def work() -> None:
        async with Orchestrator({}, journal=database) as engine:
            while not Path("stop").exists():
                for known in filter(waits, runs(database)):
                    async with engine.resume(known.id) as run:
                        await run.execute()
                await anyio.sleep(0.01)

    thread = threading.Thread(target=anyio.run, args=(work,))
    thread.start()
    try:
        yield
    finally:
        Path("stop").touch()
        thread.join()


class Person:
    """Types an answer as soon as it is asked for; None: Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str | None]) -> None:
        self.asked: list[str] = []
        self._answers = answers
        monkeypatch.setattr(following, "terminal", lambda: sys.stdin)
        monkeypatch.setattr(Terminal, "_forget_typed", lambda _: None)
        monkeypatch.setattr(asking, "_say", self._see)
        monkeypatch.setattr(Terminal, "_line", self._line)

    def _see(self, text: str, end: str = "") -> None:  # noqa: ARG002
        if " asks: " in text:
            self.asked.append(text.strip().partition(" asks")[0])

    async def _line(self) -> str:
        typed = self._answers[self.asked[-1]]
        if typed is None:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()
        return str(typed)


CITY = {"id": "city", "ask": {"message": "Which?", "schema": {"type": "string"}}}


def test_a_person_is_asked_what_a_run_asks_that_a_worker_carries(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    person = Person(monkeypatch, {"city": "Rome", "ok": "!", "more": ""})
    ok = {"id": "ok", "ask": {"message": "?"}, "depends_on": ["city"]}
    more = {"id": "more", "ask": {"message": "?"}, "depends_on": ["city"]}
    with working(database):
        assert main(["run", write(CITY, ok, more), "--on", database.url, "--json"]) == 3
    out, err = capsys.readouterr()
    assert sorted(person.asked) == ["city", "more", "ok"]
    tasks = json.loads(out)["tasks"]
    assert tasks["city"]["output"] == "Rome"
    assert tasks["ok"]["error"]["kind"] == "refused"
    assert tasks["more"]["status"] == "waiting"
    assert "then a worker goes on with it" in err


def test_an_interrupt_at_a_question_cancels_the_run(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    person = Person(monkeypatch, {"city": None})
    with working(database):
        assert main(["run", write(CITY), "--on", database.url]) == 130
    assert person.asked == ["city"]
    assert runs(database)[0].status == "cancelled"
    assert "\n\norchestrator: interrupted by SIGINT" in capsys.readouterr().err
