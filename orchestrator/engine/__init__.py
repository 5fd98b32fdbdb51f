"""When each task starts, whether it runs and with what: from a `Plan` to a `RunResult`.

Rule: only `task_runner` keeps the state of a run, each task settles exactly once, and no module
knows a server.

- `run` is the front of a run; `task_runner` runs the tasks of its workflow, and of each workflow
  that a task runs inside it; `shared` is what they have in common.
- `phase` is what can end early: the tasks, or those of `finally`. `settled` is what has settled,
  and what expressions read of it.
- `schedules` decide when, `growth` for a plan that is still being written, `decide` whether and
  with what, `executor` carries a task out; `task_calls` makes its calls, through the middleware
  that `callers` puts together.
- `items` is what the items of a `for_each` come to together, also those that others carry.
- `recorder` is what keeps a run, so that another process can go on with it; `keeping` gives it the
  calls of tasks that go on after them.
- `question` is what a person is asked, `questions` those of a run and when it pauses, `asking` asks
  before calls.
- `drain` lets the calls end that are under way, when another process is to go on with the run;
  `ending` ends what earlier processes began, when none is.
- `tracing` is who wants to know what a run does, as spans of a trace.
- `reuse` is what a fork takes over from an earlier run.
- `events` are what a run reports, `emitter` makes them; `result` and `summary` are what it returns,
  `result_text` shows that to a person, and `made_up` is where the outputs of a dry run come from.
"""

from __future__ import annotations

__all__ = [
    "decide",
    "drain",
    "events",
    "growth",
    "items",
    "made_up",
    "outcome",
    "priorities",
    "question",
    "questions",
    "recorder",
    "result",
    "reuse",
    "run",
    "schedules",
    "settings",
    "settled",
    "summary",
    "task_state",
    "tracing",
]
