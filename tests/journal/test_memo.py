"""The memo: the same call of a tool that only reads is answered from the journal."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import time as now
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import CallError, Orchestrator, RunResult, Server, WorkflowError
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.events import Announcer
from orchestrator.engine.memo import with_memo
from orchestrator.engine.outcome import Success
from orchestrator.engine.recorder import Answer, Memo, Remembered
from orchestrator.engine.settings import Servers
from orchestrator.journal.database import VERSION
from orchestrator.journal.history import runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Location
from orchestrator.journal.recorder import RunRecorder
from orchestrator.journal.writer import Lease, Writer
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import ToolSettings
from tests.fakes import workflow as fake_workflow
from tests.journals import ask

pytestmark = pytest.mark.anyio

CACHE = {"ttl_s": 60}
CLOSED = ToolAnnotations(read_only_hint=True, open_world_hint=False)
FIXTURE = Path(__file__).parent / "files" / "version-1.db"


class Library:
    """A server that counts what it was asked for."""

    def __init__(self, about: str = "", **fields: Any) -> None:
        self.server = MCPServer("books", log_level="WARNING")
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.fields = fields

        @self.server.tool(annotations=CLOSED, description=about)
        async def page(n: int, key: str = "") -> dict[str, Any]:
            self.asked[f"page {n}"] += 1
            self.keys.add(key)
            return {"n": n, "next": n + 1 if n < 3 else None, "seen": self.asked[f"page {n}"]}

        @self.server.tool(annotations=CLOSED)
        async def titles() -> list[str]:
            self.asked["titles"] += 1
            return ["Ulysses"]

        @self.server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True))
        async def search() -> dict[str, int]:
            self.asked["search"] += 1
            return {"n": self.asked["search"]}

        @self.server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def fail() -> dict[str, int]:
            self.asked["fail"] += 1
            raise ToolError("not today")

        @self.server.tool()
        async def write() -> dict[str, int]:
            self.asked["write"] += 1
            return {"n": self.asked["write"]}

        @self.server.resource("book://{title}")
        def book(title: str) -> str:
            self.asked[title] += 1
            return f"once upon a time, {title}"

        @self.server.prompt()
        def sum_up(title: str) -> str:
            self.asked["prompt"] += 1
            return f"Sum up {title}."

    async def run(
        self, journal: Location | Journal | None, *tasks: Any, **fields: Any
    ) -> RunResult:
        servers = {"books": Server(target=self.server, **self.fields)}
        async with Orchestrator(servers, journal=journal) as orchestrator:
            return await orchestrator.run({"name": "w", "tasks": tasks, **fields})


def page(task: str = "a", n: Any = 1, **more: Any) -> dict[str, Any]:
    fields = {"tool": "books:page", "arguments": {"n": n}, "cache": CACHE}
    return {"id": task, **fields, **more}


async def test_the_same_call_is_answered_without_a_call_in_later_runs(journal: Location) -> None:
    library = Library()
    first = await library.run(journal, page(), page("b", 2))
    second = await library.run(journal, page(), page("c", 3), page("d", 1, depends_on=["a"]))
    assert library.asked == {"page 1": 1, "page 2": 1, "page 3": 1}
    assert (first["a"].cached, second["a"].cached, second["c"].cached) == (False, True, False)
    assert second["a"].output == first["a"].output == second["d"].output
    shown = second["a"].to_dict()
    assert (shown["cached"], shown["attempts"], shown["started_ms"]) == (True, 0, None)
    assert "cached" not in second["c"].to_dict()
    assert RunResult.from_dict(second.to_dict())["a"].cached
    assert "a  success    cached" in str(second)


async def test_each_item_is_answered_by_itself(journal: Location) -> None:
    library = Library()
    each = page(for_each=[1, 2, 1], n="$ITEM", max_parallel=1)
    first = await library.run(journal, each)
    assert [item.cached for item in first["a"].items or ()] == [False, False, True]
    assert (first["a"].cached, first["a"].attempts) == (False, 2)
    second = await library.run(journal, each)
    assert [item.to_dict()["cached"] for item in second["a"].items or ()] == [True] * 3
    assert (second["a"].cached, second["a"].output) == (True, first["a"].output)
    assert library.asked.total() == 2


async def test_an_answer_stays_what_its_server_had_wrapped(journal: Location) -> None:
    library = Library()
    tasks = [
        {"id": "a", "tool": "books:titles", "cache": CACHE},
        {"id": "b", "value": "$OUTPUT[a].result[0]"},
    ]
    for _ in range(2):
        result = await library.run(journal, *tasks)
        assert (result["a"].output, result["b"].output) == (["Ulysses"], "Ulysses")
    assert library.asked == {"titles": 1}


async def test_a_resource_and_a_prompt_are_read_once(journal: Location) -> None:
    library = Library()
    tasks = [
        {"id": "a", "read": "books:book://emma", "cache": CACHE},
        {
            "id": "b",
            "prompt": "books:sum_up",
            "arguments": {"title": "$OUTPUT[a]"},
            "cache": CACHE,
        },
    ]
    results = [await library.run(journal, *tasks) for _ in range(2)]
    assert results[0].output == results[1].output
    assert library.asked == {"emma": 1, "prompt": 1}


async def test_another_definition_server_or_ttl_is_another_call(journal: Location) -> None:
    for fields in ({}, {"about": "new"}, {"env": {"WHO": "me"}}, {"env": {"WHO": "you"}}):
        library = Library(**fields)
        await library.run(journal, page())
        assert library.asked == {"page 1": 1}, fields
    for ttl_s, calls in ((60, 0), (1e-9, 1)):
        library = Library()
        await library.run(journal, page(cache={"ttl_s": ttl_s}))
        assert library.asked.total() == calls


async def test_neither_an_old_answer_nor_one_from_the_future_is_used(journal: Location) -> None:
    library = Library()
    for number, shift_s in enumerate((0, -61, 61), 1):
        if shift_s:
            ask(journal, "update memo set at=?", now() + shift_s)
        result = await library.run(journal, page())
        assert result.output["a"]["seen"] == number


async def test_an_answer_that_cannot_be_read_is_asked_for_again(journal: Location) -> None:
    library = Library()
    for _ in range(2):
        await library.run(journal, page())
        ask(journal, "update memo set payload='{'")
    assert library.asked == {"page 1": 2}


async def test_what_a_run_knows_of_a_call_goes_before_the_memo() -> None:
    answers = [Answer(Success(1), 1, 0.0, 0.0, wrapped=False), None, None]

    class Known(RunRecorder):
        def answer(self, _: Call) -> Any:
            return answers.pop(0)

    class Old(Memo):
        async def find(self, *_: Any) -> Remembered:
            return Remembered("old", wrapped=False, size=3)

        def keep(self, *_: Any) -> None:
            raise AssertionError("nothing new was answered that may be kept")

    async def call_next(_: Call, __: Attempt) -> str:
        return "new"

    recorder = Known(Writer(Path("nowhere")), Lease("run", 1))
    recorder.memo = Old()
    plan = fake_workflow(page(tool="fake:a")).plan
    tool = Tool("fake", "a", {}, read_only=True)
    call, emitter = Call("a", "fake", "a", {}), Emitter(Announcer(()), plan)
    known = with_memo(call_next, recorder, Servers({tool.target: tool}), emitter)
    unknown = with_memo(call_next, recorder, Servers(), emitter)
    writer = replace(tool, read_only=False)
    writes = with_memo(call_next, recorder, Servers({tool.target: writer}), emitter)
    assert [await known(call, Attempt()) for _ in range(2)] == ["new", "old"]
    assert await unknown(call, Attempt()) == await writes(call, Attempt()) == "new"
    assert await known(call._replace(is_fallback=True), Attempt()) == "new"
    cancelled = Attempt()
    cancelled.cancel()
    with pytest.raises(CallError, match="was cancelled"):
        await known(call, cancelled)


async def test_an_answer_during_which_somebody_else_logs_in_is_not_kept() -> None:
    kept: list[str] = []

    class Empty(Memo):
        async def find(self, *_: Any) -> None:
            return None

        def keep(self, key: str, *_: Any) -> None:
            kept.append(key)

    accounts = ["a", "b", "b", "b", "", ""]

    async def account() -> str:
        return accounts.pop(0)

    async def call_next(_: Call, __: Attempt) -> str:
        return "new"

    recorder = RunRecorder(Writer(Path("nowhere")), Lease("run", 1))
    recorder.memo = Empty()
    plan = fake_workflow(page(tool="fake:a")).plan
    tool = Tool("fake", "a", {}, read_only=True)
    servers = Servers({tool.target: tool}, {"fake": ServerPolicy(account=account)})
    remembered = with_memo(call_next, recorder, servers, Emitter(Announcer(()), plan))
    for count in (0, 1, 2):
        await remembered(Call("a", "fake", "a", {}), Attempt())
        assert len(kept) == count
    assert len(set(kept)) == 2


async def test_only_what_a_tool_reads_is_kept(journal: Location) -> None:
    library = Library()
    tasks = [
        {"id": "a", "tool": "books:write"},
        {"id": "b", "tool": "books:search"},
        {"id": "c", "tool": "books:search", "cache": {**CACHE, "open_world": True}},
        {"id": "d", "tool": "books:fail", "cache": CACHE, "fallback": {"tool": "books:write"}},
    ]
    for _ in range(2):
        result = await library.run(journal, *tasks, max_concurrency=1)
        assert result.status == "success"
    assert library.asked == {"write": 4, "search": 3, "fail": 2}


async def test_what_cannot_be_kept_is_an_error_before_the_first_call(journal: Location) -> None:
    library = Library()
    tools = ("write", "search", "fail")
    tasks: list[Any] = [{"id": each, "tool": f"books:{each}", "cache": CACHE} for each in tools]
    tasks.append({"id": "asked", "tool": "books:search", "cache": {**CACHE, "open_world": True}})
    tasks.append({"id": "in", "workflow": {"tasks": tasks[:1]}})
    tasks.append(page(fallback={"tool": "books:write"}))
    async with Orchestrator({"books": library.server}) as orchestrator:
        found = await orchestrator.findings({"tasks": tasks})
    kept = [problem for problem in found if problem.code == "not_cacheable"]
    assert [(problem.path, problem.severity, problem.task) for problem in kept] == [
        ("/tasks/0/cache", "error", "write"),
        ("/tasks/1/cache", "error", "search"),
        ("/tasks/4/workflow/tasks/0/cache", "error", "in/write"),
        ("/tasks/2/cache", "warning", "fail"),
    ]
    assert "it does not declare that it only reads" in kept[0].message
    assert '"open_world": true' in kept[1].hint
    for task in tasks[:2]:
        with pytest.raises(WorkflowError, match="cannot be kept"):
            await library.run(journal, task)
    assert not library.asked


async def test_an_answer_waits_for_no_lock_and_holds_none(journal: Location) -> None:
    library = Library()
    await library.run(journal, page())
    answered = anyio.Event()

    @library.server.tool()
    async def hold() -> dict[str, int]:
        await answered.wait()
        return {}

    def observe(event: Any) -> None:
        if event.to_dict()["event"] == "task_settled" and event.task == "a":
            answered.set()

    tasks = [
        {"id": "h", "tool": "books:hold", "locks": ["x"]},
        page(locks=["x"], deadline_s=60, retry=3, repeat={"until": "LAST.n > `0`"}),
        page("b"),
    ]
    async with Orchestrator({"books": library.server}, journal=journal) as orchestrator:
        await orchestrator.run({"tasks": [page(repeat={"until": "LAST.n > `0`"})]})
        with anyio.fail_after(60):
            result = await orchestrator.run(
                {"tasks": tasks, "max_concurrency": 1}, observers=[observe]
            )
    assert (result["a"].cached, result["b"].cached, result["a"].waited_ms) == (True, True, 0)


async def test_what_repeat_collects_is_one_answer(journal: Location) -> None:
    library = Library()
    repeat = {"until": "LAST.next == null", "every_s": 0, "collect": "LAST.n"}
    turns = page(n="${not_null(LAST.next, `1`)}", repeat=repeat)
    for _ in range(2):
        result = await library.run(journal, turns)
        assert result.output == {"a": [1, 2, 3]}
    assert result["a"].cached
    assert library.asked == {"page 1": 1, "page 2": 1, "page 3": 1}
    # What ends the turns may read more than their answers.
    until = {"id": "b", **turns, "repeat": {**repeat, "until": "LAST.n >= INPUT.most"}}
    for most in (1, 2, 2):
        inputs = {"most": {"type": "integer", "default": most}}
        result = await library.run(journal, until, inputs=inputs)
        assert result.output == {"a": list(range(1, most + 1))}
    assert result["a"].cached
    assert library.asked.total() == 6


async def test_an_idempotency_key_is_no_part_of_a_call(journal: Location) -> None:
    tools = {"page": ToolSettings(idempotency_argument="key")}
    library = Library(tools=tools)
    inner = {"id": "in", "workflow": {"tasks": [page()]}}
    for _ in range(2):
        result = await library.run(journal, inner)
    assert library.asked == {"page 1": 1}
    assert len(library.keys.pop()) == 36
    assert result["in"].tasks is not None
    assert (result["in"].cached, result["in"].tasks["a"].cached) == (False, True)


async def test_an_answer_with_a_secret_is_not_kept(journal: Location) -> None:
    library = Library(env={"TITLE_TOKEN": "Ulysses"})
    for _ in range(2):
        result = await library.run(journal, {"id": "a", "tool": "books:titles", "cache": CACHE})
        assert result.output == {"a": ["Ulysses"]}
    assert library.asked == {"titles": 2}


@pytest.mark.parametrize(("keeps", "why"), [(False, "there is no"), (True, "keeps no outputs")])
async def test_where_no_answer_is_kept_a_warning_says_so(
    keeps: bool, why: str, journal: Location, caplog: pytest.LogCaptureFixture
) -> None:
    library = Library()
    with caplog.at_level(logging.WARNING, "orchestrator"):
        for _ in range(2):
            await library.run(Journal(journal, outputs=False) if keeps else None, page())
    assert library.asked == {"page 1": 2}
    assert why in caplog.text
    assert "cache has no effect" in caplog.text


async def test_a_recording_has_each_call_and_its_replay_has_the_same_keys(
    journal: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tools = {"page": ToolSettings(idempotency_argument="key")}
    library, file, plan = Library(tools=tools), tmp_path / "calls.json", {"tasks": [page()]}
    servers = {"books": Server(target=library.server, tools=tools)}
    for _ in range(2):
        async with Orchestrator(servers, journal=journal, record=file) as orchestrator:
            recorded = await orchestrator.run(plan)
    assert library.asked == {"page 1": 2}
    async with Orchestrator.replay(file) as orchestrator:
        replayed = await orchestrator.run(plan)
    assert replayed.output == recorded.output
    assert (replayed.status, replayed["a"].cached, caplog.text) == ("success", False, "")


async def test_a_resumed_run_is_answered_too(journal: Location) -> None:
    library = Library()
    await library.run(journal, page())
    result = await library.run(journal, page("x", 2), page(depends_on=["x"]))
    # As if its process had ended before.
    ask(journal, "delete from record where run=? and path='a'", result.run_id)
    ask(journal, "update run set status='running' where id=?", result.run_id)
    async with (
        Orchestrator({"books": library.server}, journal=journal) as orchestrator,
        orchestrator.resume("last") as run,
    ):
        again = await run.execute()
    assert (again["a"].cached, again["x"].cached, again.output) == (True, False, result.output)
    assert library.asked == {"page 1": 1, "page 2": 1}


async def test_old_answers_are_deleted_with_old_runs(journal: Location) -> None:
    library = Library()
    await library.run(journal, page(), page("b", 2))
    ask(journal, "update memo set expires=1 where key=(select min(key) from memo)")
    assert Journal(journal).prune(dry_run=True) == []
    assert ask(journal, "select count(*) from memo") == [(2,)]
    assert Journal(journal).prune() == []
    assert ask(journal, "select count(*) from memo") == [(1,)]


async def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    shutil.copy(FIXTURE, journal)
    with closing(sqlite3.connect(journal)) as db:
        assert db.execute("pragma user_version").fetchone() == (1,)
        db.execute("update run set started=started + ? - (select min(started) from run)", (now(),))
        db.commit()
    assert Journal(journal).prune() == []
    assert [run.status for run in runs(journal)] == ["interrupted", "success"]
    library = Library()

    @library.server.tool()
    async def double(n: int) -> None:
        raise AssertionError(f"called again with {n}")

    servers = {"mock": library.server}
    async with (
        Orchestrator(servers, journal=journal) as orchestrator,
        orchestrator.resume("last") as run,
    ):
        result = await run.execute()
    assert (result.output, result.resumed) == ({"b": 4}, 1)
    for _ in range(2):
        await library.run(journal, page())
    assert library.asked == {"page 1": 1}
    with closing(sqlite3.connect(journal)) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION,)
