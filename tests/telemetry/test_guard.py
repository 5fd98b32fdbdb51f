"""A run goes on whatever a provider does, and without one it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import mcp.shared._otel as sdk
import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from orchestrator.engine import callers
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool
from orchestrator.telemetry.carrying import inside
from orchestrator.telemetry.guard import Guard
from orchestrator.telemetry.telemetry import Telemetry
from tests.fakes import ScriptedCaller, failing, workflow
from tests.telemetry.seen import Seen

pytestmark = pytest.mark.anyio


class Broken(SpanProcessor):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        self.calls = 0
        self._method = method

    def _raise(self, method: str) -> None:
        self.calls += 1
        if method == self._method:
            raise ZeroDivisionError(method)

    def on_start(self, *_: Any, **__: Any) -> None:
        self._raise("on_start")

    def on_end(self, *_: Any) -> None:
        self._raise("on_end")


def run_of(telemetry: Telemetry) -> Run:
    tracing, observers = telemetry.of_run()
    tasks = workflow(*"abc", {"id": "d", "tool": "fake:d", "for_each": [1, 2]})
    script = ScriptedCaller({"b": [(0.0, failing())]})
    return Run(tasks, script, RunSettings(tracing=tracing), observers=observers)


@pytest.mark.parametrize("method", ["on_start", "on_end"])
async def test_a_provider_that_raises_is_told_nothing_more(
    method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider, broken = TracerProvider(shutdown_on_exit=False), Broken(method)
    provider.add_span_processor(broken)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    result = await run_of(Telemetry(ServerPool({}))).execute()
    assert [result[task].status for task in "abcd"] == ["success", "error", "success", "success"]
    (said,) = (each for each in caplog.records if each.name == "orchestrator")
    assert said.message.startswith("OpenTelemetry failed")
    assert broken.calls <= 12  # of 24: each of the 12 spans begins and ends


async def test_a_provider_that_makes_no_tracer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class NoTracer:
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", NoTracer())
    assert (await run_of(Telemetry(ServerPool({}))).execute()).status == "partial"
    assert "OpenTelemetry failed" in caplog.text


async def test_a_provider_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "there_is_none")
    assert Telemetry(ServerPool({})).of_call() is None
    assert "there is no provider of trace" in caplog.text


async def test_metrics_alone_have_no_spans(monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(sdk, "_tracer", trace.NoOpTracer())
    telemetry = Telemetry(ServerPool({}))
    await run_of(telemetry).execute()
    assert seen.spans == []
    assert seen.metrics()["orchestrator.tasks"] == {("success",): 3, ("error",): 1}
    alone = telemetry.of_call()
    assert alone is not None
    assert (alone.identity, dict(alone.carrier)) == ("", {})


async def test_spans_alone_have_no_observer(monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    monkeypatch.setattr(metrics, "_METER_PROVIDER", None)
    tracing, observers = Telemetry(ServerPool({})).of_run()
    assert tracing is not None
    assert observers == ()
    await run_of(Telemetry(ServerPool({}))).execute()
    assert seen.one("task a")


async def test_without_a_provider_nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(metrics, "_METER_PROVIDER", None)
    telemetry = Telemetry(ServerPool({}))
    assert telemetry.of_run() == (None, ())
    assert telemetry.of_call() is None
    made: list[Any] = []
    monkeypatch.setattr(callers, "with_trace", made.append)
    await run_of(telemetry).execute()
    assert made == []


async def test_secrets_of_servers_are_hidden(seen: Seen) -> None:
    server = Server(url="http://127.0.0.1:1/mcp", headers={"Authorization": "Bearer geheim-1234"})
    telemetry = Telemetry(ServerPool({"s": server}))
    tracing, observers = telemetry.of_run()
    tasks = workflow({"id": "a", "tool": "s:geheim-1234"}, name="of geheim-1234")
    told = ScriptedCaller({"geheim-1234": [(0.0, failing("Bearer geheim-1234 is wrong"))]})
    run = Run(tasks, told, RunSettings(tracing=tracing), observers=observers)
    await run.execute()
    shown = "".join(span.to_json() for span in seen.spans)
    assert "*** is wrong" in shown
    assert "geheim" not in shown
    assert "geheim" not in str(seen.metrics())


def test_a_process_that_got_no_trace_goes_on_without() -> None:
    with inside(None), inside({}):
        assert not trace.get_current_span().get_span_context().is_valid
    with inside({"traceparent": f"00-{1:032x}-{2:016x}-01"}):
        assert trace.get_current_span().get_span_context().span_id == 2
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_guard_that_has_seen_a_failure_calls_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    guard = Guard(lambda text: text)
    assert guard(0, lambda: 7) == 7
    assert guard(0, lambda: 1 // 0) == 0
    assert guard(None, calls.append, 1) is None
    assert calls == []
    assert len(caplog.records) == 1


def test_a_package_that_nobody_traces_imports_nothing_of_it() -> None:
    code = (
        "import sys, orchestrator\n"
        "orchestrator.Orchestrator({})._telemetry.of_run()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')\n"
        "       or name in ('orchestrator.telemetry.spans', 'orchestrator.telemetry.metrics')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
