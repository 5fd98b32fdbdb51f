"""What is recorded of a run is what a replay gives again, without any server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import CallError, Orchestrator, RunResult, Server, Workflow, WorkflowError
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import TaskStarted
from tests.recordings.world import make_server, outcome

pytestmark = pytest.mark.anyio


def call(task: str, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
    return {"id": task, "tool": f"mock:{tool}", "arguments": arguments or {}, **more}


async def recorded(path: Path, document: Any, inputs: dict[str, Any] | None = None) -> RunResult:
    async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
        return await orchestrator.run(document, inputs)


async def replayed(
    recording: Path | dict[str, Any], document: Any, inputs: dict[str, Any] | None = None
) -> tuple[RunResult, list[str]]:
    async with Orchestrator.replay(recording) as orchestrator:
        return await orchestrator.run(document, inputs), list(orchestrator.missed)


EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "inputs": {"name": {"type": "string"}},
    "tasks": [
        call("one", "double", {"n": 1.5}),
        call("same", "next", for_each=[1, 2, 3]),
        call("flaky", "flaky", {"times": 2}, retry={"max_attempts": 4, "initial_s": 0}),
        call("wrapped", "say", {"text": "$INPUT.name \u200b ½"}),
        call("turns", "next", {"key": "t"}, repeat={"until": "LAST.n == `3`", "every_s": 0}),
        call("stand-in", "flaky", {"times": 99}, fallback={"value": "$ERROR.message"}),
        call("late", "hang", timeout_s=0.01),
        {"id": "read", "read": "mock:notes://$INPUT.name"},
        {"id": "prompt", "prompt": "mock:greet", "arguments": {"name": "$RUN.started_at"}},
        {
            "id": "inside",
            "for_each": [1, 2],
            "arguments": {"n": "$ITEM"},
            "workflow": {
                "inputs": {"n": {"type": "integer"}},
                "tasks": [call("deep", "double", {"n": "$INPUT.n"})],
            },
        },
    ],
    "finally": [call("last", "next", {"key": "${STATUS[late]}"})],
}


async def test_a_replay_gives_the_same_result(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    result = await recorded(path, EVERYTHING, {"name": "Ada"})
    assert result["turns"].attempts == 3
    assert result["wrapped"].output == ["Ada \u200b ½", "and more"]
    again, missed = await replayed(path, EVERYTHING, {"name": "Ada"})
    assert outcome(again) == outcome(result)
    assert not missed
    document = json.loads(path.read_text())
    assert document["run"]["inputs"] == {"name": "Ada"}
    assert "\u200b" not in path.read_text()
    answers = {
        (each["tool"], *each["arguments"].values()): each["answers"]
        for each in document["calls"]
        if "tool" in each
    }
    assert [list(each) for each in answers["mock:flaky", 2]][-1] == ["output", "wrapped"]
    assert [each["task"] for each in answers[("mock:next",)]] == ["same[0]", "same[1]", "same[2]"]


async def test_a_recording_is_the_same_but_for_the_moment(tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        tasks = [call("a", "double", for_each=[3, 1, 2], arguments={"n": "$ITEM"})]
        await recorded(tmp_path / name, {"tasks": [*tasks, call("b", "next")]})
        document = json.loads((tmp_path / name).read_text())
        del document["run"]["id"], document["run"]["started_at"]
        texts.append(json.dumps(document))
    assert texts[0] == texts[1]


async def test_a_call_that_is_not_recorded_shows_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    tasks = [call(f"t{n}", "double", {"n": n}) for n in (1, 2)]
    await recorded(path, {"tasks": tasks})
    changed = [
        call("other", "double", {"n": 3}, fallback={"value": "saved"}),
        call("again", "double", {"n": 2}),
        call("once-more", "double", {"n": 2.0}, depends_on=["again"]),
        call("none", "next"),
        {"id": "read", "read": "mock:notes://a"},
    ]
    result, missed = await replayed(path, {"tasks": changed})
    errors = {task: each.error for task, each in result.tasks.items() if each.error is not None}
    assert {each.kind for each in errors.values()} == {"not_recorded"}
    anew = f"Record it anew: orchestrator run FILE --record {path}"
    assert errors["other"].message == (
        f'{path} has no call of "mock:double" with these arguments. The nearest one has other '
        f"arguments at n: recorded 1, called with 3. {anew}"
    )
    assert errors["other"].details["differences"] == [".n"]
    assert errors["once-more"].message == (
        f'{path} has 1 answer to this call of "mock:double", and it is made once more. {anew}'
    )
    has = '(it has: "mock:double")'
    assert errors["none"].message == f'{path} has no call of "mock:next" {has}. {anew}'
    assert errors["read"].message == f'{path} has no read of "mock:notes://a". {anew}'
    assert sorted(missed) == sorted(error.message for error in errors.values())


async def test_a_run_that_ends_early_is_replayed_in_its_time(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    tasks = [
        call("quick", "wait", {"ms": 1}),
        call("after", "next", depends_on=["quick"]),
        call("ends", "wait", {"ms": 2}, depends_on=["after"], end_run="success"),
        call("hangs", "hang"),
    ]
    document = {"tasks": tasks, "schedule": "dataflow"}
    result = await recorded(path, document)
    assert {each.status for each in result.tasks.values()} == {"success", "cancelled"}
    assert '"after_s": 0.0' in path.read_text()
    again, missed = await replayed(path, document)
    assert (outcome(again), missed) == (outcome(result), [])


@pytest.mark.parametrize(
    "task",
    [
        call("a", "wait", {"ms": 5}, deadline_s=0.001),
        call("a", "flaky", {"times": 9}, for_each=[1, 2], max_parallel=1, on_item_error="stop"),
    ],
)
async def test_times_are_recorded_where_they_decide(tmp_path: Path, task: Any) -> None:
    path = tmp_path / "recording.json"
    await recorded(path, {"tasks": [task, call("b", "wait", {"ms": 1})]})
    calls = json.loads(path.read_text())["calls"]
    (answer,) = next(each["answers"] for each in calls if each["arguments"] == {"ms": 1})
    assert answer["after_s"] > 0


async def test_a_bug_of_a_caller_is_recorded_as_its_task_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call_wrongly(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    path, document = tmp_path / "recording.json", {"tasks": [call("a", "next")]}
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.servers.pool.ServerPool.call", call_wrongly)
        result = await recorded(path, document)
    again, _ = await replayed(path, document)
    assert result["a"].error is not None
    assert result["a"].error.kind == "internal"
    assert again["a"].error == result["a"].error


async def test_a_run_that_is_cancelled_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    document = {"tasks": [call("a", "double", {"n": 1}), call("b", "hang", depends_on=["a"])]}
    with anyio.CancelScope() as scope:
        async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
            async for event in orchestrator.stream(document):
                if isinstance(event, TaskStarted) and event.task == "b":
                    scope.cancel()
    answers = {each["tool"]: each["answers"] for each in json.loads(path.read_text())["calls"]}
    assert answers["mock:double"][0]["output"] == {"n": 2}
    assert answers["mock:hang"][0]["no_answer"]


async def test_secrets_are_not_in_a_recording(tmp_path: Path) -> None:
    path, secret = tmp_path / "recording.json", "s3cr3t-of-mock"
    server = Server(target=make_server(), headers={"Authorization": f"Bearer {secret}"})
    document = {"inputs": {"t": {}}, "tasks": [call("a", "say", {"text": "<$INPUT.t>"})]}
    async with Orchestrator({"mock": server}, record=path) as orchestrator:
        result = await orchestrator.run(document, {"t": secret})
    assert result["a"].output == [f"<{secret}>", "and more"]
    assert secret not in path.read_text()
    again, missed = await replayed(path, document, {"t": "***"})
    assert (again["a"].output, missed) == (["<***>", "and more"], [])


async def test_a_server_that_did_not_start_does_not_in_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    servers: dict[str, Any] = {"mock": make_server(), "gone": Server(command="no-such-program")}
    document = {"tasks": [call("a", "next"), {"id": "b", "tool": "gone:x"}]}
    async with Orchestrator(servers, record=path) as orchestrator:
        result = await orchestrator.run(document)
    assert result["b"].error is not None
    again, _ = await replayed(path, document)
    assert again["a"].output == {"n": 1}
    assert again["b"].error is not None
    assert again["b"].error.message == result["b"].error.message


async def test_the_configuration_that_decides_about_calls_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    server = Server(target=make_server(), timeout_s=0.01, deny=["say"])
    document = {"tasks": [call("a", "hang")]}
    async with Orchestrator({"mock": server}, record=path) as orchestrator:
        result = await orchestrator.run(document)
    again, _ = await replayed(path, document)
    assert outcome(again) == outcome(result)
    with pytest.raises(WorkflowError, match="does not allow"):
        await replayed(path, {"tasks": [call("a", "say", {"text": "x"})]})


async def test_a_replay_checks_the_workflow_as_servers_do(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    await recorded(path, {"tasks": [call("a", "double", {"n": 1})]})
    with pytest.raises(WorkflowError, match=r'unknown tool "mock:doubel"\. Did you mean "double"'):
        await replayed(path, {"tasks": [call("a", "doubel", {"n": 1})]})
    other = {"tasks": [{"id": "a", "tool": "other:x"}]}
    with pytest.raises(WorkflowError, match=r'unknown server "other" \(servers: mock; .* no other'):
        await replayed(path, other)
    chained = {"tasks": [call("a", "double", {"n": 1}), call("b", "double", {"n": "$OUTPUT[a].m"})]}
    async with Orchestrator.replay(path) as orchestrator:
        found = await orchestrator.findings(chained)
        assert await orchestrator.tools()
    assert [each.code for each in found if each.severity == "error"] == []
    document = json.loads(path.read_text())
    shape = {"type": "object", "properties": {"n": {}}, "additionalProperties": False}
    document["servers"]["mock"]["tools"]["double"]["outputSchema"] = shape
    async with Orchestrator.replay(document) as orchestrator:
        (problem,) = [
            each for each in await orchestrator.findings(chained) if each.severity == "error"
        ]
    assert problem.message.startswith('$OUTPUT[a] has no property "m"')


async def test_an_output_that_does_not_fit_its_tool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    await recorded(path, {"tasks": [call("a", "double", {"n": 1})]})
    path.write_text(path.read_text().replace('{"n": 2.0}', '{"n": "two"}'))
    result, _ = await replayed(path, {"tasks": [call("a", "double", {"n": 1})]})
    assert result["a"].error is not None
    assert result["a"].error.kind == "output_invalid"


async def test_a_recording_can_be_written_by_hand() -> None:
    tools = {"get": {"inputSchema": {"type": "object"}}}
    error = {"kind": "tool_error", "message": "not yet"}
    answers = [{"error": error}, {"output": None}, {"output": "x" * 3_000_000}]
    recording: dict[str, Any] = {
        "version": 1,
        "servers": {"s": {"tools": tools}},
        "calls": [{"tool": "s:get", "answers": answers, "repeat": True}],
    }
    task = {"tool": "s:get", "retry": 2}
    chain = [{"id": f"t{n}", **task, "depends_on": [f"t{n - 1}"] if n else []} for n in range(4)]
    orchestrator = Orchestrator.replay(recording)
    assert (await _run(orchestrator, chain)) == [None, *["x" * 3_000_000] * 3]
    with pytest.raises(WorkflowError, match="expected exactly one of"):
        Orchestrator.replay(
            {**recording, "calls": [{"tool": "s:get", "answers": [{"no_answer": False}]}]}
        )


async def _run(orchestrator: Orchestrator, tasks: list[Any]) -> list[Any]:
    async with orchestrator:
        result = await orchestrator.run({"tasks": tasks})
    assert result["t0"].attempts == 2
    return [each.output for each in result.tasks.values()]


async def test_each_number_has_one_form_and_big_ones_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    big = 12345678901234567890123
    document = {"tasks": [call("a", "say", {"text": "x"}), call("b", "double", {"n": big})]}
    await recorded(path, document)
    assert str(big) in path.read_text()
    again, missed = await replayed(path, document)
    assert (again.status, missed) == ("success", [])


async def test_an_idempotency_key_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    settings = {"say": {"idempotency_argument": "text"}}
    server = Server.model_validate({"target": make_server(), "tools": settings})
    async with Orchestrator({"mock": server}, record=path) as orchestrator:
        result = await orchestrator.run({"tasks": [call("a", "say")]})
    document = json.loads(path.read_text())
    assert document["calls"][0]["arguments"] == {}
    del document["run"]
    again, missed = await replayed(document, {"tasks": [call("renamed", "say")]})
    assert (again["renamed"].output, missed) == (result["a"].output, [])


async def test_what_is_no_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    document = {"tasks": [call("a", "next")]}
    for text in (json.dumps(document), "[1]", "{"):
        path.write_text(text)
        with pytest.raises(WorkflowError, match="there is a file that is no recording"):
            await recorded(path, document)
        assert path.read_text() == text
    path.write_text('{"version": 1, "servers": {}, "calls": []}')
    await recorded(path, document)
    assert "mock:next" in path.read_text()


async def test_nothing_is_written_where_nothing_was_called(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    with pytest.raises(WorkflowError, match="unknown tool"):
        await recorded(path, {"tasks": [call("a", "nope")]})
    assert not path.exists()
    with pytest.raises(WorkflowError, match="cannot be written: Is a directory"):
        await recorded(tmp_path, {"tasks": [call("a", "next")]})


async def test_a_recording_that_cannot_be_written_costs_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "below" / "recording.json"
    path.parent.mkdir()
    async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
        async with orchestrator.begin({"tasks": [call("a", "next")]}) as run:
            path.parent.rmdir()
            result = await run.execute()
        assert run.not_kept == f"the recording {path} cannot be written: No such file or directory"
        assert result.status == "success"
        assert run.not_kept in caplog.text
        path.parent.mkdir()  # it is tried again when the servers are closed
    assert json.loads(path.read_text())["run"]["id"] == result.run_id


async def test_runs_at_the_same_time_are_recorded_together(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    documents = [{"tasks": [call("a", "double", {"n": n})]} for n in range(5)]
    async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
        async with anyio.create_task_group() as group:
            for document in documents:
                group.start_soon(orchestrator.run, document)
        assert len(json.loads(path.read_text())["calls"]) == 5


async def test_a_call_is_recorded_as_it_was_fitted_to_its_tool(tmp_path: Path) -> None:
    def fit(call: Call) -> Call:
        return call._replace(arguments={"n": 2})

    path = tmp_path / "recording.json"
    async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
        await orchestrator.tools()
        attempt = Attempt(fit=fit)
        await orchestrator._pool.call(Call("t", "mock", "double", {"n": "2"}), attempt)
        assert attempt.fit is fit
    assert json.loads(path.read_text())["calls"][0]["arguments"] == {"n": 2}


async def test_single_calls_are_recorded_too(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    async with Orchestrator({"mock": make_server()}, record=path) as orchestrator:
        assert await orchestrator.call("mock:double", {"n": 4}) == {"n": 8.0}
    async with Orchestrator.replay(path) as orchestrator:
        assert await orchestrator.call("mock:double", {"n": 4}) == {"n": 8.0}
        assert (await orchestrator.states())[0].protocol == "recorded"
        with pytest.raises(CallError, match="the recording has no list of resources"):
            await orchestrator.offered("mock", "resources")
        run = await orchestrator.prepare(Workflow.load({"tasks": [call("a", "next")]}))
        assert run.run_id == "run"
