"""`orchestrator schedule` and `schedules`."""

from __future__ import annotations

import json
import sys

import pytest

from orchestrator.cli import main
from orchestrator.journal.location import Address
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
    assert "; it was 0 3 * * * (UTC) of report" in capsys.readouterr().err
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
    monkeypatch.setitem(sys.modules, "orchestrator.cluster.cron", None)
    assert main(["schedule", flow, "--cron", "@daily"]) == 2
    assert "a schedule needs more packages" in capsys.readouterr().err
    monkeypatch.undo()
    url = ["--journal", database.url]
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
