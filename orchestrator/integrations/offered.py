"""What the adapters share: which tools are offered, calls of them, approvals, and the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

import anyio

from orchestrator.client import Orchestrator
from orchestrator.documents.encode import to_json
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.engine.question import AnswerCallback
from orchestrator.errors import WorkflowError
from orchestrator.integrations.plan_streams import PlanStreams
from orchestrator.serve.answers import Answer, ServedTool
from orchestrator.serve.toolset import Toolset
from orchestrator.workflow.model import Workflow

Approve = Literal["answers", "writes", "all"]
"""Which calls a person approves in the framework's own way: answers to the questions of runs, which
a model must not give alone; all that may write, too; or every call."""
_PLANS, _ANSWERS = "parallel_execute", "answer_question"


class ToolOptions(TypedDict, total=False):
    """The options of every adapter.

    Attributes:
        workflows: A directory whose workflows are tools.
        single_tools: Whether the tools of the servers are tools of their own, too.
        only: The names of the tools to offer; all by default.
        max_inline_kb: How large a result may be for the model, kilobytes of JSON.
        approve: Which calls a person approves first, where the framework has a way for that.
        answer: Answers the questions of runs; without, runs that ask are `paused`.
        streams: Plans that run while the model still writes them; not with `approve="all"`.
        on_result: Receives the name of the tool and the whole `Answer` of each call, for programs.
    """

    workflows: str | Path | None
    single_tools: bool
    only: Collection[str]
    max_inline_kb: float
    approve: Approve
    answer: AnswerCallback | None
    streams: PlanStreams | None
    on_result: Callable[[str, Answer], object] | None


class Offered:
    """The tools of an open engine for one framework.

    Args:
        engine: The engine.
        gated: Whether the framework can ask a person before a call. Where it cannot, no tool
            answers the questions of runs, or a model could approve what it asked for itself.
        options: As for every adapter.

    Raises:
        ValueError: `approve` has no such value.
    """

    def __init__(
        self, engine: Orchestrator, *, gated: bool, **options: Unpack[ToolOptions]
    ) -> None:
        self._gated = gated
        self._only = options.get("only")
        self._approve = options.get("approve", "answers")
        self._answer, self._on_result = options.get("answer"), options.get("on_result")
        if self._approve not in get_args(Approve):
            known = ", ".join(map(quoted, get_args(Approve)))
            raise ValueError(f"approve: expected one of {known}, got {self._approve!r}")
        passed = {"workflows", "single_tools", "max_inline_kb"}
        settings: dict[str, Any] = {k: v for k, v in options.items() if k in passed}
        self.toolset = Toolset(engine, **settings)
        self._streams = None if self._approve == "all" else options.get("streams")
        if self._streams is not None:
            self._streams.serve(_PLANS, partial(self.toolset.stream, self._answer))
        self._tools: dict[str, ServedTool] = {}

    async def tools(self) -> list[ServedTool]:
        """The tools to offer.

        Raises:
            ValueError: `only` names a tool that there is not.
        """
        served = [
            tool for tool in await self.toolset.tools() if self._gated or tool.name != _ANSWERS
        ]
        self._tools = {tool.name: tool for tool in served}
        if self._only is None:
            return served
        for name in self._only:
            if name not in self._tools:
                hint = did_you_mean(name, self._tools)
                raise ValueError(f"only: unknown tool {quoted(name)}{hint}")
        self._tools = {tool.name: tool for tool in served if tool.name in self._only}
        return list(self._tools.values())

    async def call(self, name: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Call a tool; what is wrong is an answer, too."""
        plan = None
        if name == _PLANS and arguments is not None and self._streams is not None:
            plan = self._streams.take(arguments)
        if plan is not None and arguments is not None:
            answer = await self.toolset.finish(plan, arguments)
        else:
            answer = await self.toolset.call(name, arguments, answer=self._answer)
        if self._on_result is not None:
            self._on_result(name, answer)
        return answer

    async def call_text(self, name: str, text: str) -> Answer:
        """Call a tool with arguments as JSON text, as models write them."""
        try:
            arguments = json.loads(text) if text.strip() else {}
        except ValueError as error:
            problem = {"code": "syntax", "message": f"the arguments are not JSON: {error}"}
            return Answer({"status": "invalid", "findings": [problem]}, is_error=True)
        return await self.call(name, arguments)

    def needs_approval(self, name: str, arguments: Mapping[str, Any] | None = None) -> bool:
        """Whether a person approves this call; without arguments, whether any call of the tool."""
        if name == _ANSWERS or self._approve == "all":
            return True
        if self._approve == "answers":
            return False
        tool = self._tools.get(name)
        if tool is not None and tool.annotations.get("readOnlyHint") is True:
            return False
        return name != _PLANS or arguments is None or self._may_write(arguments)

    def _may_write(self, plan: Any) -> bool:
        """Whether a plan may call a tool that does not declare that it only reads."""
        # What a saved workflow calls is not in the plan.
        if not isinstance(plan, Mapping) or _names_workflow(plan):
            return True
        try:
            workflow = Workflow.load(dict(plan))
        except WorkflowError:  # it may be valid in a form that only the toolset knows
            return True
        return self.toolset.known.may_write(workflow)


def _names_workflow(value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value.get("workflow"), str) or any(map(_names_workflow, value.values()))
    return isinstance(value, list) and any(map(_names_workflow, value))


def text_of(answer: Answer) -> str:
    """The document of an answer as the text that a model reads."""
    return to_json(answer.document)


def whole(answer: Answer) -> Any:
    """What programs get: the `RunResult`, or the document if nothing ran."""
    return answer.document if answer.result is None else answer.result


class Engine:
    """An engine that an adapter opens when it is first needed, and closes after the last use.

    Different tasks may do the two, as frameworks do. An engine that is given is never closed.
    """

    def __init__(self, source: str | Path | Orchestrator) -> None:
        self._source = source
        self._engine: Orchestrator | None = None
        self._users, self._lock = 0, anyio.Lock()

    async def acquire(self) -> Orchestrator:
        """Open it, or use it once more.

        Raises:
            ConfigError: The file of the servers is wrong.
        """
        async with self._lock:
            if self._engine is None:
                engine = self._source
                if not isinstance(engine, Orchestrator):
                    engine = Orchestrator.from_config(engine)
                    await engine.start()
                self._engine = engine
            self._users += 1
            return self._engine

    async def release(self, *, entirely: bool = False) -> bool:
        """Close it after the last use, or at once; whether it is closed."""
        async with self._lock:
            self._users = 0 if entirely else max(self._users - 1, 0)
            if self._users == 0 and self._engine is not None:
                engine, self._engine = self._engine, None
                if engine is not self._source:
                    await engine.aclose()
            return self._engine is None
