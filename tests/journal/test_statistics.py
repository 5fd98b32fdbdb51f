"""What calls took in earlier runs is found in the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import JournalError
from orchestrator.journal.location import Location
from orchestrator.journal.statistics import RUNS, estimates, expected, known_estimates
from orchestrator.workflow.model import Workflow
from tests.journal.conftest import Put

Keep = Callable[..., None]
FLOW = {"name": "flow", "tasks": [{"id": "a", "tool": "s:t"}, {"id": "b", "tool": "s:u"}]}


@pytest.fixture
def keep(put: Put) -> Keep:
    """Keep a run in which each task, or item of a list, ended as its document says."""

    def kept(flow: dict[str, Any] = FLOW, **ended: Any) -> None:
        records = {}
        for task, documents in ended.items():
            is_list = isinstance(documents, list)
            for item, document in enumerate(documents if is_list else []):
                records[f"{task}#{item}"] = _said(document)
            records[task] = _said({"has_items": True} if is_list else documents)
        put(flow, records)

    return kept


def _said(document: Any) -> dict[str, Any]:
    more = document if isinstance(document, dict) else {"duration_ms": document}
    return {"duration_ms": 99_000.0, **more}


def of(journal: Location, flow: dict[str, Any] = FLOW) -> dict[str, float]:
    return estimates(journal, Workflow.load(flow))


def test_the_first_times_count_alike_and_then_the_newest_for_a_quarter(
    journal: Location, keep: Keep
) -> None:
    for took_ms in (1000, 3000, 2000, 2000):
        keep(a=took_ms)
    assert of(journal)["a"] == pytest.approx(2.0)
    keep(a=6000)
    assert of(journal)["a"] == pytest.approx(3.0)


def test_only_what_succeeded_at_its_first_attempt_counts(journal: Location, keep: Keep) -> None:
    keep(a={"status": "error"}, b={"attempts": 2})
    keep(a={"status": "cancelled"}, b={"recovered": True})
    keep(**{"a/inside": 5})
    assert of(journal) == {}


def test_a_task_over_items_takes_the_mean_of_those_that_succeeded(
    journal: Location, keep: Keep
) -> None:
    keep(a=[1000, {"status": "error"}, 3000])
    assert of(journal) == {"a": 2.0}


def test_a_task_that_was_never_measured_takes_what_its_tool_took(
    journal: Location, keep: Keep
) -> None:
    keep({"name": "other", "tasks": [{"id": "x", "tool": "s:u"}, {"id": "y", "value": 1}]}, x=4000)
    keep(a=1000)
    assert of(journal) == {"a": 1.0, "b": 4.0}


def test_a_task_of_the_same_name_that_calls_another_tool_is_another_task(
    journal: Location, keep: Keep
) -> None:
    keep({"name": "flow", "tasks": [{"id": "a", "tool": "s:old"}]}, a=1000)
    assert of(journal) == {}


def test_the_latest_runs_count_those_of_the_workflow_first(journal: Location, keep: Keep) -> None:
    keep(a=8000)
    for _ in range(RUNS):
        keep({"name": "other", "tasks": [{"id": "x", "tool": "s:u"}]}, x=4000)
    assert of(journal)["a"] == 8.0
    for _ in range(RUNS):
        keep(a=1000)
    assert of(journal) == {"a": 1.0}


def test_what_people_are_told_is_the_median_and_in_how_many_runs_it_was_measured(
    journal: Location, keep: Keep
) -> None:
    for took_ms in (1000, 9000, 2000):
        keep(a=took_ms)
    keep({"name": "other", "tasks": [{"id": "x", "tool": "s:u"}]}, x=4000)
    assert expected(journal, Workflow.load(FLOW)) == ({"a": 2.0, "b": 4.0}, 3, {})
    later = Workflow.load({"name": "later", "tasks": FLOW["tasks"]})
    assert expected(journal, later).runs == 0


LOOPS = {
    "name": "loops",
    "tasks": [
        {"id": "list", "tool": "s:list"},
        {"id": "each", "tool": "s:t", "for_each": "$OUTPUT[list].of"},
        {"id": "poll", "tool": "s:p", "repeat": {"until": "$LAST.done", "max_times": 90}},
    ],
}


def test_loops_have_as_many_items_and_take_as_long_as_they_did(
    journal: Location, keep: Keep
) -> None:
    turns = {"attempts": 9}
    keep(LOOPS, each=[1000] * 3, poll={"duration_ms": 8000, **turns})
    keep(LOOPS, each=[1000] * 30, poll={"duration_ms": 2000, "attempts": 1})
    keep(LOOPS, each=[3000, {"status": "error"}] * 5, poll={"duration_ms": 4000, **turns})
    found = expected(journal, Workflow.load(LOOPS))
    assert found.seconds == {"each": 1.0, "poll": 4.0}
    assert found.calls == {"each": 10, "poll": 1}
    other = Workflow.load({"name": "other", "tasks": LOOPS["tasks"]})
    assert expected(journal, other).calls == {}


def test_without_a_journal_nothing_is_known(tmp_path: Path) -> None:
    journal = tmp_path / "none.db"
    assert expected(journal, Workflow.load(FLOW)) == ({}, 0, {})
    assert known_estimates(journal, Workflow.load(FLOW)) == {}
    with pytest.raises(JournalError):
        of(journal)
