"""Spans and metrics of runs, by the API of OpenTelemetry.

Rule: it tells what happens and changes nothing of it: whatever a provider does, a run goes on, and
without a provider nothing is imported. Deleting it touches one argument of a run.

- `telemetry` is what an orchestrator has: it looks for providers, for each run again.
- `spans` makes a trace of a run (see `calls.tracing`), `metrics` counts and measures.
- `names` are those of all spans, attributes and metrics.
- `carrying` goes on with a trace in another process.
- `setup` makes providers for a command, as the variables OTEL_* say, and `prometheus` what that
  reads; both need an extra.
"""

from __future__ import annotations

__all__ = ["carrying", "metrics", "names", "prometheus", "setup", "spans", "telemetry"]
