"""What a run takes over from an earlier one: tasks with the same definition and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.engine.decide import Start, StartEach, decide, decide_item
from orchestrator.engine.outcome import Success
from orchestrator.engine.result import TaskResult
from orchestrator.engine.settled import Settled
from orchestrator.expressions.scope import Scope
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

_SAYS_NOTHING = ("description", "depends_on")  # of what is called


class Reuse:
    """The tasks of an earlier run that need not be made again.

    Args:
        workflow: The workflow of the earlier run.
        settled: Its inputs and results.
        now: The workflow that runs now.
    """

    def __init__(self, workflow: Workflow, settled: Settled, now: Workflow) -> None:
        self._plan, self._settled = workflow.plan, settled
        self._before, self._now = _definitions(workflow), _definitions(now)

    def result(
        self, task: TaskPlan, decision: Start | StartEach, scope: Scope
    ) -> TaskResult | None:
        """The result of a task that is about to start; None if it has to be made."""
        known = self._settled.results.get(task.id)
        if task.generation is None:  # what is made again is cleaned up again
            return None
        if known is None or not isinstance(known.outcome, Success) or known.recovered:
            return None
        before = self._plan.tasks[task.id]
        if self._before[task.id] != self._now[task.id]:
            return None
        if decide(before, self._settled.scope) != decision:
            return None
        if not self._reads_the_same(task, before, decision, scope):
            return None
        output = known.outcome.output
        if id(output) in self._settled.scope.wrapped:
            scope.wrapped[id(output)] = output
        return replace(known, generation=task.generation)

    def _reads_the_same(
        self, task: TaskPlan, before: TaskPlan, decision: Start | StartEach, scope: Scope
    ) -> bool:
        """Whether all else that the calls of a task read is the same, too."""
        old, new = self._settled.scope, scope
        if task.policies.repeat is not None:  # it reads as it goes on
            return all(
                old.outputs.get(needed) == new.outputs.get(needed) for needed in task.dependencies
            )
        if isinstance(decision, Start):
            return True
        return all(
            decide_item(before, _at(old, item, index)) == decide_item(task, _at(new, item, index))
            for index, item in enumerate(decision.items)
        )


def _at(scope: Scope, item: Any, index: int) -> Scope:
    """The scope of an item in which no expression takes too long, as in `Scope.at`."""
    return replace(scope, item=item, index=index)


def _definitions(workflow: Workflow) -> Mapping[str, Any]:
    """What each task says about its calls, by id."""
    document = workflow.to_dict(whole=True)
    defaults = document.get("defaults")
    tasks = (*document["tasks"], *document.get("finally", ()))
    return {
        task["id"]: ({name: task[name] for name in task if name not in _SAYS_NOTHING}, defaults)
        for task in tasks
    }
