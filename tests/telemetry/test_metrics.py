"""What is counted and measured of runs, and under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from orchestrator import Orchestrator
from orchestrator.engine.events import ServerStarting
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.supervisor import Supervisor
from orchestrator.telemetry import names
from orchestrator.telemetry.metrics import MAX_NAMES, Names
from orchestrator.telemetry.telemetry import Telemetry
from tests.daemon.pools import faulty, table
from tests.fakes import ScriptedCaller, failing, workflow
from tests.telemetry.seen import Seen
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio

SCRIPT: dict[str, Any] = {
    "slow": [(2.0, {})],
    "again": [(0.0, failing()), (1.0, {})],
    "no": [(0.0, failing())],
    "ended": [(60.0, {})],
}
TASKS: list[Any] = [
    {"id": "slow", "tool": "fake:slow", "for_each": [1, 2], "max_parallel": 1},
    {"id": "again", "tool": "fake:again", "retry": {"max_attempts": 2, "initial_s": 3}},
    {"id": "no", "tool": "fake:no"},
    {"id": "file", "read": "fake:file:///a/b"},
    {"id": "outer", "workflow": {"name": "in", "tasks": [{"id": "x", "tool": "fake:x"}]}},
    {"id": "ended", "tool": "fake:ended"},
    "after: no",
]


@pytest.fixture
def anyio_backend() -> Backend:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock("trio")


async def carry_out() -> None:
    tracing, observers = Telemetry(ServerPool({})).of_run()
    settings = RunSettings(tracing=tracing)
    run = Run(workflow(*TASKS, name="w"), ScriptedCaller(SCRIPT), settings, observers=observers)
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(5)
        run.cancel_task("ended")


async def test_what_is_counted(seen: Seen) -> None:
    await carry_out()
    assert seen.metrics() == {
        "orchestrator.runs": {("w", "partial"): 1},
        "orchestrator.run.duration": {("w",): 1},
        "orchestrator.tasks": {
            ("success",): 4,
            ("error",): 1,
            ("skipped",): 1,
            ("cancelled",): 1,
        },
        "orchestrator.call.duration": {
            ("fake", "slow", "success"): 2,
            ("fake", "again", "error"): 1,
            ("fake", "again", "success"): 1,
            ("fake", "no", "error"): 1,
            ("fake", "x", "success"): 1,
            ("fake", "ended", "cancelled"): 1,
            ("fake", "read_resource", "success"): 1,
        },
        "orchestrator.call.wait": {("retry",): 1},
        "orchestrator.retries": {("fake", "tool_error"): 1},
        "orchestrator.calls.in_flight": {("fake",): 0},
    }


async def test_the_names_in_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "_METER_PROVIDER", provider)
    await carry_out()
    text = generate_latest(registry).decode()
    provider.shutdown()
    for line in (
        'orchestrator_runs_total{status="partial",workflow="w"} 1.0',
        'orchestrator_run_duration_seconds_sum{workflow="w"} 5.0',
        'orchestrator_tasks_total{status="success"} 4.0',
        'orchestrator_call_duration_seconds_sum{server="fake",status="success",tool="slow"} 4.0',
        'orchestrator_call_wait_seconds_sum{reason="retry"} 3.0',
        'orchestrator_retries_total{kind="tool_error",server="fake"} 1.0',
        'orchestrator_calls_in_flight{server="fake"} 0.0',
    ):
        assert line in text.splitlines()


async def test_starts_of_a_server_after_its_first_are_restarts(seen: Seen) -> None:
    servers = table(faulty("one"), faulty("two"))
    pool = ServerPool(servers)
    telemetry = Telemetry(pool)
    for server in ("one", "two", "one", "one"):
        supervisor = pool._supervisors[server]
        assert isinstance(supervisor, Supervisor)
        supervisor._announce(ServerStarting(0.0, server))
    assert seen.metrics() == {"orchestrator.server.restarts": {("one",): 2}}
    assert telemetry.of_call() is not None


def test_names_without_end_do_not_make_series_without_end() -> None:
    name_of = Names(lambda text: text.replace("secret", "***"))
    made = {name_of(f"workflow {number}") for number in range(10 * MAX_NAMES)}
    assert len(made) == MAX_NAMES + 1
    assert name_of("workflow 7") == "workflow 7"
    assert name_of("workflow 1999") == "other"
    assert Names(lambda text: text.replace("secret", "***"))("a secret\n") == "a ***\\u000a"


def test_every_metric_has_one_name_and_a_unit() -> None:
    given = [value for value in vars(names).values() if isinstance(value, tuple)]
    metrics_of = [each for each in given if isinstance(each[0], str)]
    assert len({name for name, _, _ in metrics_of}) == len(metrics_of) == 9
    assert {unit for _, unit, _ in metrics_of if not unit.startswith("{")} == {"s"}


async def test_commits_of_a_journal_are_measured(seen: Seen, tmp_path: Path) -> None:
    plan = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
    async with Orchestrator({}, journal=tmp_path / "runs.db") as orchestrator:
        await orchestrator.run(plan)
    (count,) = seen.metrics()["orchestrator.journal.commit"].values()
    assert count > 0
