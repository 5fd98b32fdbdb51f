"""Runs of a journal in Python, forked and taken up again; nothing is called, people answer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import JournalError, Orchestrator, Question, RefusedError, WorkflowError
from orchestrator.engine.events import Event, ServerStarting
from orchestrator.errors import CarriedError
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept import kept_request
from orchestrator.journal.kept_run import KeptRun
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.taking_up import TakenUp
from tests.journals import ask
from tests.real_servers import faulty, plan

pytestmark = pytest.mark.anyio
FLOW: dict[str, Any] = {
    "inputs": {"x": {"default": 1}, "y": {"default": 1}},
    "tasks": [
        {"id": "a", "ask": {"message": "a $INPUT.x?", "schema": {"type": "string"}}},
        {"id": "b", "ask": {"message": "b $INPUT.y?", "schema": {"type": "string"}}},
        {"id": "c", "value": "$OUTPUT[a] $OUTPUT[b]"},
    ],
}


class Person:
    """Answers with the question, or leaves those that begin so for later."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.later = "nothing"

    def __call__(self, question: Question) -> Any:
        if question.message.startswith(self.later):
            return None
        self.asked.append(question.message)
        return question.message


@pytest.fixture
def person() -> Person:
    return Person()


async def test_a_fork_asks_only_what_has_changed(journal: Location, person: Person) -> None:
    async with Orchestrator({}, journal=journal, answer=person) as orchestrator:
        first = await orchestrator.run(FLOW)
        async with orchestrator.fork(first.run_id, inputs={"x": 2}) as run:
            result = await run.execute()
        assert sorted(person.asked) == ["a 1?", "a 2?", "b 1?"]
        assert result["c"].output == "a 2? b 1?"
        tasks = [*FLOW["tasks"][:2], {"id": "c", "value": "$OUTPUT[b] $OUTPUT[a]"}]
        async with orchestrator.fork("last", FLOW | {"tasks": tasks}) as run:
            result = await run.execute()
        assert result["c"].output == "b 1? a 2?"
        assert len(person.asked) == 3
        with pytest.raises(WorkflowError, match='unknown input "z"'):
            async with orchestrator.fork("last", inputs={"z": 1}):
                pass


@pytest.mark.parametrize("is_pruned", [False, True])
async def test_a_fork_that_is_taken_up_again_still_reuses(
    journal: Location, person: Person, *, is_pruned: bool
) -> None:
    async with Orchestrator({}, journal=journal, answer=person) as orchestrator:
        first = await orchestrator.run(FLOW)
        person.later = "a"
        flow = FLOW | {"tasks": [*FLOW["tasks"], {"id": "d", "depends_on": ["a"], **_ask("b")}]}
        async with orchestrator.fork("last", flow, {"x": 2}) as run:
            paused = await run.execute()
        assert paused.status == "paused"
        if is_pruned:
            _forget(journal, first.run_id)
        person.later, person.asked = "nothing", []
        async with orchestrator.resume("last") as run:
            result = await run.execute()
    assert result.status == "success"
    assert sorted(person.asked) == ["a 2?", "b?"]


def _ask(message: str) -> dict[str, Any]:
    return {"ask": {"message": f"{message}?", "schema": {"type": "string"}}}


def _forget(journal: Location, run: str) -> None:
    ask(journal, "delete from run where id=?", run)


class Impatient:
    """Cancels its scope when a server starts."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ServerStarting):
            self.scope.cancel()


async def test_a_run_that_waits_for_a_worker_is_never_too_old(journal: Location) -> None:
    async with Orchestrator({}, journal=journal) as orchestrator:
        waits = await orchestrator.queue(FLOW, {"x": 1})
        ended = await orchestrator.run({"tasks": [{"id": "v", "value": 1}]})
    ask(journal, "update run set started=0")
    assert Journal(journal, keep_days=1).prune() == [ended.run_id]
    assert [run.id for run in runs(journal)] == [waits]


async def test_a_run_that_is_cancelled_while_its_servers_start_is_kept_as_cancelled(
    journal: Location,
) -> None:
    impatient = Impatient()
    hangs = faulty("--hang-on-start")
    async with Orchestrator({"it": hangs}, observers=[impatient], journal=journal) as orchestrator:
        with impatient.scope:
            await orchestrator.run(plan(("it:echo", {"value": 1})))
        (kept,) = runs(journal)
        assert kept.status == "cancelled"
        with pytest.raises(JournalError, match="has ended"):
            async with orchestrator.resume("last"):
                pass


async def test_a_run_that_is_taken_up_and_cancelled_before_it_goes_on_stays_as_it_was(
    journal: Location, person: Person
) -> None:
    impatient = Impatient()
    person.later = "a"
    call = {"id": "e", "tool": "it:echo", "arguments": {"value": "$OUTPUT[a]"}}
    servers = {"it": faulty()}
    async with Orchestrator(servers, journal=journal, answer=person) as orchestrator:
        first = await orchestrator.run({**FLOW, "tasks": [*FLOW["tasks"], call]})
        assert first.status == "paused"
    person.later, servers = "nothing", {"it": faulty("--hang-on-start")}
    about: dict[str, Any] = {"journal": journal, "answer": person}
    async with Orchestrator(servers, observers=[impatient], **about) as orchestrator:
        with impatient.scope:
            async with orchestrator.resume("last"):
                raise AssertionError("it must not begin")
    servers = {"it": faulty()}
    async with Orchestrator(servers, **about) as orchestrator, orchestrator.resume("last") as run:
        result = await run.execute()
    assert (result.status, result["e"].output) == ("success", {"value": "a 1?"})


async def test_without_a_journal_there_is_nothing_to_go_on_with(person: Person) -> None:
    async with Orchestrator({}, answer=person) as orchestrator:
        assert await orchestrator.estimates(FLOW) == {}
        for begin in (orchestrator.resume, orchestrator.retry, orchestrator.fork):
            with pytest.raises(JournalError, match="give the Orchestrator a journal"):
                async with begin("last"):
                    pass


async def test_what_was_not_kept_is_said(journal: Location, person: Person) -> None:
    async with Orchestrator({}, journal=journal, answer=person) as orchestrator:
        assert await orchestrator.estimates(FLOW) == {}
        with pytest.raises(JournalError, match='unknown run "nope"'):
            async with orchestrator.fork("nope"):
                pass
        first = await orchestrator.run(FLOW)
        async with orchestrator.retry(first.run_id, ["a"]) as run:
            result = await run.execute()
        assert (result.status, person.asked[2:]) == ("success", ["a 1?"])
        async with orchestrator.retry(first.run_id, alone=["b"]) as run:
            await run.execute()
        assert person.asked[3:] == ["b 1?"]


async def test_a_retry_takes_over_a_task_that_its_fallback_saved_unless_it_is_named(
    journal: Location,
) -> None:
    asked: list[str] = []

    def answer(question: Question) -> Any:
        asked.append(question.task)
        if asked == ["a"]:
            raise RefusedError
        return "the real thing"

    saved = {"id": "a", **_ask("a"), "fallback": {"value": "stands in"}}
    flow = {"tasks": [saved, {"id": "b", "value": "$OUTPUT[a]"}]}
    async with Orchestrator({}, journal=journal, answer=answer) as orchestrator:
        assert (await orchestrator.run(flow))["b"].output == "stands in"
        async with orchestrator.retry("last") as run:
            assert (await run.execute())["a"].output == "stands in"
        assert asked == ["a"]
        async with orchestrator.retry("last", ["a"]) as run:
            result = await run.execute()
    assert asked == ["a", "a"]
    assert result["b"].output == "the real thing"


async def test_without_outputs_nobody_goes_on(journal: Location) -> None:
    def answer(question: Question) -> Any:
        return "a secret" if question.task == "a" else None

    kept = Journal(journal, outputs=False)
    async with Orchestrator({}, journal=kept, answer=answer) as orchestrator:
        await orchestrator.run(FLOW)
        for begin in (orchestrator.resume, orchestrator.retry, orchestrator.fork):
            with pytest.raises(JournalError, match=r"no outputs of run .* are kept"):
                async with begin("last"):
                    pass
    kept_texts = ask(journal, "select request, result, payload from run join record on run=id")
    assert "a secret" not in str(kept_texts)


async def test_a_process_that_lives_long_deletes_old_runs(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.journal._PRUNED_EVERY", 5)
    flow = {"tasks": [{"id": "a", "value": 1}]}
    async with Orchestrator({}, journal=Journal(journal, keep_runs=2)) as orchestrator:
        waiting = await orchestrator.run(FLOW)
        made = [(await orchestrator.run(flow)).run_id for _ in range(11)]
        # The tenth run began with two of those before it, and what somebody may still answer.
        assert {run.id for run in runs(journal)} == {waiting.run_id, *made[-5:]}
    assert {run.id for run in runs(journal)} == {waiting.run_id, *made[-2:]}


async def test_what_cleans_up_is_made_again(journal: Location, person: Person) -> None:
    flow = FLOW | {"finally": [{"id": "last", **_ask("last")}]}
    async with Orchestrator({}, journal=journal, answer=person) as orchestrator:
        first = await orchestrator.run(flow)
        person.asked = []
        async with orchestrator.retry(first.run_id, ["a"]) as run:
            await run.execute()
        assert sorted(person.asked) == ["a 1?", "last?"]
        async with orchestrator.fork(first.run_id, inputs={"y": 2}) as run:
            await run.execute()
        assert sorted(person.asked[2:]) == ["b 2?", "last?"]


async def test_a_question_of_finally_has_its_whole_limit_after_a_pause(
    journal: Location, person: Person
) -> None:
    person.later = "last"
    flow = FLOW | {"finally": [{"id": "last", **_ask("last")}], "finally_timeout_s": 5}
    async with Orchestrator({}, journal=journal, answer=person) as orchestrator:
        assert (await orchestrator.run(flow)).status == "paused"
        assert ("finally",) not in ask(journal, "select path from record where kind='began'")
        person.later = "nothing"
        async with orchestrator.resume("last") as run:
            assert (await run.execute()).status == "success"


async def test_a_queued_run_that_is_cancelled_while_its_servers_start_can_be_carried_by_others(
    journal: Location,
) -> None:
    impatient = Impatient()
    hangs = faulty("--hang-on-start")
    async with Orchestrator({"it": hangs}, observers=[impatient], journal=journal) as orchestrator:
        run_id = await orchestrator.queue(plan(("it:echo", {"value": 1})))
        with impatient.scope:
            async with orchestrator.resume(run_id):
                raise AssertionError("it must not begin")
    servers = {"it": faulty()}
    async with Orchestrator(servers, journal=journal) as again, again.resume(run_id) as run:
        assert (await run.execute()).status == "success"


async def test_a_run_that_was_submitted_starts_when_it_begins(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = {"id": "ask", "ask": {"message": "Go on?"}}
    flow = {"tasks": [{"id": "at", "value": "$RUN.started_at"}, ask]}
    async with Orchestrator({}, journal=journal) as orchestrator:
        run_id = await orchestrator.queue(flow)
        monkeypatch.setattr("orchestrator.journal.taking_up.utc", lambda _: "later")
        async with orchestrator.resume(run_id) as run:
            paused = await run.execute()
        assert (paused.status, paused.started_at, paused["at"].output) == ("paused", *["later"] * 2)
        assert kept_request(journal, run_id)["settings"]["started_at"] == "later"
        monkeypatch.setattr("orchestrator.journal.taking_up.utc", lambda _: "later still")
        assert (await orchestrator.end(run_id)).started_at == "later"


async def test_a_run_that_is_queued_begins_when_somebody_resumes_it(journal: Location) -> None:
    flow = {"tasks": [{"id": "a", "value": 1}]}
    async with Orchestrator({}, journal=Journal(journal, keep_runs=1)) as orchestrator:
        first, second = [await orchestrator.queue(flow) for _ in range(2)]
        (queued, _) = runs(journal, status="queued")
        assert (queued.id, queued.resumed, queued.ended) == (second, 0, None)
        async with orchestrator.resume(first) as run:
            assert (await run.execute()).resumed == 0
        assert (await orchestrator.end(second)).status == "cancelled"
        assert {run.id: (run.status, run.resumed) for run in runs(journal)} == {
            first: ("success", 0),
            second: ("cancelled", 0),
        }
        await orchestrator.queue(flow)
        assert [run.status for run in runs(journal)] == ["queued", "cancelled", "success"]
        await orchestrator.queue(flow)
    assert [run.status for run in runs(journal)] == ["queued", "queued"]


async def test_a_run_that_ends_while_it_is_taken_up_stays_ended(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, ends = TakenUp.claim, "update run set status='success'"

    def end(taken: TakenUp, *given: Any, **more: Any) -> float:
        store_of(journal).session().call(lambda db: db.execute(ends))
        return claim(taken, *given, **more)

    async with Orchestrator({}, journal=journal) as orchestrator:
        run_id = await orchestrator.queue(FLOW)
        monkeypatch.setattr(TakenUp, "claim", end)
        with pytest.raises(CarriedError, match="or has ended it"):
            async with orchestrator.resume(run_id):
                pass
    assert [each.status for each in runs(journal)] == ["success"]


async def test_of_two_that_begin_a_queued_run_one_does(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, began = TakenUp.claim, list[KeptRun]()

    def begin_first(taken: TakenUp, *given: Any, **more: Any) -> float:
        monkeypatch.undo()
        began.append(second._resume(run_id, "ask", Hiding(), False)[1])
        return claim(taken, *given, **more)

    async with (
        Orchestrator({}, journal=journal) as orchestrator,
        Journal(journal) as second,
    ):
        run_id = await orchestrator.queue({"tasks": [{"id": "a", "value": 1}]})
        monkeypatch.setattr(TakenUp, "claim", begin_first)
        for _ in range(2):  # as the other one takes it, and after that
            with pytest.raises(CarriedError, match="carried by another process"):
                async with orchestrator.resume(run_id):
                    raise AssertionError("the other one carries it")
        await began[0].free()
        async with orchestrator.resume(run_id) as run:
            assert (await run.execute()).status == "success"
    assert [each.status for each in runs(journal)] == ["success"]


async def test_a_run_stays_with_who_began_it_when_the_same_process_tries_again(
    journal: Location,
) -> None:
    own = Journal(journal)
    async with Orchestrator({}, journal=own) as orchestrator:
        run_id = await orchestrator.queue({"tasks": [{"id": "a", "value": 1}]})
        async with orchestrator.resume(run_id) as run:
            first = own.carried(run_id)
            with pytest.raises(CarriedError) as caught:
                await own.resume(run_id, "ask")
            assert own.carried(run_id) is first is not None
            assert caught.tb is not None  # it keeps what was made for the second attempt
            assert (await run.execute()).status == "success"
