"""Asks people before calls: whether they may be made, what became of them, and what a task asks."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.documents.encode import to_json
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.question import ANSWER, YES_OR_NO, Question, QuestionKind, Reply, decision
from orchestrator.engine.questions import Questions
from orchestrator.engine.recorder import Recorder, unknown_outcome
from orchestrator.engine.settings import Servers
from orchestrator.errors import CallError
from orchestrator.expressions.templates import to_text
from orchestrator.workflow.inner import WORKFLOW

if TYPE_CHECKING:
    from orchestrator.engine.shared import Shared
    from orchestrator.workflow.plan import Plan


def asking_of(
    shared: Shared, plan: Plan, emitter: Emitter, on_open: Callable[[Call], None]
) -> Asking | None:
    """What asks for the calls of a workflow; None if nobody can be asked, or need be."""
    if shared.questions is None or not shared.may_ask(plan):
        return None
    recorder = shared.settings.recorder
    return Asking(shared.questions, shared.servers, recorder, emitter, on_open)


class Asking:
    """Asks for the calls of a workflow.

    Args:
        questions: Those of the run.
        servers: What the operator wants to be asked about.
        recorder: Knows the calls that may have been carried out.
        emitter: Reports that a call waits.
        on_open: Is called with a call that has to wait for an answer.
    """

    def __init__(
        self,
        questions: Questions,
        servers: Servers,
        recorder: Recorder | None,
        emitter: Emitter,
        on_open: Callable[[Call], None],
    ) -> None:
        self._questions, self._servers, self._recorder = questions, servers, recorder
        self._emitter, self._on_open = emitter, on_open

    def before(self, call_next: Caller) -> Caller:
        """Ask what has to be asked before an attempt, which holds no slot meanwhile."""
        approved = self._with_approval(call_next)
        recorder = self._recorder
        if recorder is None or not recorder.has_unknown:
            return approved

        async def call_decided(call: Call, attempt: Attempt) -> Any:
            if not (about := recorder.unknown(call, attempt)):
                return await approved(call, attempt)
            reply = await self._decision(call, attempt, about)
            if isinstance(reply.value, dict):
                return reply.value["output"]
            if reply.value != "repeat":
                raise unknown_outcome(call)
            return await approved(call, attempt)

        return call_decided

    def _with_approval(self, call_next: Caller) -> Caller:
        async def call_approved(call: Call, attempt: Attempt) -> Any:
            is_inner = call.server == WORKFLOW
            what = f"Run workflow {call.tool}?" if is_inner else f"Call {call.target}?"
            message = attempt.approval or what
            reply = await self._ask(call, attempt, "approve", message, YES_OR_NO)
            if reply is None or reply.refused:
                raise CallError(
                    "refused", f"the call of {call.target} was refused", retryable=False
                )
            return await call_next(call, attempt)

        def call_approved_or_free(call: Call, attempt: Attempt) -> Awaitable[Any]:
            policy = self._servers.policies.get(call.server)
            if policy is not None and policy.elicits:
                attempt.elicit = partial(self._elicit, call, attempt)
            asks = self._needs_approval(call)
            return call_approved(call, attempt) if asks else call_next(call, attempt)

        return call_approved_or_free

    def _needs_approval(self, call: Call) -> bool:
        policies = self._emitter.task_of(call).policies
        if policies.approve is not None and not call.is_fallback:
            return True
        return self._servers.needs_approval(call)

    async def _elicit(
        self, call: Call, attempt: Attempt, message: str, schema: Mapping[str, Any] | None
    ) -> Reply:
        """Ask what the server of a call that is under way wants to know."""
        recorder, number = None if call.safe else self._recorder, attempt.number
        if recorder is not None:
            recorder.withdraw_intent(call, number)
        about = hashlib.sha256(to_json([message, schema]).encode()).hexdigest()[:16]
        with attempt.untimed():
            message = f"{call.server} asks: {message}"
            reply = await self._ask(call, attempt, "elicitation", message, schema, about)
        assert reply is not None
        if recorder is not None:
            await recorder.note_intent(call, number)
        return reply

    async def _decision(self, call: Call, attempt: Attempt, about: str) -> Reply:
        message = (
            f"The process that called {call.target} ended before the answer came. Whether the call "
            "was carried out is unknown, and its tool may not be repeatable. Repeat it, let it "
            'fail, or give its output as {"output": ...}?'
        )
        tool = self._servers.tools.get(call.target)
        schema = decision(None if tool is None else tool.gives_for_task)
        reply = await self._ask(call, attempt, "unknown", message, schema, about=about)
        assert reply is not None
        return reply

    async def ask(self, call: Call, attempt: Attempt) -> Any:
        """The answer to what a task asks.

        Raises:
            CallError: It was refused, or nobody answered in time and there is no default.
        """
        asked = call.arguments
        schema = asked["schema"]
        if "default" in asked and isinstance(schema, dict):
            schema = {**schema, "default": asked["default"]}
        limit_s = call.timeout_s
        if self._recorder is not None:
            limit_s -= self._recorder.began(call.task, call.item)
        message = to_text(asked["message"])
        reply = await self._ask(call, attempt, "ask", message, schema, limit_s=limit_s)
        if reply is None:
            if "default" in asked:
                return asked["default"]
            message = f"nobody answered within {call.timeout_s:g} s"
            raise CallError("timeout", message, retryable=False, timeout_s=call.timeout_s)
        if reply.refused:
            raise CallError("refused", "the question was refused", retryable=False)
        return reply.value

    async def _ask(
        self,
        call: Call,
        attempt: Attempt,
        kind: QuestionKind,
        message: str,
        schema: Any,
        about: str = "",
        limit_s: float = float("inf"),
    ) -> Reply | None:
        arguments = None if kind == "ask" else call.arguments
        of = call.turn, call.is_fallback, about
        question = Question(call.task, call.item, kind, message, schema, arguments, *of)
        since = anyio.current_time()
        reply = await self.ask_again(question, call, attempt, limit_s)
        if kind != "elicitation":  # which comes during a call
            attempt.note_wait(ANSWER, since)
        return reply

    async def ask_again(
        self, question: Question, call: Call, attempt: Attempt, limit_s: float = float("inf")
    ) -> Reply | None:
        """Ask a question, which a call waits for."""

        def on_open(is_new: bool) -> None:
            if is_new and self._emitter.announce:
                self._emitter.asked(question)
            self._on_open(call)

        late_s = float("inf")
        if call.deadline_s is not None and self._recorder is not None:
            late_s = call.deadline_s - self._recorder.began(call.task, call.item)
        return await self._questions.ask(question, call, attempt, on_open, limit_s, late_s)
