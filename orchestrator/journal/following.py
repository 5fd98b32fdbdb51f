"""The events of a run that another process carries, as far as the journal tells them.

That is what has settled, which is kept, and what its process tells while somebody looks.
"""

from __future__ import annotations

import re
from typing import Any

from orchestrator.engine.events import (
    Event,
    ItemSettled,
    ItemsStarted,
    OnEvent,
    QuestionAsked,
    RunSettled,
    RunStarted,
    TaskProgress,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.outcome import Outcome, outcome_from_dict
from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.journal import glance, history, live
from orchestrator.journal.glance import SettledPart
from orchestrator.journal.history import OPEN, PAUSED, QUEUED, RUNNING, KnownRun, reading
from orchestrator.journal.location import Address
from orchestrator.workflow.model import Workflow

_SAID = re.compile(r"(\S+)(?: of (\S+))? ?(.*)", re.DOTALL)
_Place = tuple[str, int | None]  # a task with its path, and an item


class Following:
    """Looks at a run in a database again and again, and tells what happened since.

    Args:
        journal: The database.
        run: The id of the run.
        workflow: Its workflow.
        tell: Receives the events. What a call did between two looks is not among them.

    Attributes:
        questions: Those that were open at the last look.
        is_answered: Whether the run was paused then, and has an answer with which it can go on.
    """

    def __init__(self, journal: Address, run: str, workflow: Workflow, tell: OnEvent) -> None:
        self._journal, self._run, self._workflow, self._tell = journal, run, workflow, tell
        self._moment, self._at_ms, self._has_begun = 0, 0.0, False
        self._calls: dict[_Place, dict[str, Any]] = {}
        self._loops: set[str] = set()
        self._settled: set[_Place] = set()
        self._asked: list[Question] = []
        self.questions: list[Question] = []
        self.is_answered = False

    def look(self) -> KnownRun:
        """How the run is; call it in a thread.

        Raises:
            JournalError: That cannot be read.
        """
        live.watch(self._journal, self._run)
        known = history.find(self._journal, self._run)
        if known.status == QUEUED:
            return known
        self._begin(known)
        if known.status == RUNNING and (seen := live.seen(self._journal, self._run)) is not None:
            self._see(seen)
        with reading(self._journal) as db:
            parts, self._moment = glance.settled(db, self._run, self._moment)
            asked = glance.questions(db, self._run) if known.status in (RUNNING, *OPEN) else []
            self.is_answered = known.status == PAUSED and glance.is_answered(db, self._run)
        if known.status == PAUSED:  # unless it goes on, in which case its answers count no more
            known = history.find(self._journal, self._run)
        self.questions = asked
        for part in parts:
            self._settle(part)
        for question in asked:
            if question not in self._asked:
                self._asked.append(question)
                self._tell(QuestionAsked(self._at_ms, question))
        return known

    def end(self, result: RunResult) -> None:
        """Tell how the run has ended."""
        self._tell(RunSettled(result.duration_ms, result))

    def _begin(self, known: KnownRun) -> None:
        if not self._has_begun:
            self._has_begun = True
            plan = self._workflow.plan
            about = self._run, known.workflow, self._workflow.schedule
            last = [] if plan.finally_ is None else list(plan.finally_.tasks)
            self._tell(RunStarted(0.0, *about, plan.sorted_generations, last))

    def _see(self, seen: dict[str, Any]) -> None:
        """Tell what calls do now."""
        self._at_ms = seen["at_ms"]
        for path, (_, items) in seen["items"].items():
            if path not in self._loops:
                self._loops.add(path)
                self._tell(ItemsStarted(self._at_ms, path, items))
        for call in seen["running"]:
            place = call["task"], call["item"]
            if place not in self._settled:
                before, self._calls[place] = self._calls.get(place, {}), call
                for event in self._events(*place, before, call):
                    self._tell(event)

    def _events(
        self, task: str, item: int | None, before: dict[str, Any], call: dict[str, Any]
    ) -> list[Event]:
        at_ms, what = self._at_ms, call["waiting_for"]
        if what:
            is_new = before.get("waiting_for") != what
            return [TaskWaiting(at_ms, task, item, what)] if is_new else []
        found: list[Event] = []
        if any(before.get(name) != call[name] for name in ("target", "attempt", "waiting_for")):
            server, _, tool = call["target"].partition(":")
            attempt, since_ms = max(1, call["attempt"]), call["since_ms"]
            began_ms = at_ms if since_ms is None else since_ms
            found.append(TaskStarted(began_ms, task, server, tool, None, attempt, 0.0, (), item))
        if (said := call["progress"]) and said != before.get("progress"):
            found.append(TaskProgress(at_ms, task, item, *_progress(said)))
        return found

    def _settle(self, part: SettledPart) -> None:
        task, item, state = part
        self._settled.add((task, item))
        measures = {name: state.get(name, 0) for name in ("attempts", "duration_ms", "waited_ms")}
        started_ms = state.get("started_ms")
        measures |= {"started_ms": started_ms, "cached": state.get("cached", False)}
        self._at_ms = max(self._at_ms, (started_ms or 0.0) + measures["duration_ms"])
        outcome = _outcome(state)
        if item is not None:
            self._tell(ItemSettled(self._at_ms, task, item, ItemResult(item, outcome, **measures)))
        else:
            result = TaskResult(task, outcome, None, **measures)
            self._tell(TaskSettled(self._at_ms, task, result))


def _outcome(state: dict[str, Any]) -> Outcome:
    error = state.get("error")
    shown = error and {**error, "retryable": False}
    return outcome_from_dict({**state, "output": None, "error": shown})


def _progress(said: str) -> tuple[float, float | None, str]:
    """What `live` says of the progress of a call, as an event has it."""
    found = _SAID.fullmatch(said)
    assert found is not None
    done, total, message = found.groups()
    return float(done), None if total is None else float(total), message
