"""`orchestrator plan` and `orchestrator run --dry-run`, with a real server."""

from __future__ import annotations

import json
import re
import sqlite3
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.expected import timing_of
from orchestrator.cli.tables import DRY_RUN, MAX_PLAN_ROWS, print_plan, print_result
from orchestrator.engine.made_up import MadeUp
from orchestrator.report.forecast import forecast
from orchestrator.workflow.model import Workflow
from tests.cli.conftest import ROOT
from tests.conftest import Write
from tests.fakes import workflow

SETTINGS = 'rate = "1/min"'  # of the server `faulty`: waiting for it would take minutes


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No times but those of the test."""
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", str(tmp_path / "own.db"))


def append(name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"id": name, "tool": "faulty:append", "arguments": {"value": value}, **more}


def test_plan_shows_effects_calls_and_the_critical_path(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = {"xs": {"type": "array", "default": [1]}}
    tasks = [{"id": "a", "tool": "faulty:echo", "arguments": {"value": 1}}]
    tasks.append(append("b", "$ITEM", for_each="$INPUT.xs", depends_on=["a"]))
    path = write(*tasks, inputs=inputs)
    assert main(["plan", path, "--servers", servers, "--input", "xs=[1,2,3]"]) == 0
    out, err = capsys.readouterr()
    assert "starting servers" not in err  # stderr is no terminal
    row = next(line for line in out.splitlines() if "faulty:append" in line)
    assert row.split() == ["1", "*", "b", "faulty:append", "3", "destructive?", "a"]
    assert "critical path (*): a > b" in out
    assert "possibly destructive: b (faulty:append)" in out
    assert "faulty: 1/min" in out
    assert main(["plan", path, "--servers", servers, "--input", "xs=1"]) == 2
    capsys.readouterr()
    assert main(["plan", path, "--servers", servers, "--input", "ys=1"]) == 2
    assert "inputs: xs" in capsys.readouterr().err
    assert main(["plan", path, "--servers", servers, "--input", "ys=1", "--json"]) == 2


@pytest.mark.parametrize(("columns", "has_dependencies"), [(80, True), (60, False)])
def test_a_plan_fits_a_narrow_terminal_and_names_stay_in_one_piece(
    columns: int,
    has_dependencies: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    plan = Workflow.load(ROOT / "examples" / "city_brief.json")
    print_plan(forecast(plan))
    out = capsys.readouterr().out
    assert all(task in out for task in plan.plan.tasks)
    assert ("depends on" in out) is has_dependencies
    if has_dependencies:
        assert all(target in out for target in plan.plan.targets)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.splitlines()]
    assert max(map(len, lines)) <= columns


def test_plan_takes_the_times_of_earlier_runs(
    write: Write, servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, journal = write(append("a", 1)), str(tmp_path / "runs.db")
    more = ["--servers", servers, "--journal", journal]
    plan = ["plan", path, *more, "--offline", "--json"]
    assert main(plan) == 0
    assert json.loads(capsys.readouterr().out)["expected"] is None
    assert main(["run", path, *more, "-q"]) == 0
    with sqlite3.connect(journal) as db:
        set_it = "json_set(payload, '$.duration_ms', 2500.0)"
        db.execute(f"update record set payload={set_it} where kind='task'")
    capsys.readouterr()
    assert main(plan) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["expected"] == {
        "generations_s": 2.5,
        "dataflow_s": 2.5,
        "measured_tasks": 1,
        "runs": 1,
    }
    assert document["tools"]["faulty:append"]["known"] is False
    assert main(plan[:-1]) == 0
    said = "expected time: 2.50 s (dataflow: 2.50 s), critical path 2.50 s (P50 of 1 run)"
    assert said in capsys.readouterr().out
    options = Namespace(journal=journal, servers=Path(servers), env_file=[], max_concurrency=3)
    flow = Workflow.load(path)
    timing = timing_of(options, flow, {})
    assert timing is not None
    assert timing.run_s("dataflow") == 2.5
    assert timing_of(Namespace(journal=journal, servers=Path(servers), env_file=[]), flow, {})
    other = Workflow.load(write({"id": "x", "tool": "faulty:echo"}, name="other"))
    assert timing_of(options, other, {}) is None
    Path(servers).write_text("[servers.faulty]\nno_such_field = 1")
    assert timing_of(options, flow, {}) is None


def test_plan_draws_a_picture(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(append("a", 1), {"id": "b", "tool": "gone:t"})
    assert main(["plan", path, "--servers", servers, "--svg"]) == 0
    out, err = capsys.readouterr()
    assert ElementTree.fromstring(out).tag == "{http://www.w3.org/2000/svg}svg"
    assert "possibly destructive" in out
    assert "unknown tool" in out
    assert "no-such-program" in err


def test_plan_shows_on_a_terminal_that_servers_are_starting(
    write: Write,
    servers: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["plan", write(append("a", 1)), "--servers", servers, "--dot"]) == 0
    assert "starting servers to list their tools" in capsys.readouterr().err


def test_a_broken_servers_file_does_not_matter_offline_unless_it_is_named(
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "servers.toml").write_text("[servers.x]\n")
    path = write(append("a", 1))
    assert main(["plan", path, "--offline"]) == 0
    assert "servers: faulty" in capsys.readouterr().out
    assert main(["plan", path, "--offline", "--servers", "servers.toml"]) == 2


def test_only_the_first_tasks_of_each_generation_are_shown_if_there_are_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"t{number}" for number in range(500)]
    print_plan(forecast(workflow(*names, f"last: {' '.join(names)}")))
    out = capsys.readouterr().out
    assert "and 400 more (--json has all)" in out
    assert " last " in out
    assert "t0, t1, t2, t3, t4, t5, t6, t7 and 492 more" in out
    chain = [f"t{number}: {f't{number - 1}' if number else ''}" for number in range(300)]
    print_plan(forecast(workflow(*chain)))
    assert "and 100 more generations (--json has all)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ([3, 4], [3, 4]),
        ([500, 1], [100, 1]),
        ([300, 300], [100, 100]),
        ([10, 300, 400], [10, 66, 66]),
        ([2] * 300, [1] * MAX_PLAN_ROWS),
    ],
)
def test_rows_are_shared_out_among_the_generations(
    sizes: list[int], shares: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [
        f"g{number}-{index}:{f' g{number - 1}-0' if number else ''}"
        for number, size in enumerate(sizes)
        for index in range(size)
    ]
    print_plan(forecast(workflow(*tasks)))
    rows = re.findall(r"(?m)^[\d *]+g(\d+)-\d+ ", capsys.readouterr().out)
    assert [rows.count(str(number)) for number in range(len(shares))] == shares
    assert len(rows) == sum(shares)


def test_a_dry_run_calls_no_tool_and_reports_it(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [append("a", 1), append("b", "$OUTPUT[a].entries[0]"), append("c", 2, when=False)]
    path = write(*tasks, output={"a": "$OUTPUT[b]"})
    run = ["run", path, "--servers", servers, "--dry-run"]  # at "1/min", which would take minutes
    assert main([*run, "--statistics"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": None}
    assert "warning[never_runs]" in err
    assert f"\n{DRY_RUN}" in err
    assert "success: 2 of 3 tasks succeeded (generations); 1 skipped" in err
    assert "assumed output of a, b: faulty:append declares no outputSchema, so it is null" in err
    assert "speedup" not in err
    assert main([*run, "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"] is True
    assert document["tasks"]["a"]["output"] is None


def test_a_dry_run_ends_like_a_run(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--servers", servers, "--dry-run"]
    assert main(["run", write(append("a", 1), {"id": "b", "tool": "gone:t"}), *run]) == 1
    assert "server_unavailable" in capsys.readouterr().err
    assert main(["run", write({"id": "a", "tool": "faulty:ecko"}), *run]) == 2
    assert 'Did you mean "echo"?' in capsys.readouterr().err


@pytest.mark.anyio
async def test_only_the_first_of_many_assumed_outputs_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dataclasses import replace

    from orchestrator.engine.run import Run
    from tests.fakes import ScriptedCaller

    plan = workflow(*[f"t{number}" for number in range(30)])
    result = await Run(plan, ScriptedCaller()).execute()
    notes = {f"t{number}": MadeUp("assumed", f"note {number % 15}") for number in range(20)}
    notes |= {f"t{number}": MadeUp("assumed", "note 0") for number in range(20, 30)}
    print_result(replace(result, made_up=notes), plan)
    err = capsys.readouterr().err
    assert "assumed output of t0, t15, t20, t21, t22, t23, t24, t25 and 4 more: note 0" in err
    assert "and 7 more (--json has all)" in err


def test_plan_writes_to_a_file_and_takes_another_schedule(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = write({"id": "a", "value": 1}), tmp_path / "plan.svg"
    plan = ["plan", path, "--offline", "--schedule", "dataflow"]
    assert main([*plan, "--svg", "-o", str(picture)]) == 0
    assert capsys.readouterr().out == ""
    assert picture.read_text().startswith("<svg ")
    assert main([*plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schedule"] == "dataflow"
    assert main(plan) == 0
    assert "schedule: dataflow, so a task starts" in capsys.readouterr().out
    assert main([*plan, "--output", str(tmp_path / "none" / "plan.txt")]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err


def test_plan_shows_what_the_file_says_about_a_task(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        {"id": "a", "value": 1, "description": "what [red]it\x1b is for"}, {"id": "b", "value": 2}
    )
    assert main(["plan", path, "--servers", servers, "--offline"]) == 0
    out = capsys.readouterr().out
    assert "what [red]it" in out
    assert "\x1b" not in out
    assert main(["plan", path, "--servers", servers, "--offline", "--svg"]) == 0
    assert "what [red]it" in capsys.readouterr().out
    assert main(["plan", path, "--servers", servers, "--offline", "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert [tasks[name]["description"] for name in "ab"] == ["what [red]it\x1b is for", ""]


def test_plan_shows_what_the_operator_says_about_a_workflow(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = {"id": "o", "workflow": {"tasks": [append("a", 1)]}}
    plan = ["plan", write(inner, name="brief"), "--servers", servers, "--offline"]
    assert main([*plan, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["operator_budget"], document["trusted"]) == (None, [])
    path = Path(servers)
    text = path.read_text().replace("[servers.gone]", '[servers.gone]\ntrust = "untrusted"')
    for task in ("o/a", "o/gone"):
        text += f'[[trusted]]\nworkflow = "brief"\ntask = "{task}"\nbecause = "tested\\u001b"\n'
    path.write_text(f"{text}[budget]\ncalls = 5\nminutes = 0.5\n")
    assert main([*plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] == []  # none of its servers is untrusted
    path.write_text(
        path.read_text()
        .replace("untrusted", "trusted")
        .replace("[servers.faulty]", '[servers.faulty]\ntrust = "untrusted"')
    )
    assert main([*plan, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["operator_budget"] == {"calls": 5, "minutes": 0.5}
    assert document["trusted"] == [{"task": "o/a", "because": "tested\x1b"}]
    assert "trusted" not in document["tasks"]["o"]["inner"]
    assert main([*plan, "--unfold"]) == 0
    out = capsys.readouterr().out
    assert out.count("operator's budget of a run: 5 calls, 30 s; once more for all finally") == 1
    assert out.count("operator answers for o/a: tested") == 1
    assert "\x1b" not in out
