"""The names of spans, attributes and metrics.

Those that begin with `gen_ai` and `mcp` follow semantic-conventions-genai v0.1.0, which may still
change; all others are ours. In Prometheus a dot becomes `_`, and units and `_total` are added.
"""

from __future__ import annotations

SCOPE = "orchestrator"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

# Spans, each below the one before: a run or an inner workflow, a task, an item, an attempt.
RUN_SPAN = "invoke_workflow {}"
TASK_SPAN = "task {}"
ITEM_SPAN = "item {}"
TOOL_SPAN = "execute_tool {}"
READ_SPAN = "read_resource"  # its URI may be made of arguments
PROMPT_SPAN = "get_prompt {}"

OPERATION = "gen_ai.operation.name"
INVOKE_WORKFLOW = "invoke_workflow"
EXECUTE_TOOL = "execute_tool"
AGENT = "gen_ai.agent.name"
TOOL = "gen_ai.tool.name"
PROMPT = "gen_ai.prompt.name"
SERVER = "mcp.server.name"
ERROR_TYPE = "error.type"

RUN_ID = "orchestrator.run.id"
RUN_STATUS = "orchestrator.run.status"
RUN_REASON = "orchestrator.run.reason"
SCHEDULE = "orchestrator.run.schedule"
RESUMED = "orchestrator.run.resumed"
# Of a link to another trace: what has become of the run there.
LINK = "orchestrator.link"
TAKEN_UP = "resumed"  # this process goes on with it
REUSES = "reused"  # this is a retry or a fork of it
TASK = "orchestrator.task.id"
ITEM = "orchestrator.task.item"
STATUS = "orchestrator.task.status"
REASON = "orchestrator.task.reason"
CALLS = "orchestrator.task.attempts"
CACHED = "orchestrator.task.cached"
RECOVERED = "orchestrator.task.recovered"
ATTEMPT = "orchestrator.attempt"
TURN = "orchestrator.turn"
FALLBACK = "orchestrator.fallback"

# The event of a wait, at its begin.
WAIT = "wait"
WAIT_REASON = "orchestrator.wait.reason"
WAIT_FOR = "orchestrator.wait.for"
WAIT_S = "orchestrator.wait.duration_s"

# Metrics: name, unit, description. Never an attribute: ids, arguments, outputs.
RUNS = "orchestrator.runs", "{run}", "Runs that have ended"
RUN_DURATION = "orchestrator.run.duration", "s", "How long runs took"
TASKS = "orchestrator.tasks", "{task}", "Tasks that have settled"
CALL_DURATION = "orchestrator.call.duration", "s", "How long attempts of calls took"
CALL_WAIT = "orchestrator.call.wait", "s", "What calls waited for, a millisecond at least"
RETRIES = "orchestrator.retries", "{retry}", "Attempts that followed one that failed"
IN_FLIGHT = "orchestrator.calls.in_flight", "{call}", "Attempts that are being made"
RESTARTS = "orchestrator.server.restarts", "{restart}", "Starts of servers after the first"
COMMIT = "orchestrator.journal.commit", "s", "How long commits of the journal took"

# Of histograms in seconds, those of `mcp.client.operation.duration`.
BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)

# Attributes of metrics, which Prometheus has as labels.
WORKFLOW_LABEL = "workflow"
STATUS_LABEL = "status"
SERVER_LABEL = "server"
TOOL_LABEL = "tool"
REASON_LABEL = "reason"
KIND_LABEL = "kind"
