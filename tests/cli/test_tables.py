"""Tables for people: what is shown, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.calls.causes import Cause
from orchestrator.cli import rows, tables
from orchestrator.documents.text import duration
from orchestrator.engine.run import Run
from orchestrator.errors import CallError
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from tests.fakes import ScriptedCaller, failing, workflow


async def shown(
    capsys: pytest.CaptureFixture[str], caller: ScriptedCaller, *tasks: str, output: object = None
) -> str:
    plan = workflow(*tasks, output=output)
    tables.print_result(await Run(plan, caller).execute(), plan)
    return capsys.readouterr().err


@pytest.mark.anyio
async def test_unsuccessful_tasks_are_shown_first_if_there_are_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = [f"t{number}" for number in range(100)]
    caller = ScriptedCaller({"t99": [(0, failing("the last one"))]})
    text = await shown(capsys, caller, *tasks)
    assert "the last one" in text
    assert "and 40 more tasks (--json and --output FILE have all)" in text


@pytest.mark.anyio
async def test_a_recovered_task_is_shown_with_its_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = workflow({"id": "a", "tool": "fake:a", "fallback": {"value": 1}})
    caller = ScriptedCaller({"a": [(0, failing("broken"))]})
    tables.print_result(await Run(plan, caller).execute(), plan)
    err = capsys.readouterr().err
    assert "recovered" in err
    assert "tool_error: broken" in err


@pytest.mark.anyio
async def test_a_long_reason_is_cut_and_markup_in_it_is_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    caller = ScriptedCaller({"a": [(0, CallError("internal", "[bold]x[/bold]" + "y" * 1000))]})
    text = await shown(capsys, caller, "a")
    assert "[bold]x[/bold]" in text
    assert "..." in text
    assert "y" * 301 not in text.replace("\n", "").replace(" ", "")


@pytest.mark.anyio
async def test_reasons_are_below_the_table_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "NO_TERMINAL", 80)
    caller = ScriptedCaller({"a": [(0, failing("because"))]})
    text = await shown(capsys, caller, "a", "b: a", "c")
    assert "\na: tool_error: because\n" in text
    assert '\nb: its dependency "a" failed\n' in text
    assert " reason" not in text
    assert " tool " in text
    monkeypatch.setattr(rows, "NO_TERMINAL", 60)
    assert " tool " not in await shown(capsys, caller, "a", "b: a", "c")


@pytest.mark.anyio
async def test_a_workflow_output_that_fails_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = await shown(capsys, ScriptedCaller(), "a", output="$OUTPUT[a].nothing")
    assert "reference_error: the workflow's output cannot be resolved" in text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(1.25, "1.2 ms"), (12.5, "12 ms"), (1234.5, "1.23 s")]
)
def test_durations_are_short(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


def test_the_signature_of_a_tool_says_what_is_optional() -> None:
    schema = {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "default": 3},
            "what": {"type": ["string", "null"]},
            "any": True,
        },
        "required": ["city"],
    }
    tool = Tool("weather", "forecast", schema)
    assert signature(tool) == "city: string, days: integer = 3, what?: string | null, any?: any"


HOSTILE = "\x1b[31mRED\x1b]0;pwned\x07 \u202eesrever"
HARMLESS = "\\u001b[31mRED\\u001b]0;pwned\\u0007 \\u202eesrever"


def test_control_characters_in_tool_descriptions_are_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.print_tools([Tool("s", "t", {}, "", HOSTILE), Tool("s", "\x1b[2J", {})])
    out = capsys.readouterr().out
    assert HARMLESS in out
    assert "s:\\u001b[2J" in out
    assert "\x1b" not in out


@pytest.mark.anyio
async def test_control_characters_in_error_messages_are_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = workflow("a", on_error="fail_fast")
    caller = ScriptedCaller({"a": [(0, CallError("tool_error", HOSTILE + "\nmore"))]})
    tables.print_result(await Run(plan, caller).execute(), plan)
    err = capsys.readouterr().err
    assert f"tool_error: {HARMLESS}" in err
    assert "more" in err
    assert "\x1b" not in err
    assert "\\u000a" not in err


@pytest.mark.anyio
async def test_a_speedup_is_shown_only_if_more_than_one_task_made_a_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "speedup" in await shown(capsys, ScriptedCaller(), "a", "b")
    assert "speedup" not in await shown(capsys, ScriptedCaller(), "a")
    caller = ScriptedCaller({"a": [(0, failing())]})
    assert "speedup" not in await shown(capsys, caller, "a", "b: a")


@pytest.mark.anyio
@pytest.mark.parametrize(("duration_ms", "is_noted"), [(165.0, True), (2000.0, False)])
async def test_a_wait_beyond_the_time_of_the_run_is_explained(
    capsys: pytest.CaptureFixture[str], duration_ms: float, is_noted: bool
) -> None:
    plan = workflow("a")
    result = await Run(plan, ScriptedCaller()).execute()
    waited = {"a": replace(result.tasks["a"], waited_ms=922.0)}
    tables.print_result(replace(result, duration_ms=duration_ms, tasks=waited), plan)
    line = capsys.readouterr().err.partition("longest wait for ")[2]
    assert line.startswith("a server, slot, rate or lock: 922 ms")
    assert ("(starting servers is not part of the run's time)" in line) == is_noted


@pytest.mark.anyio
async def test_the_longest_wait_is_named_with_its_cause_and_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = workflow("a", "b")
    result = await Run(plan, ScriptedCaller()).execute()
    waits = (Cause("lock", "x\x1b[2J"), 0.0, 40.0), (Cause("server_start", "s"), 0.0, 90.0)
    waited = {**result.tasks, "b": replace(result.tasks["b"], waits=waits)}
    tables.print_result(replace(result, duration_ms=500.0, tasks=waited), plan)
    assert 'longest wait for server "s" (b): 90 ms' in capsys.readouterr().err
    waited["b"] = replace(waited["b"], waits=waits[:1])
    tables.print_result(replace(result, duration_ms=500.0, tasks=waited), plan)
    assert 'longest wait for lock "x\\u001b[2J" (b): 40 ms' in capsys.readouterr().err


@pytest.mark.anyio
async def test_the_time_of_the_command_and_of_its_servers_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = workflow("a")
    result = await Run(plan, ScriptedCaller()).execute()
    started = replace(result, wall_ms=7300.0, startup_ms={"fast": 350.0, "slow": 6900.0})
    tables.print_result(started, plan)
    said = "7.30 s in all; slow took 6.90 s to start, fast 350 ms"
    assert said in capsys.readouterr().err


@pytest.mark.anyio
async def test_a_server_that_never_started_gives_no_attempt_and_no_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = CallError("server_unavailable", "did not start", failures=1, retry_after_s=10.0)
    text = await shown(capsys, ScriptedCaller({"a": [(0, refusal)]}), "a")
    row = next(line for line in text.splitlines() if line.strip().startswith("a "))
    assert "ms" not in row.partition("server_unavailable")[0]


@pytest.mark.anyio
async def test_tasks_with_the_same_reason_share_a_line_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "NO_TERMINAL", 80)
    plan = workflow(*(f"t{number}" for number in range(20)))
    run = Run(plan, ScriptedCaller())
    run.cancel("interrupted by SIGINT")
    tables.print_result(await run.execute(), plan)
    lines = [line for line in capsys.readouterr().err.splitlines() if "interrupted" in line]
    assert lines[0].startswith("t0, t1, t2, t3, t4, t5, t6, t7 and 12 more: ")
    assert len(lines) == 2  # and the reason of the run


@pytest.mark.anyio
@pytest.mark.parametrize("width", [80, 160])
async def test_what_an_interrupt_cancelled_is_one_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(rows, "NO_TERMINAL", width)
    plan = workflow(*(f"t{number}" for number in range(23)))
    run = Run(plan, ScriptedCaller())
    run.cancel("interrupted by SIGINT")
    tables.print_result(await run.execute(), plan)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(" t")]
    assert [line.split()[:5] for line in lines[1:]] == [["t0", "and", "22", "more", "cancelled"]]


@pytest.mark.anyio
async def test_a_long_id_takes_one_line_and_the_room_of_the_tools(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "NO_TERMINAL", 80)
    text = await shown(capsys, ScriptedCaller(), "fetch-" * 12)
    row = next(line for line in text.splitlines() if "fetch-" in line)
    assert "…" in row
    assert "success" in row
    assert " tool " not in text


@pytest.mark.anyio
async def test_a_cancelled_run_has_no_speedup(capsys: pytest.CaptureFixture[str]) -> None:
    plan = workflow("a", "b")
    run = Run(plan, ScriptedCaller())
    run.cancel()
    result = await run.execute()
    assert result.speedup is None
    assert result.to_dict()["speedup"] is None
    tables.print_result(result, plan)
    assert "speedup" not in capsys.readouterr().err


@pytest.mark.anyio
async def test_long_names_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(await shown(capsys, ScriptedCaller(), "n" * 100_000)) < 5_000
