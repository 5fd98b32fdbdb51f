"""The tasks of a run that have settled, and what expressions read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.engine.decide import evaluated
from orchestrator.engine.outcome import Cancelled, Failure, Success
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.errors import CallError, TaskError
from orchestrator.expressions.scope import MISSING, Scope
from orchestrator.workflow.plan import Plan


class Settled:
    """The tasks that have settled.

    Attributes:
        results: Their results, by id, in the order in which they settled.
        scope: What references to them read, and `quick_scope` the same in the event loop.
        output: What the workflow returns, or why it returns nothing; after `resolve_output`.
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        run: Mapping[str, str] | None = None,
        *,
        null_is_unknown: bool = False,
    ) -> None:
        self.results: dict[str, TaskResult] = {}
        self._outputs: dict[str, Any] = {}
        self._statuses: dict[str, str] = {}
        self._errors: dict[str, Any] = {}
        self.scope = Scope(
            self._outputs,
            _Items(self.results),
            self._statuses,
            self._errors,
            inputs,
            run=MISSING if run is None else run,
            null_is_unknown=null_is_unknown,
        )
        self.quick_scope = self.scope.at(MISSING, MISSING)
        self.output: tuple[Any, TaskError | None] = None, None

    def add(self, result: TaskResult) -> None:
        """Add a task that has settled."""
        self.results[result.id] = result
        self._statuses[result.id] = result.outcome.status
        match result.outcome:
            case Success(output):
                self._outputs[result.id] = output
            case Failure(error, output):
                self._errors[result.id] = error.to_dict()
                # A `for_each` that failed in part has the list of its outputs.
                if output is not None:
                    self._outputs[result.id] = output
            case Cancelled() if result.error is not None:
                self._errors[result.id] = result.error.to_dict()

    async def resolve_output(self, plan: Plan) -> None:
        """Resolve the workflow's `output`; by default that of the tasks that nothing depends on."""
        if plan.output is None:
            outputs = self._outputs
            self.output = {task: outputs[task] for task in plan.sinks if task in outputs}, None
            return
        try:
            self.output = await evaluated(plan.output.resolve, self.quick_scope), None
        except CallError as failure:
            error = failure.error
            message = f"the workflow's output cannot be resolved: {error.message}"
            self.output = None, TaskError(error.kind, message, error.retryable, error.details)


class _Items(Mapping[str, list[dict[str, Any]]]):
    """How the items of each settled `for_each` ended, made when it is read first."""

    def __init__(self, results: Mapping[str, TaskResult]) -> None:
        self._results = results
        self._made: dict[str, list[dict[str, Any]]] = {}

    def __getitem__(self, task: str) -> list[dict[str, Any]]:
        if task not in self._made:
            self._made[task] = list(map(_item, self._results[task].items or ()))
        return self._made[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


def _item(item: ItemResult) -> dict[str, Any]:
    error = item.error
    return {
        "index": item.index,
        "status": item.status,
        "output": item.output,
        "error": None if error is None else error.to_dict(),
    }
