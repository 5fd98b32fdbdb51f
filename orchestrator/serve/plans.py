"""Plans that models write: run, or only checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from orchestrator.client import Orchestrator
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.text import quoted
from orchestrator.engine.result import RunResult
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.validator import Validator
from orchestrator.serve.answers import Answer, Asked, finding
from orchestrator.serve.carried import Carried
from orchestrator.serve.inline import size_of
from orchestrator.serve.results import FAILED, fitted, light
from orchestrator.serve.saved import Saved
from orchestrator.serve.shapes import RESULT
from orchestrator.serve.streamed import StreamedPlan
from orchestrator.workflow.model import Workflow

_NAME = "plan"
START_WAIT_S = 10.0  # a plan is checked with the servers that are ready by then


def plan_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The plan in the arguments of a call; some models write it as text, or one level deeper.

    Raises:
        WorkflowError: It is text that is no JSON.
    """
    given: Any = arguments
    if "tasks" not in arguments and "plan" in arguments:
        given = _parsed(arguments["plan"], "plan")
    if not isinstance(given, Mapping):
        message = f"expected object with tasks, got {describe(given)}"
        raise WorkflowError(_NAME, [Problem("wrong_type", message, "/plan")])
    plan = dict(given)
    if isinstance(tasks := plan.get("tasks"), str):
        plan["tasks"] = _parsed(tasks, "tasks")
    return plan


def _parsed(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except DocumentError as error:
        message = f"{name} is text that is no JSON: {error}"
        raise WorkflowError(_NAME, [Problem("malformed_document", message, f"/{name}")]) from None


class Plans:
    """Runs and checks the plans of models.

    Args:
        engine: Runs them.
        carried: Carries the runs.
        saved: The workflows that a plan may name.
        limit: How large a result may be, bytes.
    """

    def __init__(self, engine: Orchestrator, carried: Carried, saved: Saved, limit: int) -> None:
        self._engine, self._carried, self._saved = engine, carried, saved
        self._limit = limit

    async def execute(self, asked: Asked) -> Answer:
        """`parallel_execute`. Raises an `OrchestratorError`."""
        workflow = Workflow.load(self._plan(asked))
        result = await self.run_checked(workflow, {}, asked)
        return self.answer(result, has_output=workflow.output is not None)

    async def finish(self, plan: StreamedPlan, arguments: Mapping[str, Any]) -> Answer | None:
        """`parallel_execute` of a plan that was run while it was written; None if it is wrong."""
        result = await plan.finish()
        if result is None:
            return None
        self._carried.keep(result)
        return self.answer(result, has_output=arguments.get("output") is not None)

    def _plan(self, asked: Asked) -> dict[str, Any]:
        plan = {"name": _NAME, **plan_of(asked.arguments)}
        if plan["name"] in self._engine.trusted_workflows:
            message = f"{quoted(plan['name'])} is a workflow that servers.toml trusts tasks of"
            hint = "give the plan another name, or none"
            raise WorkflowError(_NAME, [Problem("wrong_value", message, "/name", hint=hint)])
        return self._saved.inlined(plan)

    async def run_checked(
        self, workflow: Workflow, inputs: Mapping[str, Any], asked: Asked
    ) -> RunResult:
        """Run a workflow that fits its tools. Raises an `OrchestratorError`."""
        if wrong := await self._engine.errors(workflow, START_WAIT_S):
            raise WorkflowError(workflow.name, wrong)
        return await self.run(workflow, inputs, asked)

    async def run(self, workflow: Workflow, inputs: Mapping[str, Any], asked: Asked) -> RunResult:
        """Run a workflow. Raises an `OrchestratorError`."""
        begin = partial(self._begin, workflow, inputs)
        return await self._carried.carry(begin, asked)

    def _begin(self, workflow: Workflow, inputs: Mapping[str, Any], options: Any) -> Any:
        return self._engine.begin(workflow, inputs, **options)

    def answer(self, result: RunResult, *, has_output: bool) -> Answer:
        """The result of a run, for a model and for a program."""
        document = light(result.to_dict(), with_outputs=not has_output)
        document = fitted(self._engine.hide(document), self._limit)
        return Answer(document, result.status in FAILED, result)

    def output(self, result: RunResult, schema: Mapping[str, Any] | None) -> Answer:
        """The output of a run alone, if it succeeded and is not too large; else as `answer` has it.

        A value that is no object is the `result` of one. Clients refuse what does not fit the
        schema of the tool, so such an output is shown as that of a run.
        """
        output = result.output if isinstance(result.output, dict) else {RESULT: result.output}
        if result.status != "success" or size_of(output) > self._limit:
            return self.answer(result, has_output=True)
        if schema is not None and not Validator(schema).fits(output):
            return self.answer(result, has_output=True)
        return Answer(self._engine.hide(output), result=result)

    async def validate(self, asked: Asked) -> Answer:
        """`validate_plan`: it succeeds also if the plan is wrong."""
        try:
            found = await self._engine.findings(self._plan(asked))
        except WorkflowError as error:
            found = list(error.problems)
        is_wrong = any(problem.severity == "error" for problem in found)
        findings = [finding(problem) for problem in found]
        return Answer({"status": "invalid" if is_wrong else "valid", "findings": findings})
