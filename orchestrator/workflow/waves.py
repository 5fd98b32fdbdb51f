"""Which servers a run needs at once, and which later."""

from __future__ import annotations

from orchestrator.workflow.plan import Plan


def waves(plan: Plan) -> tuple[list[str], dict[str, int]]:
    """The servers of the tasks that depend on nothing; and the others, with their generation."""
    tasks = plan.tasks.values()
    # Without those of fallbacks, which are needed only if a task has failed.
    first = list(
        dict.fromkeys(task.server for task in tasks if task.server and not task.generation)
    )
    later: dict[str, int] = {}
    for task, target, _ in sorted(plan.calls, key=lambda call: call[0].generation):
        if target.server not in first:
            later.setdefault(target.server, task.generation)
    return first, later
