"""The tools about runs: under way, paused, ended, of this process and of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator import Orchestrator, Question
from orchestrator.documents.file_lock import FileLock
from orchestrator.journal.file_store import asked_path, lock_path
from orchestrator.journal.location import Address, store_of
from orchestrator.serve.forms import form_of, message_of, value_in
from orchestrator.serve.inline import preview, size_of
from orchestrator.serve.results import fitted, light
from tests.serve.test_toolset import TWO, Conforming, opened, task

pytestmark = pytest.mark.anyio
ASK = {"id": "who", "ask": {"message": "Which?", "schema": {"type": "integer", "default": 7}}}
ASKING = {"tasks": [ASK, task("a", "double", n="$OUTPUT[who]")]}


async def test_a_run_that_has_ended_is_shown_without_its_outputs(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        done = await toolset.call("parallel_execute", {"tasks": TWO})
        asked = {"run_id": done.document["run_id"]}
    async with opened(tmp_path) as toolset:
        status = (await toolset.call("run_status", asked)).document
        assert (status["status"], status["summary"]["succeeded"]) == ("success", 2)
        assert status["tasks"]["a"] == {"status": "success"}
        ended = await toolset.call("cancel_run", asked)
        assert ended.is_error
        assert "it has ended with status success" in ended.document["error"]["message"]
        assert (await toolset.call("cancel_run", {"run_id": "none"})).is_error


async def test_without_a_journal_the_latest_runs_are_known() -> None:
    async with opened() as toolset:
        done = await toolset.call("parallel_execute", {"tasks": TWO})
        runs = (await toolset.call("run_status")).document["runs"]
        assert [each["run_id"] for each in runs] == [done.document["run_id"]]
        paused = await toolset.call("parallel_execute", ASKING)
        asked = {"run_id": paused.document["run_id"], "task": "who", "value": 3}
        answer = await toolset.call("answer_question", asked)
        assert "no journal is kept" in answer.document["error"]["message"]


async def test_a_default_is_taken_and_a_refusal_fails_the_task(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        for more, status in (({}, "success"), ({"refuse": True}, "failed")):
            paused = await toolset.call("parallel_execute", ASKING)
            asked = {"run_id": paused.document["run_id"], "task": "who", **more}
            shown = await toolset.call("get_result", {"run_id": asked["run_id"]})
            assert shown.document["questions"][0]["task"] == "who"
            assert (await toolset.call("answer_question", asked)).document["status"] == status


async def test_a_run_that_waits_is_cancelled_here_if_a_journal_keeps_it(tmp_path: Path) -> None:
    plan = ASKING | {"finally": [task("z", "double", n=4)]}
    async with opened(tmp_path) as toolset:
        run_id = (await toolset.call("parallel_execute", plan)).document["run_id"]
        cancelled = await toolset.call("cancel_run", {"run_id": run_id[:20]})
        assert cancelled.document == {"run_id": run_id, "status": "cancelled"}
        tasks = (await toolset.call("get_result", {"run_id": run_id})).document["tasks"]
        assert {name: each["status"] for name, each in tasks.items()} == {
            "who": "cancelled",
            "a": "cancelled",
            "z": "success",
        }
    async with opened() as toolset:
        run_id = (await toolset.call("parallel_execute", plan)).document["run_id"]
        cancelled = await toolset.call("cancel_run", {"run_id": run_id})
        assert "no journal keeps it" in cancelled.document["error"]["message"]


async def test_a_paused_run_of_another_process_has_its_questions(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        run_id = (await toolset.call("parallel_execute", ASKING)).document["run_id"]
    async with opened(tmp_path) as toolset:
        shown = await toolset.call("run_status", {"run_id": run_id})
        assert shown.document["questions"][0]["message"] == "Which?"


@pytest.mark.parametrize("given", [{"value": 2}, {"refuse": True}])
async def test_a_question_of_a_run_under_way_is_answered(given: dict[str, Any]) -> None:
    asked, results = anyio.Event(), []

    async def nobody(_: Question) -> None:
        asked.set()
        await anyio.sleep_forever()

    async with opened() as toolset, anyio.create_task_group() as group:

        async def run() -> None:
            results.append(await toolset.call("parallel_execute", ASKING, answer=nobody))

        group.start_soon(run)
        await asked.wait()
        (run_id,) = toolset.runs.active
        status = await toolset.call("run_status", {"run_id": run_id})
        assert status.document["questions"][0]["task"] == "who"
        wrong = await toolset.call("answer_question", {"run_id": run_id, "task": "x", "value": 1})
        assert wrong.is_error
        await toolset.call("answer_question", {"run_id": run_id, "task": "who", **given})
    assert results[0].document["status"] == ("failed" if "refuse" in given else "success")


async def test_a_run_of_another_process_is_asked_to_end(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    async with opened(tmp_path) as toolset:
        run_id = (await toolset.call("parallel_execute", {"tasks": TWO})).document["run_id"]
    change = f"update run set status='running', ended=null, result=null where id='{run_id}'"
    store_of(journal).session().call(lambda db: db.execute(change))
    lock = FileLock(lock_path(journal, run_id))
    assert lock.acquire(wait=False)
    try:
        async with opened(tmp_path) as toolset:
            ending = await toolset.call("cancel_run", {"run_id": run_id})
            assert ending.document["status"] == "cancelling"
            assert asked_path(journal, run_id).exists()
            again = await toolset.call("get_result", {"run_id": run_id, "task": "b"})
            assert again.document["value"] == {"n": 8}
    finally:
        lock.release()


async def test_an_interrupted_run_says_what_has_not_settled_and_who_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        run_id = (await toolset.call("parallel_execute", ASKING)).document["run_id"]
    change = f"update run set status='running', ended=null, result=null where id='{run_id}'"
    store_of(tmp_path / "runs.db").session().call(lambda db: db.execute(change))
    async with opened(tmp_path) as toolset:
        shown = (await toolset.call("run_status", {"run_id": run_id})).document
        assert shown["status"] == "interrupted"
        assert f'"orchestrator resume {run_id}"' in shown["note"]
        early = await toolset.call("get_result", {"run_id": run_id, "task": "a"})
        message = early.document["error"]["message"]
        assert message.startswith(f'task "a" has not settled: run {run_id} is interrupted')
        typo = await toolset.call("get_result", {"run_id": run_id, "task": "b"})
        assert typo.document["findings"][0]["message"] == 'unknown task "b"'


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_submitted_run_is_answered_here_and_carried_by_workers(database: Address) -> None:
    async with Orchestrator({}, journal=database) as engine:
        flow = {"tasks": [ASK, {"id": "v", "value": "$OUTPUT[who]"}]}
        run_id = await engine.queue(flow)
        async with engine.resume(run_id) as run:
            assert (await run.execute()).status == "paused"
        toolset = Conforming(engine)
        asked = {"run_id": run_id, "task": "who", "value": 3}
        answer = (await toolset.call("answer_question", asked)).document
        assert (answer["status"], answer["answered"]) == ("paused", "who")
        assert answer["note"] == "a worker goes on with the run; see run_status"
        change = "update run set status='running', ended=null, result=null"
        store_of(database).session().call(lambda db: db.execute(change))
        shown = (await toolset.call("run_status", {"run_id": run_id})).document
        assert shown["status"] == "interrupted"
        assert "A worker goes on with it; cancel_run ends it" in shown["note"]


async def test_mistakes_about_runs_are_told_in_words_for_models(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        done = await toolset.call("parallel_execute", {"tasks": TWO})
        unknown = await toolset.call("run_status", {"run_id": "nope"})
        message = unknown.document["error"]["message"]
        assert message == 'unknown run "nope"; run_status without run_id lists the latest'
        sliced = {"run_id": done.document["run_id"], "task": "a", "path": "[0:5]"}
        (found,) = (await toolset.call("get_result", sliced)).document["findings"]
        assert "offset and limit" in found["message"]
        assert "${" not in found["message"]


async def test_parts_of_strings_of_objects_and_of_failures(tmp_path: Path) -> None:
    text = {"id": "text", "value": "x" * 5000}
    large = {"id": "large", "value": {"a": "y" * 5000, "b": 2}}
    item = {"id": "item", "value": ["z" * 5000]}
    wrong = task("wrong", "refuse", why="no")
    async with opened(tmp_path, max_inline_kb=2) as toolset:
        done = await toolset.call("parallel_execute", {"tasks": [text, large, item, wrong]})
        asked = {"run_id": done.document["run_id"]}
        page = (await toolset.call("get_result", {**asked, "task": "text"})).document
        assert (len(page["value"]), page["next_offset"], page["total"]) == (1024, 1024, 5000)
        last = await toolset.call("get_result", {**asked, "task": "text", "offset": 4999})
        assert last.document["value"] == "x"
        shown = (await toolset.call("get_result", {**asked, "task": "large"})).document
        assert shown["value"]["truncated"]
        assert "choose a part with path" in shown["note"]
        shown = (await toolset.call("get_result", {**asked, "task": "item"})).document
        assert shown["value"][0]["type"] == "string of 5000 characters" or shown["value"]
        failed = await toolset.call("get_result", {**asked, "task": "wrong"})
        assert failed.document["value"]["error"]["kind"] == "tool_error"
        place = await toolset.call("get_result", {**asked, "path": "status"})
        assert place.document["value"] == "partial"
        trailing = await toolset.call("get_result", {**asked, "path": "status!"})
        assert trailing.is_error


async def test_items_that_failed_are_shown_and_counted() -> None:
    each = task("a", "refuse", why="$ITEM") | {"for_each": [str(n) for n in range(25)]}
    async with opened() as toolset:
        shown = (await toolset.call("parallel_execute", {"tasks": [each]})).document
        assert len(shown["tasks"]["a"]["items"]) == 20
        assert shown["tasks"]["a"]["items_left_out"] == 5
        assert shown["tasks"]["a"]["items"][0]["index"] == 0


def test_a_document_of_many_tasks_keeps_those_that_failed() -> None:
    ok = {"status": "success", "output": "x" * 100, "error": None}
    details = {"errors": ["y" * 9000]}
    bad_error = {"kind": "tool_error", "message": "no", "retryable": True, "details": details}
    bad = {"status": "error", "output": None, "error": bad_error}
    tasks = {f"t{n}": ok for n in range(500)} | {"bad": bad}
    question = {"task": "q", "arguments": {"text": "z" * 9000}}
    document = light(
        {"run_id": "1", "status": "partial", "tasks": tasks, "questions": [question] * 30}
    )
    shown = fitted(document, 8192)
    assert size_of(shown) <= 8192
    assert shown["questions_left_out"] == 10
    assert shown["tasks"]["bad"]["error"]["kind"] == "tool_error"
    assert shown["tasks_left_out"] > 400


@pytest.mark.parametrize("value", [list(range(9999)), {f"k{n}": n for n in range(999)}, "é" * 9999])
def test_previews_are_as_large_as_they_may_be(value: Any) -> None:
    shown = preview(value, 1000)
    assert size_of(shown) <= 1000
    assert shown["preview"]
    assert "preview" not in preview(value, 100)


def test_what_a_form_holds() -> None:
    asks = Question("a", None, "unknown", "?", {"anyOf": []}, {"n": 1})
    assert (form_of(asks) or {})["properties"]["answer"]["enum"] == ["repeat", "fail"]
    assert value_in(asks, {"answer": "fail"}) == "fail"
    assert message_of(asks) == '?\narguments: {"n": 1}'
    assert value_in(Question("a", None, "elicitation", "?", None), {}) is True
    whole = Question("a", None, "ask", "?", {"type": "object", "properties": {"n": True}})
    assert form_of(whole) is None
    assert value_in(whole, {"n": 1}) == {"n": 1}


async def test_progress_is_told_until_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.serve.progress.AT_MOST_S", 0)
    monkeypatch.setattr("orchestrator.serve.progress.EVERY_S", 0.01)
    told: list[tuple[float, float | None, str]] = []

    async def tell(done: float, total: float | None, text: str) -> None:
        told.append((done, total, text))
        if len(told) == 3:
            (run_id,) = toolset.runs.active
            await toolset.call("cancel_run", {"run_id": run_id})
            raise ConnectionError("gone")

    async with opened() as toolset:
        plan = {"tasks": [*TWO, task("w", "wait_for_ever")]}
        await toolset.call("parallel_execute", plan, on_progress=tell)
    numbers = [done for done, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert any("of 3 tasks settled" in text for _, _, text in told)


async def test_a_run_has_a_limit_and_few_results_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.serve.carried.MAX_KEPT", 1)
    async with opened(max_run_s=0.05) as toolset:
        first = await toolset.call("parallel_execute", {"tasks": TWO})
        ended = await toolset.call("parallel_execute", {"tasks": [task("w", "wait_for_ever")]})
        assert ended.document["status"] == "cancelled"
        assert "the limit of this server" in json.dumps(ended.document)
        gone = await toolset.call("get_result", {"run_id": first.document["run_id"]})
        assert gone.is_error
