"""A pool that notes its calls and their answers, and writes them to a file."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.events import OnEvent
from orchestrator.engine.outcome import Cancelled, Skipped
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.engine.task_state import error_of
from orchestrator.errors import RETRYABLE_KINDS, CallError, TaskError
from orchestrator.recordings.form import SETTINGS, Key, arguments_of, key_of
from orchestrator.recordings.recording import VERSION, check_replaceable, save
from orchestrator.schema.tool import Tool, definition_of
from orchestrator.servers.config import Server, secrets_in
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.redaction import redact

if TYPE_CHECKING:
    from orchestrator.servers.offers import Entry, Kind

logger = logging.getLogger("orchestrator")


class _Made:
    """A call that was made, and how it has ended so far."""

    __slots__ = ("answer", "began_at", "call", "took_s")

    def __init__(self, call: Call) -> None:
        self.call, self.began_at = call, anyio.current_time()
        self.answer: dict[str, Any] = {"no_answer": True}
        self.took_s = 0.0

    def fitted(self, fit: Callable[[Call], Call]) -> Callable[[Call], Call]:
        """What fits the call to a tool that was not known before; notes what it makes of it."""

        def noted(call: Call) -> Call:
            self.call = fit(call)
            return self.call

        return noted


class RecordingPool(ServerPool):
    """Sessions to servers; each call and its answer is written to a file.

    It is written when a run has ended, however it did, and when the pool is closed.

    Raises:
        WorkflowError: The file cannot be written, or is something else than a recording.
    """

    uses_memo = False  # a replay needs each call

    def __init__(
        self, servers: Mapping[str, Server], lock: Lockfile | None, path: str | Path
    ) -> None:
        super().__init__(servers, lock)
        self._path = Path(path)
        check_replaceable(self._path)
        self._made: list[_Made] = []
        self._asked: dict[str, None] = {}  # the servers that were to start
        self._called: dict[str, Tool] = {}  # by target, as they were then
        self._prompts: dict[str, list[Entry]] = {}
        self._replies: list[dict[str, Any]] = []
        self._run: dict[str, Any] = {}
        self._is_timed = self._is_new = False
        self._saving = anyio.Lock()

    async def __aexit__(self, *raised: Any) -> None:
        await super().__aexit__(*raised)
        with anyio.CancelScope(shield=True):
            await self._save()

    async def open(
        self, names: Iterable[str], announce: OnEvent = lambda _: None, priority: Priority = FIRST
    ) -> None:
        """Open these servers; see `ServerPool`."""
        named = list(names)
        self._asked |= dict.fromkeys(named)
        await super().open(named, announce, priority)

    async def offered(self, server: str, kind: Kind) -> list[Entry] | None:
        """What a server lists of a kind; see `ServerPool`."""
        found = await super().offered(server, kind)
        if kind == "prompts":
            self._prompts[server] = found or []
        return found

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """Make a call, and note how it ends; see `ServerPool`."""
        attempt = attempt or Attempt()
        made, fit = _Made(call), attempt.fit
        self._made.append(made)
        self._is_new = True
        if fit is not None:
            attempt.fit = made.fitted(fit)
        try:
            output = await super().call(call, attempt)
        except CallError as error:
            made.answer = {"error": _error(error.error)}
            raise
        except Exception as bug:
            made.answer = {"error": _error(error_of(bug))}
            raise
        else:
            made.answer = {"output": output} | ({"wrapped": True} if attempt.wrapped else {})
            return output
        finally:
            made.took_s = anyio.current_time() - made.began_at
            if fit is not None:
                attempt.fit = fit
            if (tool := self.catalog.listed(call.server).get(call.tool)) is not None:
                self._called[tool.target] = tool

    def settings_of(self, settings: RunSettings) -> RunSettings:
        """The settings of a run, which tells what people reply."""
        return replace(settings, on_reply=self._note_reply)

    def _note_reply(self, question: Question, reply: Reply) -> None:
        if question.kind in ("ask", "approve"):
            said = {"refused": True} if reply.refused else {"answer": reply.value}
            self._replies.append({"task": question.where, "kind": question.kind, **said})

    @asynccontextmanager
    async def noting(self, run: Run, inputs: Mapping[str, Any]) -> AsyncIterator[None]:
        """Write the file when the block ends in which a run is executed."""
        try:
            yield
        finally:
            if (result := run.result) is not None:
                self._run = {"id": result.run_id, "started_at": result.started_at}
                self._run |= {"workflow": result.workflow, "inputs": dict(inputs)}
                self._is_new = True
                is_timed = result.reason is not None or _depends_on_time(result.tasks.values())
                self._is_timed = self._is_timed or is_timed
            with anyio.CancelScope(shield=True):
                run.not_kept = await self._save() or run.not_kept

    async def _save(self) -> str:
        """Write the file if it would have something new; returns why it cannot be written."""
        async with self._saving:  # of two runs that end, the second one writes the calls of both
            if not self._is_new:
                return ""
            self._is_new = False
            made, known = list(self._made), self._known()
            try:
                await to_thread.run_sync(lambda: save(self._document(made, known), self._path))
            except OSError as error:
                self._is_new = True
                why = f"the recording {self._path} cannot be written: {error.strerror or error}"
                logger.warning("%s", why)
                return why
        return ""

    def _known(self) -> dict[str, Any]:
        """What is known of the servers that were to start."""
        return {name: self._server(self.servers[name]) for name in sorted(self._asked)}

    def _server(self, server: Server) -> dict[str, Any]:
        kept = server.model_dump(mode="json", include=set(SETTINGS), exclude_defaults=True)
        found: dict[str, Any] = {"settings": kept} if kept else {}
        tools = {tool.name: tool for tool in self._called.values() if tool.server == server.name}
        tools |= self.catalog.listed(server.name)
        if not tools and (failure := self.failure(server.name)) is not None:
            return found | {"failure": _error(failure)}
        found["tools"] = {name: definition_of(tool) for name, tool in sorted(tools.items())}
        prompts = self._prompts.get(server.name)
        return found if prompts is None else found | {"prompts": prompts}

    def _document(self, made: list[_Made], known: dict[str, Any]) -> dict[str, Any]:
        forms = secrets_in(self.servers.values())
        calls: dict[Key, list[tuple[_Made, dict[str, Any]]]] = {}
        for each in made:
            call, answer = each.call, each.answer
            if self._is_timed and round(each.took_s, 3) and "no_answer" not in answer:
                answer = answer | {"after_s": round(each.took_s, 3)}
            target, arguments, answer = redact((call.target, arguments_of(call), answer), forms)
            calls.setdefault(key_of(call.kind, target, arguments), []).append((each, answer))
        run = {"run": redact(self._run, forms)} if self._run else {}
        # Sorted, so that what changed is all that differs from an earlier recording.
        ordered = [_entry(key, calls[key]) for key in sorted(calls)]
        document = {"version": VERSION, **run, "servers": redact(known, forms), "calls": ordered}
        if self._replies:
            replies = sorted(self._replies, key=lambda each: (each["task"], each["kind"]))
            document["replies"] = redact(replies, forms)
        return document


def _depends_on_time(parts: Iterable[TaskResult | ItemResult]) -> bool:
    """Whether something was ended, or not begun, because of how long other things took."""
    for part in parts:
        match part.outcome:
            case Cancelled():
                return True
            case Skipped(by_condition=False) if isinstance(part, ItemResult):
                return True
        if part.error is not None and "deadline_s" in part.error.details:
            return True
        inside = (*(part.tasks or {}).values(), *(getattr(part, "items", None) or ()))
        if _depends_on_time(inside):
            return True
    return False


def _entry(key: Key, made: list[tuple[_Made, dict[str, Any]]]) -> dict[str, Any]:
    """A call and its answers, those of each task together."""
    kind, target, arguments = key
    given = {} if kind == "read" else {"arguments": json.loads(arguments)}
    made = sorted(made, key=lambda each: (each[0].call.task, each[0].call.item or 0))
    answers, callers = [answer for _, answer in made], [each.call.where for each, _ in made]
    if len(set(callers)) > 1 and any(answer != answers[0] for answer in answers):
        answers = [answer | {"task": who} for answer, who in zip(answers, callers, strict=True)]
    return {kind: target, **given, "answers": answers}


def _error(error: TaskError) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": error.kind, "message": error.message}
    if error.retryable is not (error.kind in RETRYABLE_KINDS):
        found["retryable"] = error.retryable
    return found | ({"details": dict(error.details)} if error.details else {})
