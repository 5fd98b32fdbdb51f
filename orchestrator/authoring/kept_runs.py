"""Reads the calls of runs that a journal keeps.

The journal keeps answers, and no arguments: these are what the plan makes of the answers, so it
runs once more, and each call gets the answer that it got then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import anyio

from orchestrator.authoring.reads import planned
from orchestrator.authoring.transcript import ToolCall, Transcript
from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.text import counted
from orchestrator.durable import workflow_of
from orchestrator.engine.outcome import Success, outcome_from_dict
from orchestrator.engine.question import Question
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import CallError, Problem, RefusedError, WorkflowError
from orchestrator.journal.history import find, runs
from orchestrator.journal.kept import KeptDocuments, check_outputs, documents_of
from orchestrator.journal.location import Location
from orchestrator.journal.records import Key
from orchestrator.recordings.clock import INSTANT

_MANY = 100_000  # runs: more than any journal keeps


def transcript_of(
    journal: Location, named: Iterable[str] = (), since: float | None = None
) -> Transcript:
    """The calls of runs in the order in which they were made, the earliest run first.

    Args:
        journal: The journal.
        named: The runs, each by its id, the beginning of one, or `last`.
        since: All other runs that began since then, too, seconds since 1970.

    Raises:
        JournalError: There is no such run, or its outputs were not kept.
        WorkflowError: No call succeeded.
    """
    chosen = {find(journal, each).id for each in named}
    if since is not None:
        chosen |= {each.id for each in runs(journal, limit=_MANY) if each.started >= since}
    found = Transcript([], [], {})
    for run in sorted(chosen):  # ids sort by time
        kept = documents_of(journal, run)
        check_outputs(run, kept.request)
        of_run = _Again(run, kept).transcript()
        found = Transcript(
            [*found.calls, *of_run.calls],
            [*found.failed, *of_run.failed],
            {**found.annotations, **of_run.annotations},
        )
    if not found.calls:
        message = f"no call that succeeded in {counted(len(chosen), 'run')}"
        raise WorkflowError(str(journal), [Problem("wrong_value", message)])
    return found


class _Again:
    """A run that is run once more, with the answers that it got."""

    def __init__(self, run: str, kept: KeptDocuments) -> None:
        self._run, self._request, self._records = run, kept.request, kept.records
        self._calls: list[tuple[float, int, ToolCall]] = []
        self._failed: list[str] = []
        self._workflow = workflow_of(self._request["workflow"])
        added = any(key.kind == "added" for key in self._records)
        self._grew = added or bool(self._request.get("grew"))

    def transcript(self) -> Transcript:
        """Its calls in the order in which they were made then."""
        told, inputs = self._request["settings"], self._request["inputs"]
        settings = RunSettings(
            schedule=told["schedule"],
            max_run_mb=0,
            run_id=self._run,
            started_at=told["started_at"],
            answer=self._reply,
        )

        async def execute() -> None:
            await Run(self._workflow, self._answer, settings, inputs=inputs).execute()

        anyio.run(execute, **INSTANT)
        calls = [call for _, _, call in sorted(self._calls, key=lambda each: each[:2])]
        return Transcript(calls, self._failed, self._declared())

    def _declared(self) -> dict[str, Mapping[str, Any]]:
        tools = [key for key in self._records if key.kind == "tool"]
        return {
            key.path: {"readOnlyHint": self._records.payload(key)["read_only"]} for key in tools
        }

    async def _answer(self, call: Call, attempt: Attempt) -> Any:
        document = self._kept(call)
        outcome = None if document is None else outcome_from_dict(document)
        if document is None or not isinstance(outcome, Success) or call.kind != "tool":
            self._failed.append(call.target)
            if isinstance(outcome, Success):
                return outcome.output
            raise CallError("not_recorded", f"{call.where} has no answer in the journal")
        attempt.wrapped = bool(document.get("wrapped"))
        where = planned(self._workflow.plan, call, self._run, grew=self._grew)
        made = ToolCall(call.target, call.arguments, outcome.output, where)
        self._calls.append((document["started_ms"] or 0.0, len(self._calls), made))
        return outcome.output

    def _kept(self, call: Call) -> dict[str, Any] | None:
        """What is kept of the end of a call: by itself, or as that of its item or task."""
        own = Key.of("answer", call, call.turn)
        whole = Key("task", call.task) if call.item is None else Key("item", call.task, call.item)
        for key in (own, whole):
            if key in self._records:
                return self._records.payload(key)
        return None

    def _reply(self, question: Question) -> Any:
        reply = self._records.reply(question)
        if reply is not None and reply.refused:
            raise RefusedError
        return None if reply is None else reply.value
