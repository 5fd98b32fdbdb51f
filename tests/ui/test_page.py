"""What the page shows of the runs of a journal, whatever they say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Question, RunResult
from orchestrator.journal.file_store import lock_path
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Location
from orchestrator.ui import picture
from orchestrator.ui.view import Watch
from orchestrator.workflow.model import Workflow
from tests.journals import ask
from tests.ui.browser import opened

pytestmark = pytest.mark.anyio
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028\u202e\"'&"
INNER = {
    "name": "inner",
    "inputs": {"n": {"type": "integer"}},
    "tasks": [
        {"id": "half", "value": "$INPUT.n"},
        {"id": "next", "value": {"of": "$OUTPUT[half]"}},
    ],
}
FLOW: dict[str, Any] = {
    "name": "flow",
    "description": EVIL,
    "inputs": {"x": {"type": "string", "default": EVIL}},
    "tasks": [
        {"id": "list", "value": [1, 2, 3]},
        {"id": "each", "for_each": "$OUTPUT[list]", "value": {"item": "$ITEM", "of": "$INPUT.x"}},
        {
            "id": "outer",
            "for_each": "$OUTPUT[list]",
            "workflow": INNER,
            "arguments": {"n": "$ITEM"},
        },
        {"id": "wrong", "value": "$OUTPUT[list][7]"},
        {"id": "after", "value": "$OUTPUT[wrong]"},
        {"id": "asked", "ask": {"message": "$INPUT.x", "schema": {"type": "string"}}},
        {"id": "said", "value": "$OUTPUT[asked]"},
    ],
    "finally": [{"id": "last", "value": 1}],
}


async def ran(
    journal: Location,
    flow: dict[str, Any] = FLOW,
    answer: Any = "yes",
    servers: dict[str, Any] | None = None,
    **inputs: Any,
) -> RunResult:
    """A run of a workflow, whose questions get this answer; None: they stay open."""

    def reply(_: Question) -> Any:
        return answer

    async with Orchestrator(servers or {}, journal=journal, answer=reply) as orchestrator:
        return await orchestrator.run(flow, inputs)


async def test_every_id_that_a_task_may_have_is_one_of_a_level(journal: Location) -> None:
    of_inner = {"workflow": INNER, "arguments": {"n": "$ITEM"}, "for_each": [7]}
    tasks = [{"id": "2:a.b", **of_inner}, {"id": "c.d", "value": "$OUTPUT[2:a.b]"}]
    result = await ran(journal, {"tasks": tasks})
    async with opened(journal) as browser:
        inside = await browser.get(f"runs/{result.run_id}", within="2:a.b[0]/")
        assert [task["id"] for task in inside["tasks"]] == ["half", "next"]
        states = await browser.get(f"runs/{result.run_id}")
        assert states["states"].keys() == {"2:a.b", "c.d"}


async def test_the_list_is_searched_filtered_and_comes_in_pages(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.ui.overview.PAGE", 2)
    one = await ran(journal)
    two = await ran(journal, {"name": "Other", "tasks": [{"id": "a", "value": 1}]})
    three = await ran(journal, answer=None)
    async with opened(journal) as browser:
        page = await browser.get("runs")
        assert [run["id"] for run in page["runs"]] == [three.run_id, two.run_id]
        assert [run["status"] for run in page["runs"]] == ["paused", "success"]
        assert page["workflows"] == ["Other", "flow"]
        rest = await browser.get("runs", before=page["next"])
        assert ([run["id"] for run in rest["runs"]], rest["next"]) == ([one.run_id], None)
        for given, found in (
            ({"text": "OTH"}, [two.run_id]),
            ({"text": one.run_id}, [one.run_id]),
            ({"text": "' or 1=1 --"}, []),
            ({"status": "partial"}, [one.run_id]),
            ({"status": "nothing"}, []),
            ({"workflow": "flow", "status": "paused"}, [three.run_id]),
        ):
            page = await browser.get("runs", **given)
            assert [run["id"] for run in page["runs"]] == found


async def test_a_task_whose_items_go_on_began_with_the_first(journal: Location) -> None:
    result = await ran(journal)
    ask(journal, "delete from record where kind='task' and path='outer'")
    async with opened(journal) as browser:
        state = (await browser.get(f"runs/{result.run_id}"))["states"]["outer"]
    assert state["status"] is None
    assert state["items"] == {"success": 3}
    assert state["began_ms"] > 0


async def test_before_the_first_run_the_list_is_empty(journal: Location) -> None:
    async with opened(journal) as browser:
        assert await browser.get("runs") == {"runs": [], "next": None, "workflows": []}


async def test_a_run_that_another_process_carries_shows_how_far_it_is(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    result = await ran(journal)
    pretend_running(journal, result.run_id)
    async with opened(journal) as browser:
        (run,) = (await browser.get("runs"))["runs"]
        assert run["status"] == "interrupted"
        lock = lock_path(journal, result.run_id)
        lock.parent.mkdir(exist_ok=True)
        from orchestrator.documents.file_lock import FileLock

        held = FileLock(lock)
        assert held.acquire(wait=False)
        (run,) = (await browser.get("runs"))["runs"]
        assert (run["status"], run["progress"]) == ("running", [8, 8])
        shown = await browser.get(f"runs/{result.run_id}")
        assert shown["run"]["status"] == "running"
        assert (shown["active"], shown["silent"]) == (None, False)
        os.utime(lock, (1.0, 1.0))
        assert (await browser.get(f"runs/{result.run_id}"))["silent"] is True
        beside = lock.with_name(f"{lock.name}.live")
        calls = [
            call("each", 1, since_ms=5.0),
            call("each", 2, waiting_for="a slot"),
            call("outer[2]/half", None),
            call("wrong", None, since_ms=7.0),
        ]
        beside.write_text(json.dumps({"at_ms": 9.0, "by_server": {"s": 4}, "running": calls}))
        shown = await browser.get(f"runs/{result.run_id}")
        assert (shown["at_ms"], shown["calls"]) == (9.0, 4)
        assert shown["active"]["each"]["items"] == {"1": [5.0, ""], "2": [None, "a slot"]}
        assert (shown["active"]["each"]["calls"], shown["active"]["each"]["waiting"]) == (1, 1)
        assert set(shown["active"]) == {"each", "outer", "wrong"}
        inside = await browser.get(f"runs/{result.run_id}", within="outer[2]/")
        assert set(inside["active"]) == {"half"}
        beside.write_text("{")
        assert (await browser.get(f"runs/{result.run_id}"))["active"] is None
        held.release()


def pretend_running(journal: Location, run: str) -> None:
    ask(journal, "update run set status='running', ended=null, result=null where id=?", run)


def call(task: str, item: int | None, **more: Any) -> dict[str, Any]:
    fields = {"target": "value", "attempt": 1, "since_ms": None, "waiting_for": ""}
    return {"task": task, "item": item, **fields, **more}


async def test_a_run_with_its_tasks_and_how_each_ended(journal: Location) -> None:
    result = await ran(journal)
    async with opened(journal) as browser:
        shown = await browser.get(f"runs/{result.run_id[:14]}")
        run = shown["run"]
        assert (run["id"], run["status"], run["workflow"]) == (result.run_id, "partial", "flow")
        assert run["description"] == EVIL
        assert run["can"] == {"cancel": False, "resume": False, "retry": True, "fork": True}
        tasks = {task["id"]: task for task in shown["tasks"]}
        assert list(tasks) == [task["id"] for task in FLOW["tasks"]] + ["last"]
        assert tasks["after"]["after"] == ["wrong"]
        assert (tasks["each"]["each"], tasks["outer"]["inner"]) == (True, True)
        assert tasks["last"]["generation"] is None
        states = shown["states"]
        assert states["each"]["items"] == {"success": 3}
        assert states["wrong"]["error"]["kind"] == "reference_error"
        assert states["after"]["status"] == "skipped"
        assert "wrong" in states["after"]["reason"]
        assert shown["questions"] == []
        inside = await browser.get(f"runs/{result.run_id}", within="outer[1]/")
        assert [task["id"] for task in inside["tasks"]] == ["half", "next"]
        assert inside["states"]["next"]["status"] == "success"


async def test_one_task_with_its_arguments_output_and_events(journal: Location) -> None:
    result = await ran(journal)
    async with opened(journal) as browser:

        async def task(path: str) -> dict[str, Any]:
            return dict(await browser.get(f"runs/{result.run_id}/task", path=path))

        each = await task("each")
        assert (each["each"], each["item"], each["state"]["status"]) == (True, None, "success")
        assert (each["output"]["t"], each["output"]["n"]) == ("array", 3)
        item = await task("each[1]")
        assert (item["each"], item["state"]["index"]) == (False, 1)
        assert item["output"]["e"][0] == ["item", {"t": "number", "v": "2"}]
        assert dict(item["output"]["e"])["of"]["v"] == EVIL
        assert [event["kind"] for event in item["events"]] == ["item", "task"]
        inner = await task("outer[2]/next")
        assert (inner["within"], inner["id"]) == ("outer[2]/", "next")
        assert inner["output"]["e"] == [["of", {"t": "number", "v": "3"}]]
        assert dict(inner["definition"]["e"])["id"]["v"] == "next"
        outer = await task("outer[2]")
        assert outer["arguments"]["e"] == [["n", {"t": "number", "v": "3"}]]
        wrong = await task("wrong")
        assert wrong["error"]["t"] == "object"
        assert wrong["events"][-1]["error"].startswith("reference_error")
        asked = await task("asked")
        assert [event["kind"] for event in asked["events"]] == [
            "began",
            "question",
            "reply",
            "task",
        ]
        assert [wait["for"] for wait in asked["waits"]] == ["the answer to a question"]
        assert len(await browser.get(f"runs/{result.run_id}/items", path="each")) == 3
        last = await task("last")
        assert dict(last["definition"]["e"])["id"]["v"] == "last"


async def test_where_the_time_went_and_the_report_of_a_run(journal: Location) -> None:
    result = await ran(journal)
    async with opened(journal) as browser:
        run = f"runs/{result.run_id}"
        story = await browser.get(f"{run}/story")
        assert story["path"]
        assert {step["path"] for step in story["path"]} <= {"asked", "list", "outer[2]/next"}
        assert all(step["words"] for step in story["path"])
        response = await browser.client.get(f"/api/{run}/report")
        assert response.headers["content-disposition"] == 'attachment; filename="report.html"'
        assert "<script" not in response.text
        paused = (
            await ran(journal, {"tasks": [FLOW["tasks"][5] | {"ask": {"message": "?"}}]}, None)
        ).run_id
        assert (await browser.get(f"runs/{paused}/story"))["path"] == []
        pretend_running(journal, paused)
        missing = await browser.client.get(f"/api/runs/{paused}/report")
        assert "has not ended" in missing.text


async def test_what_cannot_be_told_is_left_out(journal: Location) -> None:
    gone = {"id": "gone", "value": "$OUTPUT[list]", "for_each": "$OUTPUT[asked]"}
    outer = {"id": "deep", "workflow": INNER, "arguments": {"n": "$OUTPUT[end]"}}
    end = {"id": "end", "ask": {"message": "?", "schema": {"type": "integer"}}}
    asked = {"id": "asked", "ask": {"message": "?", "schema": {"type": "array"}}}
    flow = {"tasks": [{"id": "list", "value": 1}, asked, gone, end, outer]}
    run = f"runs/{(await ran(journal, flow, None)).run_id}"
    async with opened(journal) as browser:
        for path in ("gone[0]", "deep", "deep/half"):
            assert (await browser.get(f"{run}/task", path=path))["arguments"] is None
        assert await browser.get(f"{run}/value", 200, path="gone") == {"t": "null", "v": "null"}
        await browser.post(f"{run}/answer", {"task": "end", "value": 3})
        inner = await browser.get(f"{run}/task", path="end")
        assert [event["kind"] for event in inner["events"]] == ["began", "question", "reply"]


async def test_what_has_not_settled_has_what_is_known(journal: Location) -> None:
    result = await ran(journal, answer=None)
    async with opened(journal) as browser:
        run = f"runs/{result.run_id}"
        said = await browser.get(f"{run}/task", path="said")
        assert (said["state"], said["output"]["t"], said["waits"]) == (None, "null", [])
        item = await browser.get(f"{run}/task", path="each[9]")
        assert item["state"] is None
        (question,) = (await browser.get(run))["questions"]
        assert (question["task"], question["message"]) == ("asked", EVIL)
        assert (await browser.get(run))["run"]["can"]["resume"] is True


async def test_values_are_fetched_in_parts_and_whole(journal: Location) -> None:
    long = "abc" * 4000
    result = await ran(journal, FLOW, x=long)
    async with opened(journal) as browser:
        run, asked = f"runs/{result.run_id}", {"path": "each[0]", "of": "output"}
        part = await browser.get(f"{run}/value", **asked, at="/of", offset=4000)
        assert (part["from"], part["n"], part["v"]) == (4000, 12000, long[4000:8000])
        response = await browser.client.get(f"/api/{run}/download", params=asked)
        assert response.json() == {"item": 1, "of": long}
        assert response.headers["content-disposition"].startswith("attachment")
        assert response.headers["content-type"] == "application/octet-stream"
        assert (await browser.get(f"{run}/value", of="arguments"))["e"][0][0] == "x"
        assert dict((await browser.get(f"{run}/value", of="output"))["e"])["said"]["v"] == "yes"
        assert (await browser.get(f"{run}/value", of="definition"))["t"] == "object"
        inputs = await browser.get(f"{run}/inputs")
        assert (inputs["values"], list(inputs["schemas"])) == ({"x": long}, ["x"])
        for wrong in ({"path": "nope"}, {"of": "nope"}, {"path": "each", "at": "/9"}):
            await browser.get(f"{run}/value", 404, **wrong)
        missing = await browser.client.get(f"/api/{run}/download", params={"path": "nope"})
        assert missing.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "runs/nope",
        "runs/%27",
        "runs/{run}?within=each[0]/",
        "runs/{run}?within=nope/",
        "runs/{run}/task?path=",
        "runs/{run}/task?path=nope",
        "runs/{run}/task?path=each[x]",
        "runs/{run}/task?path=outer[0]/nope",
        "runs/{run}/task?path=said/x",
        "runs/{run}/items?path=nope",
        "runs/{run}/graph?within=nope/",
        "runs/nope/events",
    ],
)
async def test_what_is_not_there_is_said_so(journal: Location, path: str) -> None:
    result = await ran(journal)
    async with opened(journal) as browser:
        found = await browser.get(path.replace("{run}", result.run_id), 404)
        assert found["error"]


async def test_the_files_of_the_page_are_there_and_no_others(journal: Location) -> None:
    await ran(journal)
    async with opened(journal) as browser:
        index = await browser.client.get("/")
        assert index.headers["content-type"].startswith("text/html")
        assert 'src="/static/main.js"' in index.text
        for name in ("main.js", "base.css", "run.css", "index.html"):
            assert (await browser.client.get(f"/static/{name}")).status_code == 200
        for name in ("nope.js", "..%2fapp.py", "__init__.py", "%2e%2e"):
            assert (await browser.client.get(f"/static/{name}")).status_code == 404
        assert await browser.get("servers") == {"servers": []}


async def test_no_file_of_the_page_makes_markup_of_text() -> None:
    files = Path(picture.__file__).with_name("static").iterdir()
    scripts = {path.name: path.read_text() for path in files if path.suffix in (".js", ".html")}
    assert len(scripts) > 10
    for name, text in scripts.items():
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), name
        assert "https://" not in text, name


async def test_the_graph_folds_what_is_alike(journal: Location, monkeypatch: Any) -> None:
    many = [{"id": f"t{n}", "value": n, "depends_on": ["a"]} for n in range(20)]
    last = {"id": "z", "value": 1, "depends_on": [task["id"] for task in many]}
    flow = {"tasks": [{"id": "a", "ask": {"message": "?"}}, *many, last]}
    result = await ran(journal, flow | {"finally": [{"id": "f", "value": 1}]}, answer=None)
    async with opened(journal) as browser:
        graph = await browser.get(f"runs/{result.run_id}/graph")
        assert (graph["folded"], len(graph["nodes"]), len(graph["edges"])) == (False, 23, 40)
        folded = await browser.get(f"runs/{result.run_id}/graph", fold="1")
        assert [len(node["tasks"]) for node in folded["nodes"]] == [1, 20, 1, 1]
        assert folded["nodes"][1]["below"] == "20 tasks"
        assert [(edge["from"], edge["to"]) for edge in folded["edges"]] == [
            ("a", "t0"),
            ("t0", "z"),
        ]
        inside = await browser.get(f"runs/{result.run_id}/graph", 404, within="t0/")
        assert "has no tasks inside" in inside["error"]
    plan = Workflow.load(flow).plan
    monkeypatch.setattr(picture, "FOLDED", 10)
    assert picture.graph(plan)["folded"] is True
    assert picture.graph(plan, fold=False)["folded"] is False
    monkeypatch.setattr(picture, "MAX_DRAWN", 10)
    assert picture.graph(plan, fold=False)["folded"] is True


def test_a_node_has_room_for_what_is_said_of_its_items() -> None:
    tasks = [{"id": "a", "value": 1}, {"id": "b", "for_each": "$OUTPUT[a]", "value": "$ITEM"}]
    plain, each = picture.graph(Workflow.load({"tasks": tasks}).plan)["nodes"]
    assert each["width"] > plain["width"] + 60


async def test_what_comes_is_streamed_from_the_journal(journal: Location) -> None:
    result = await ran(journal, answer=None)
    run = f"runs/{result.run_id}"
    async with opened(journal) as browser:
        moment = (await browser.get(run))["moment"]
        seen: list[dict[str, Any]] = []
        async with browser.stream(f"{run}/events?after={moment}") as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 1:
                    assert (event["status"], event["id"]) == ("paused", moment)
                    body = {"task": "asked", "value": "now"}
                    assert (await browser.post(f"{run}/answer", body))["left"] == 0
                    await browser.post(f"{run}/resume")
                if event["status"] == "partial":
                    break
        assert any(event.get("reload") for event in seen)
        assert any(event.get("questions") == [] for event in seen)
        states = {name: each for event in seen for name, each in event.get("states", {}).items()}
        assert (states["asked"]["status"], states["said"]["status"]) == ("success", "success")
        # A browser that connects again is told what it has missed, and what came just before.
        async with browser.stream(f"{run}/events", last=moment) as events:
            assert {"asked", "said"} <= (await anext(events))["states"].keys()
        async with browser.stream(f"{run}/events?within=outer[1]/", last="0") as events:
            assert (await anext(events))["states"].keys() == {"half", "next"}


async def test_a_run_that_is_deleted_is_gone_and_streams_end_with_the_page(
    journal: Location,
) -> None:
    result = await ran(journal)
    async with (
        opened(journal) as browser,
        browser.stream(f"runs/{result.run_id}/events") as events,
    ):
        await anext(events)
        ask(journal, "delete from run")
        assert (await anext(events))["gone"] is True
        browser.page.closing.set()
        assert [event async for event in events] == []


async def test_a_journal_that_cannot_be_read_any_more_is_said_once_and_read_again_later(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "runs.db"
    result = await ran(journal)
    watch = Watch(journal, result.run_id, "", "")
    assert (watch.look() or {})["status"] == result.status
    aside = journal.with_name("aside")
    journal.rename(aside)
    assert "there is no journal" in (watch.look() or {})["trouble"]
    assert watch.look() is None
    aside.rename(journal)
    assert (watch.look() or {})["trouble"] == ""
    assert watch.look() is None


async def test_the_list_is_told_of_changes(journal: Location) -> None:
    await ran(journal)
    async with (
        opened(journal) as browser,
        browser.stream("events") as events,
        anyio.create_task_group() as group,
    ):
        group.start_soon(run_again_and_again, journal)
        assert (await anext(events))["changed"]
        group.cancel_scope.cancel()


async def run_again_and_again(journal: Location) -> None:
    while True:
        await ran(journal)


async def test_a_stream_that_is_silent_says_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from orchestrator.ui import stream

    monkeypatch.setattr(stream, "SILENT_S", stream.LOOK_S)
    closing, heard = anyio.Event(), []
    async for part in stream.events(lambda: None, closing):
        heard.append(part)
        if len(heard) == 2:
            closing.set()
    assert heard == [b"retry: 1000\n\n", b":\n\n"]


async def test_a_plan_that_grows_is_shown_as_it_grows(journal: Location) -> None:
    async with (
        Orchestrator({}, journal=Journal(journal)) as orchestrator,
        opened(journal) as browser,
        orchestrator.open({"name": "growing"}) as run,
    ):
        (known,) = (await browser.get("runs"))["runs"]
        path = f"runs/{known['id']}"
        shown = await browser.get(path)
        assert (shown["tasks"], shown["run"]["can"]["fork"]) == ([], False)
        await browser.get(f"{path}/graph", 404)
        await browser.get(f"{path}/task", 404, path="a")
        await run.add({"id": "a", "value": 1})
        async with browser.stream(f"{path}/events?after={shown['moment']}") as events:
            while not (await anext(events)).get("reload"):
                pass
        shown = await browser.get(path)
        assert [task["id"] for task in shown["tasks"]] == ["a"]
        await run.close()
