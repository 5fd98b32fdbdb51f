"""A workflow file as a valid, frozen `Workflow` with its `Plan`.

Rule: a `Workflow` that exists is valid; making one is O(n + e) in tasks and dependencies.

- `kinds` says what makes a task a call or a value, `product` is the list of a `for_each` over
  several lists.
- `foreign` explains words of other workflow languages.
- `normalize` ends synonyms, `oktyv` translates requests for it; `model` and `task` are the file,
  `compile` checks what it refers to (`names` has what there is), `plan` is what a run follows, and
  `make_plan` makes it.
- `inner` loads the workflows that tasks run, and places what is wrong in them.
- `hold` is how much of a lock a task holds.
- `part` is some items of one task, as a workflow of its own.
- `inputs` checks the values given for a run; `budget` is what it may spend.
- `graph` holds the algorithms on the dependency graph.
- `plan_reader` gives the tasks of a plan whose text is still being written, `header` is what it
  begins with.
- `source_map` and `fixes` place a problem in its file and propose a patch; `recovery` cuts mistakes
  out, so that the rest can be checked.
"""

from __future__ import annotations

__all__ = [
    "budget",
    "fixes",
    "graph",
    "header",
    "hold",
    "inner",
    "inputs",
    "model",
    "normalize",
    "part",
    "plan",
    "plan_reader",
    "product",
    "recovery",
    "source_map",
    "task",
]
