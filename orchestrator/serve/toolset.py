"""The tools of an engine for models: what there are, and calls of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from orchestrator.client import Orchestrator
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import counted, cut, listed, quoted, visible
from orchestrator.engine.question import AnswerCallback
from orchestrator.errors import OrchestratorError, Problem
from orchestrator.schema.tool import Tool
from orchestrator.serve.answers import (
    INTERNAL,
    Answer,
    Asked,
    OnProgress,
    ServedTool,
    failed,
    invalid,
    wrong_arguments,
)
from orchestrator.serve.carried import MAX_RUN_S, Carried
from orchestrator.serve.definitions import HOW, engine_tools
from orchestrator.serve.inline import KB
from orchestrator.serve.known import Known
from orchestrator.serve.plans import Plans
from orchestrator.serve.run_tools import RunTools
from orchestrator.serve.saved import Saved, SavedWorkflow
from orchestrator.serve.shapes import output_schema
from orchestrator.serve.single import single_plan, single_tool
from orchestrator.serve.streamed import StreamedPlan

logger = logging.getLogger("orchestrator")

MAX_INLINE_KB, MAX_TOOLS = 24, 128
LIST_WAIT_S = 10.0
_FREE = frozenset({"parallel_execute", "validate_plan"})  # the workflow model checks their plans
Handler = Callable[[Asked], Awaitable[Answer]]


class Toolset:
    """The tools of an engine that is open, for models.

    Args:
        engine: An orchestrator that is open. With a journal, the ids of runs outlive the process
            and paused runs go on.
        workflows: A directory whose workflows are tools; it is read again when it changes.
        max_inline_kb: How large a result may be for a model, kilobytes of JSON; what is larger is
            cut, and `get_result` has the rest.
        max_tools: How many tools are listed at most; `find_tools` finds the others.
        single_tools: Whether the tools of the servers are tools of their own, too.
        max_run_s: How long a run may take, seconds.
        warn: Is called with a sentence about what cannot be offered.

    Attributes:
        known: The tools of servers and the saved workflows, as of now.
        runs: The tools about runs.
    """

    def __init__(
        self,
        engine: Orchestrator,
        *,
        workflows: str | Path | None = None,
        max_inline_kb: float = MAX_INLINE_KB,
        max_tools: int = MAX_TOOLS,
        single_tools: bool = False,
        max_run_s: float = MAX_RUN_S,
        warn: Callable[[str], None] = logger.warning,
    ) -> None:
        limit = round(max_inline_kb * KB)
        self._engine, self._max_tools, self._limit = engine, max_tools, limit
        self._schemas = {tool.name: tool.input_schema for tool in engine_tools("")}
        self._saved = Saved(None if workflows is None else Path(workflows), self._schemas, warn)
        carried, self._max_run_s = Carried(max_run_s), max_run_s
        self._plans = Plans(engine, carried, self._saved, limit)
        self.runs = RunTools(engine, carried, self._plans, limit)
        self._handlers: Mapping[str, Handler] = {
            "parallel_execute": self._plans.execute,
            "validate_plan": self._plans.validate,
            "find_tools": self._find,
            "run_status": self.runs.status,
            "cancel_run": self.runs.cancel,
            "answer_question": self.runs.answer,
            "get_result": self.runs.result,
        }
        self.known = Known(engine, self._saved, self._schemas, has_single=single_tools)

    async def tools(self, *, wait_s: float = LIST_WAIT_S) -> list[ServedTool]:
        """The tools: saved workflows, those of the engine, those of servers if they are offered.

        Servers that are not known yet start; those that take longer than `wait_s` are left out for
        now. There is no second page: what does not fit is found by `find_tools`.
        """
        if wait_s:
            with anyio.move_on_after(wait_s):
                await self._engine.learn()
        await self.refresh()
        own = engine_tools(self._behind())
        room = max(self._max_tools - len(own), 0)
        workflows = list(self._saved.workflows.values())[:room]
        tools = [*map(self.known.served, workflows), *own]
        room = max(self._max_tools - len(tools), 0)
        single = list(self.known.single().items())[:room]
        return tools + [single_tool(name, tool) for name, tool in single]

    async def version(self) -> tuple[object, ...]:
        """What changes when `tools` may give something else."""
        await self.refresh()
        return self._engine.tools_version, tuple(self._saved.workflows.values())

    async def resource(self, run_id: str) -> Answer:
        """The result of a run, as `get_result` has it."""
        return await self.call("get_result", {"run_id": run_id})

    def instructions(self) -> str:
        """How to use the tools, for a model that begins."""
        return (
            "Plan many tool calls at once: find_tools finds tools, parallel_execute runs a plan of "
            f"calls side by side and passes outputs on. {HOW} Large results are cut: get_result "
            "has the rest."
        )

    async def refresh(self) -> None:
        """Read the directory again if it has changed, and check what it has."""
        await to_thread.run_sync(self._saved.refresh)
        self._saved.check(self._engine.known_errors, self._engine.tools_version)

    def _behind(self) -> str:
        """What lies behind the tools, in a few words."""
        by_server = self._engine.known_tools()
        parts = [
            f"{visible(name)} ({counted(len(by_server[name]), 'tool')})"
            if name in by_server
            else f"{visible(name)} (not started)"
            for name in self._engine.servers
        ]
        total = sum(map(len, by_server.values()))
        what = f"{counted(total, 'tool')} of {counted(len(parts), 'server')}"
        more = (
            f", {counted(len(self._saved.workflows), 'workflow')}" if self._saved.workflows else ""
        )
        return cut(f"{what}{more}: {listed(parts, 20)}", 400) if parts else f"no servers{more}"

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_progress: OnProgress | None = None,
        answer: AnswerCallback | None = None,
    ) -> Answer:
        """Call a tool. What is wrong with the call, and what fails in it, is an answer.

        Args:
            name: The name of a tool, also of one that `tools` had no room for.
            arguments: Its arguments.
            on_progress: Receives how far a run has come: when tasks settle, and every 10 seconds.
            answer: Answers the questions of a run; without, it is paused when it has some.
        """
        if not isinstance(name, str):
            message = f"expected the name of a tool, got {describe(name)}"
            return invalid([Problem("wrong_type", message)])
        given = {} if arguments is None else arguments
        return await self._safely(name, self._call(name, Asked(given, on_progress, answer)))

    def stream(self, answer: AnswerCallback | None = None) -> StreamedPlan:
        """The arguments of a call of `parallel_execute` that a model still writes.

        Its tasks run as they come, but for those that may write: these wait for `finish`.
        """
        plan = StreamedPlan(self._engine, self._saved.inlined, answer, self._max_run_s)
        self._engine.start_soon(plan.run)
        return plan

    async def finish(self, plan: StreamedPlan, arguments: Mapping[str, Any]) -> Answer:
        """Make the call with a plan that was written as `stream`; as `call` if it is wrong."""
        answer = await self._plans.finish(plan, arguments)
        return await self.call("parallel_execute", arguments) if answer is None else answer

    async def go_on(
        self,
        name: str,
        run_id: str,
        replies: Sequence[Mapping[str, Any]],
        *,
        on_progress: OnProgress | None = None,
    ) -> Answer:
        """Go on with a paused run of a call, with arguments of `answer_question` for its questions.

        Args:
            name: The tool that was called, whose answer it is.
            run_id: The run.
            replies: Arguments of `answer_question`, but for the run.
            on_progress: As for `call`.
        """

        async def answered() -> Answer:
            for reply in replies:
                await self.runs.put(run_id, Asked(reply))
            answer = await self.runs.go_on(run_id, Asked({}, on_progress))
            if name in self._handlers or answer.result is None:
                return answer
            return self._plans.output(answer.result, self._output_schema(name))

        return await self._safely(name, answered())

    async def _safely(self, name: str, work: Awaitable[Answer]) -> Answer:
        try:
            return await work
        except OrchestratorError as error:
            return self._hidden(failed(error))
        except Exception:  # its text may be about anything, so it is for the log alone
            logger.exception("a call of %s failed", quoted(name))
            return INTERNAL

    def _hidden(self, answer: Answer) -> Answer:
        return Answer(self._engine.hide(answer.document), answer.is_error, answer.result)

    async def _call(self, name: str, asked: Asked) -> Answer:
        await self.refresh()
        if not isinstance(asked.arguments, Mapping):
            message = f"{name}: expected an object of arguments, got {describe(asked.arguments)}"
            return invalid([Problem("wrong_type", message)])
        if (handler := self._handlers.get(name)) is not None:
            schema = None if name in _FREE else self._schemas[name]
            if schema and (problems := wrong_arguments(name, schema, asked.arguments)):
                return invalid(problems)
            return await handler(asked)
        if (saved := self._saved.workflows.get(name)) is not None:
            return await self._run_saved(saved, asked)
        if (single := await self._single(name)) is not None:
            return await self._run_single(single, asked)
        return self._unknown(name)

    async def _single(self, name: str) -> Tool | None:
        """The tool of a server; a client may know it from before, while the servers still start."""
        if name not in self.known.single() and self.known.has_single:
            with anyio.move_on_after(LIST_WAIT_S):
                await self._engine.learn()
        return self.known.single().get(name)

    async def _run_saved(self, saved: SavedWorkflow, asked: Asked) -> Answer:
        workflow, tool = saved.workflow, saved.workflow.signature
        if problems := wrong_arguments(workflow.name, tool.input_schema, asked.arguments):
            return invalid(problems)
        result = await self._plans.run_checked(workflow, asked.arguments, asked)
        return self._plans.output(result, self._output_schema(saved.name))

    async def _run_single(self, tool: Tool, asked: Asked) -> Answer:
        if problems := wrong_arguments(tool.target, tool.asks_for, asked.arguments):
            return invalid(problems)
        plan, inputs = single_plan(tool, asked.arguments)
        result = await self._plans.run(plan, inputs, asked)
        return self._plans.output(result, output_schema(tool.output_type))

    def _output_schema(self, name: str) -> Mapping[str, Any] | None:
        if (saved := self._saved.workflows.get(name)) is not None:
            return self.known.served(saved).output_schema
        single = self.known.single().get(name)
        return None if single is None else output_schema(single.output_type)

    def _unknown(self, name: str) -> Answer:
        known = [*self._saved.workflows, *self._handlers, *self.known.single()]
        hint = "tools of servers are called by a plan: see parallel_execute and find_tools"
        near = nearest(name, known)
        problem = Problem("unknown_tool", f"unknown tool {quoted(name)}", "", None, near, hint)
        return invalid([problem])

    async def _find(self, asked: Asked) -> Answer:
        """`find_tools`."""
        with anyio.move_on_after(LIST_WAIT_S):
            await self._engine.learn()
        arguments = asked.arguments
        server = arguments.get("server")
        if server is not None and server not in (*self._engine.servers, "workflow"):
            near = nearest(server, self._engine.servers)
            message = f"unknown server {quoted(server)}"
            return invalid([Problem("unknown_server", message, "/server", None, near)])
        found = self.known.index(server).find(arguments.get("query", ""))
        offset, limit = arguments.get("offset", 0), arguments.get("limit", 10)
        page = found[offset : offset + limit]
        shown = [entry.shown(arguments.get("detail", "summary")) for entry in page]
        document: dict[str, Any] = {"tools": shown, "total": len(found)}
        if offset + limit < len(found):
            document["next_offset"] = offset + limit
        if not found:
            document["note"] = f"nothing fits these words; there are {self._behind()}"
        return Answer(self._engine.hide(document))
