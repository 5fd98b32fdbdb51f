"""`orchestrator schedule` and `schedules`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import JournalError, Orchestrator, Order, Schedule
from orchestrator.cli import main
from orchestrator.journal import schedules
from orchestrator.journal.location import Address
from orchestrator.journal.store import LostError
from tests.conftest import Write
from tests.journals import ask


def test_a_schedule_is_made_changed_listed_and_removed(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    flow = write({"id": "v", "value": 1}, name="report")
    assert main(["schedule", flow, "--cron", "0 3 * * *", "--max-runs", "1", "--needs", "x"]) == 0
    assert 'schedule "report", 0 3 * * * (UTC): the next run is at 20' in capsys.readouterr().err
    changed = ["--cron", "@daily", "--zone", "Europe/Berlin", "--name", "report", "--catch-up"]
    assert main(["schedule", flow, *changed]) == 0
    err = capsys.readouterr().err
    assert '; it was there already, with cron "0 3 * * *", zone "UTC", max-runs 1, needs x' in err
    assert "no catch-up" in err
    assert main(["schedule", flow, *changed]) == 0
    assert "; it was there already, with all of this" in capsys.readouterr().err
    ask(database, "update schedule set missed=2")
    assert main(["schedules"]) == 0
    out, err = capsys.readouterr()
    assert "Europe/Berlin" in out
    assert 'schedule "report": 2 of its times passed while no worker was connected' in err
    assert main(["schedules", "--json"]) == 0
    (known,) = json.loads(capsys.readouterr().out)
    assert (known["cron"], known["catch_up"], known["missed"]) == ("@daily", True, 2)
    assert "labels" not in known
    assert main(["schedules", "--remove", "report"]) == 0
    assert main(["schedules", "--remove", "report"]) == 2
    assert 'unknown schedule "report"; there are none' in capsys.readouterr().err


def test_what_is_wrong_makes_no_schedule(
    write: Write, capsys: pytest.CaptureFixture[str], database: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flow = write({"id": "v", "value": 1})
    monkeypatch.setitem(sys.modules, "orchestrator.journal.cron", None)
    url = ["--journal", database.url]
    assert main(["schedule", flow, "--cron", "@daily", *url]) == 2
    assert "a schedule needs more packages" in capsys.readouterr().err
    monkeypatch.undo()
    for name in ("x" * 101, "new\nline\x1b[31m", "\u200b", " report"):
        assert main(["schedule", flow, "--cron", "@daily", "--name", name, *url]) == 2
        err = capsys.readouterr().err
        assert "expected a name of 1 to 100 visible characters for the schedule, got" in err
        assert "\x1b" not in err
    with pytest.raises(SystemExit):
        main(["schedule", flow, "--cron", "@daily", "--name", "", *url])
    assert "expected a name, got an empty text: is a variable of your sh" in capsys.readouterr().err
    assert main(["schedule", flow, "--cron", "0 3 * *", *url]) == 2
    assert "expected 5 fields" in capsys.readouterr().err
    assert main(["schedule", flow, "--cron", "@daily", "--priority", "5000", *url]) == 2
    assert "expected a priority from -1000 to 1000, got 5000" in capsys.readouterr().err
    assert main(["schedules", "--journal", "runs.db"]) == 2
    assert "schedules are in a journal in PostgreSQL" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["schedule", flow, *url])
    assert "--cron" in capsys.readouterr().err
    assert ask(database, "select 1 from schedule") == []


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_schedule_that_is_made_in_python_is_checked_as_that_of_the_command_line(
    database: Address, tmp_path: Path
) -> None:
    flow = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
    when = Schedule("s", cron="@daily", order=Order(priority=7))
    async with Orchestrator({}, journal=database) as engine:
        made = await engine.schedule(when, flow)
        assert (made.is_new, made.schedule.workflow) == (True, "w")
        assert made.schedule.next > 0
        wrong: list[tuple[str, Any, str]] = [
            ("cron", "5-1 * * * *", '"5-1" is reversed'),
            ("cron", 5, "expected cron to be a string, got integer 5"),
            ("zone", "Mars", 'unknown time zone "Mars"'),
            ("name", "", "expected a name of 1 to 100 visible characters"),
            ("catch_up", "no", "expected catch_up to be true or false, got string"),
            ("order", None, "expected order to be an Order, got null"),
            ("order", Order(priority=True), "expected priority to be an integer"),
            ("order", Order(max_runs=0), "expected max_runs from 1 to"),
            ("order", Order(key="k"), "give its order no key and no due"),
            ("order", Order(due=1.0), "give its order no key and no due"),
        ]
        for field, value, why in wrong:
            with pytest.raises(JournalError, match=why):
                await engine.schedule(replace(when, **{field: value}), flow)
        changed = await engine.schedule(replace(when, order=Order()), flow, max_concurrency=3)
        assert changed.was == ("priority 7", "max-concurrency none")
    async with Orchestrator({}, journal=tmp_path / "runs.db") as engine:
        with pytest.raises(JournalError, match="a schedule needs a journal in PostgreSQL"):
            await engine.schedule(when, flow)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("text", ["{", "{}", '{"workflow": {"tasks": []}, "inputs": {}}'])
async def test_a_schedule_that_cannot_be_read_is_to_be_removed_first(
    database: Address, text: str
) -> None:
    flow = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
    when = Schedule("s", cron="@daily")
    async with Orchestrator({}, journal=database) as engine:
        await engine.schedule(when, flow)
        ask(database, f"update schedule set request='{text}'")
        why = (
            r'^schedule "s" cannot be read \(.+\): "orchestrator schedules --remove s" removes it$'
        )
        with pytest.raises(JournalError, match=why):
            await engine.schedule(when, flow)
    assert ask(database, "select request from schedule") == [(text,)]


def test_a_schedule_that_cannot_be_read_hides_no_other(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    flow = write({"id": "v", "value": 1})
    for name in ("bad", "good"):
        assert main(["schedule", flow, "--cron", "@hourly", "--name", name]) == 0
    ask(database, "update schedule set request='{' where name='bad'")
    capsys.readouterr()
    for words in ([], ["--json"]):
        assert main(["schedules", *words]) == 2
        out, err = capsys.readouterr()
        assert ("good" in out, "bad" in out) == (True, False)
        assert 'schedule "bad" cannot be read' in err
        assert '"orchestrator schedules --remove bad" removes it' in err


def test_a_connection_that_is_lost_is_no_fault_of_a_schedule() -> None:
    class Lost:
        def execute(self, *_: Any) -> Any:
            raise LostError("the connection is lost")

    lost: Any = Lost()
    with pytest.raises(LostError, match=r"^the connection is lost$"):
        schedules.put(lost, Schedule("s"), "{}")


def test_the_list_of_schedules_has_what_is_set_in_80_columns(
    database: Address, write: Write, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    monkeypatch.setattr("orchestrator.cli.rows.NO_TERMINAL", 80)
    flow = write({"id": "v", "value": "$INPUT.city"}, name="report", inputs={"city": {}})
    wants = ["--max-runs", "1", "--needs", "gpu", "--needs", "big", "--priority", "-3"]
    more = ["--zone", "Europe/Berlin", "--catch-up", "--name", "nightly", f"city={'Oslo' * 9}"]
    assert main(["schedule", flow, "--cron", "0 3 * * *", *wants, *more]) == 0
    assert main(["schedule", flow, "--cron", "@hourly", "city=Rome"]) == 0
    run = "0123456789abcdef" * 2
    ask(database, f"update schedule set zone='Mars', run='{run}', missed=3 where name='report'")
    capsys.readouterr()
    assert main(["schedules"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:5])) <= 80
    assert "0123456789abcdef" in out
    assert run not in out
    of_zone = "nightly: workflow report, Europe/Berlin, priority -3, max-runs 1, needs big, gpu"
    assert f'{of_zone}, catch-up, city="OsloOsloOsloOslo...\nreport: Mars, city="Rome"\n' in out
