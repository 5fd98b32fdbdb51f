"""One run, as the page shows it: its tasks, how far each has come, and what it waits for.

A view is of one level: the tasks of the workflow, or those inside of a task, such as `outer[3]/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.durable import workflow_of
from orchestrator.engine.question import Question
from orchestrator.errors import JournalError, UnknownTaskError
from orchestrator.expressions.references import TASK_ID
from orchestrator.journal import glance, history, live
from orchestrator.journal.hiding import mask
from orchestrator.journal.history import OPEN, RUNNING, KnownRun, reading
from orchestrator.journal.kept import check_whole, records_of, request_of
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

_RESULT = "select request, {result} from run where id=?"
LEVEL = re.compile(rf"({TASK_ID})(?:\[([0-9]+)\])?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for.

    Attributes:
        request: The document that is kept.
        workflow: Its workflow; None if its plan grows and has no task yet.
    """

    request: Mapping[str, Any]
    workflow: Workflow | None

    def plan(self, within: str = "") -> Plan | None:
        """The plan of a level. Raises `UnknownTaskError` if there is no such level."""
        workflow = self.workflow
        for level in within.split("/")[:-1]:
            task = None if workflow is None else task_of(workflow.plan, level)[0]
            if task is None or task.inner is None:
                raise UnknownTaskError(f"task {quoted(level)} has no tasks inside")
            workflow = task.inner
        return None if workflow is None else workflow.plan


def task_of(plan: Plan, level: str) -> tuple[TaskPlan, int | None]:
    """The task of a step of a path, such as `fetch[3]`, and the item. Raises `UnknownTaskError`."""
    found = LEVEL.fullmatch(level)
    name = level if found is None else found[1]
    if found is None or name not in plan.tasks:
        raise UnknownTaskError(f"unknown task {quoted(name)}{did_you_mean(name, plan.tasks)}")
    return plan.tasks[name], None if found[2] is None else int(found[2])


@lru_cache(maxsize=8)
def _loaded(text: str) -> Asked:
    request: dict[str, Any] = json.loads(mask(text))
    has_tasks = bool(request["workflow"]["tasks"])
    return Asked(request, workflow_of(request["workflow"]) if has_tasks else None)


def asked_of(db: Database, run: str) -> Asked:
    """What a run that there is was asked for."""
    query = "select request, origin from run where id=?"
    text, origin = db.execute(query, (run,)).fetchone()
    check_whole(run, origin, text)
    return _asked(db, run, text)


def _asked(db: Database, run: str, text: str) -> Asked:
    asked = _loaded(text)
    if asked.workflow is None:
        grown = request_of(text, lambda: records_of(db, run, "and kind='added'"))
        return _loaded(to_json(grown)) if grown["workflow"]["tasks"] else asked
    return asked


def plan_of(journal: Location, run: KnownRun, within: str = "") -> Plan | None:
    """The plan of a level; None if it has no task yet. Raises as `snapshot` does."""
    with reading(journal) as db:
        return asked_of(db, run.id).plan(within)


def inputs_of(journal: Location, run: KnownRun) -> dict[str, Any]:
    """The inputs of a run: the `schemas` of all that there are, and the `values` of this run."""
    with reading(journal) as db:
        asked = asked_of(db, run.id)
    schemas = {} if asked.workflow is None else dict(asked.workflow.inputs)
    return {"schemas": schemas, "values": asked.request["inputs"]}


def snapshot(journal: Location, run: KnownRun, within: str = "") -> dict[str, Any]:
    """All that the page shows of a level of a run at first.

    Raises:
        JournalError: The journal cannot be read.
        UnknownTaskError: There is no such level.
    """
    live.watch(journal, run.id)
    with reading(journal) as db:
        query = _RESULT.format(result=db.sql.without("result", "output"))
        text, result = db.execute(query, (run.id,)).fetchone()
        moment = glance.moment(db, run.id)
        asked = _asked(db, run.id, text)
        states = glance.states(db, run.id, within)
        questions = glance.questions(db, run.id)
    plan = asked.plan(within)
    return {
        "run": _header(run, asked, json.loads(mask(result)) if result else {}),
        "within": within,
        "tasks": [] if plan is None else [_task(task) for task in plan.tasks.values()],
        "states": states,
        "questions": shown(questions),
        "moment": moment,
        "silent": run.status == RUNNING and not live.beats(journal, run.id),
        **activity(journal, run.id, within),
    }


def _header(run: KnownRun, asked: Asked, result: Mapping[str, Any]) -> dict[str, Any]:
    settings = asked.request["settings"]
    schedule = settings["schedule"] or getattr(asked.workflow, "schedule", None)
    keeps = asked.request.get("outputs", True)
    names = ("error", "reason", "startup_ms", "speedup", "summary")
    return (
        run.to_dict()
        | {name: result.get(name) for name in names}
        | {
            "description": getattr(asked.workflow, "description", None),
            "schedule": schedule,
            "has_result": bool(result),
            "keeps_outputs": keeps,
            "inputs": list(asked.request["inputs"]),
            "can": {
                "cancel": run.status == RUNNING or run.status in OPEN,
                "resume": run.status in OPEN and keeps,
                "retry": run.status not in (RUNNING, *OPEN)
                and keeps
                and asked.workflow is not None,
                "fork": keeps and asked.workflow is not None,
            },
        }
    )


def _task(task: TaskPlan) -> dict[str, Any]:
    return {
        "id": task.id,
        "kind": task.kind,
        "target": f"{task.server}:{task.tool}" if task.is_request else task.kind,
        "generation": task.generation,
        "after": list(task.dependencies),
        "each": task.policies.for_each is not None,
        "inner": task.inner is not None,
    }


def shown(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """Questions as the page shows them."""
    return [each.to_dict() for each in questions]


def activity(journal: Location, run: str, within: str) -> dict[str, Any]:
    """What a run does now: its calls by the task of a level that they belong to.

    `calls` is how many servers work on; those that wait are in `active` alone.
    """
    seen = live.seen(journal, run)
    if seen is None:
        return {"active": None, "at_ms": None, "calls": None, "items": {}, "left": {}}
    active: dict[str, dict[str, Any]] = {}
    for call in seen["running"]:
        path = call["task"] if call["item"] is None else f"{call['task']}[{call['item']}]"
        if not path.startswith(within):
            continue
        name, item = _first(path[len(within) :])
        of_task = active.setdefault(
            name, {"calls": 0, "waiting": 0, "since_ms": None, "attempt": 0, "items": {}}
        )
        of_task["waiting" if call["waiting_for"] else "calls"] += 1
        of_task["attempt"] = max(of_task["attempt"], call["attempt"])
        of_task["waiting_for"] = call["waiting_for"]
        of_task["progress"] = call.get("progress")
        since_ms = call["since_ms"]
        if since_ms is not None:
            begun = of_task["since_ms"]
            of_task["since_ms"] = since_ms if begun is None else min(begun, since_ms)
        if item is not None:
            of_task["items"][item] = [since_ms, call["waiting_for"]]
    items = {
        path[len(within) :]: counts
        for path, counts in seen.get("items", {}).items()  # of a process of an earlier version none
        if path.startswith(within) and "/" not in path[len(within) :]
    }
    in_flight = sum(seen["by_server"].values())
    of_run = {"at_ms": seen["at_ms"], "calls": in_flight, "left": seen.get("left", {})}
    return {"active": active, "items": items, **of_run}


def _first(path: str) -> tuple[str, int | None]:
    found = LEVEL.match(path)
    if found is None:
        return path, None
    return found[1], None if found[2] is None else int(found[2])


class Watch:
    """Looks at a level of a run again and again.

    Args:
        journal: The file.
        run: The run.
        within: The level.
        moment: What was written after it is new.
    """

    def __init__(self, journal: Location, run: str, within: str, moment: str) -> None:
        self._journal, self._run, self._within = journal, run, within
        self.moment = moment
        self._row: tuple[Any, ...] | None = None
        self._asked: list[dict[str, Any]] | None = None
        self._sent: dict[str, dict[str, Any]] = {}
        self._sign: object = None
        self._is_gone = False
        self._trouble = ""

    def look(self) -> dict[str, Any] | None:
        """What has changed since the last look, or why that cannot be told; None if nothing has."""
        try:
            found = self._look()
        except JournalError as error:
            self._sign, before, self._trouble = None, self._trouble, str(error)
            return None if self._trouble == before else {"trouble": self._trouble}
        if self._trouble:
            self._trouble, found = "", {"trouble": "", **(found or {})}
        return found

    def _look(self) -> dict[str, Any] | None:
        live.watch(self._journal, self._run)
        beats = live.beats(self._journal, self._run)
        sign = beats, store_of(self._journal).sign(self._run)
        if sign == self._sign or self._is_gone:
            return None
        self._sign = sign
        change = activity(self._journal, self._run, self._within)
        with reading(self._journal) as db:
            query = "select status, resumed, length(request) from run where id=?"
            row = db.execute(query, (self._run,)).fetchone()
            if row is None:  # it was deleted
                self._is_gone = True
                return {"gone": True}
            if row[0] == RUNNING and not beats:
                row = (history.find(self._journal, self._run).status, *row[1:])
            if self._row is not None and row != self._row:
                change["reload"] = True
            self._row = row
            self._add(db, change)
        return change | {"status": row[0], "silent": row[0] == RUNNING and not beats}

    def _add(self, db: Database, change: dict[str, Any]) -> None:
        found = glance.changes(db, self._run, self.moment)
        self.moment = found.moment
        if not found.paths:
            return
        names = {
            _first(path[len(self._within) :])[0]
            for path in found.paths
            if path.startswith(self._within) and path
        }
        states = glance.states(db, self._run, self._within, sorted(names))
        change["states"] = {n: each for n, each in states.items() if self._sent.get(n) != each}
        self._sent |= states
        if found.has_added or (self._within and self._within[:-1] in found.paths):
            change["reload"] = True  # what is inside of a task is forgotten when it begins anew
        asked = shown(glance.questions(db, self._run))
        if asked != self._asked:
            change["questions"] = self._asked = asked


def known(journal: Location, name: str) -> KnownRun:
    """The run with this id. Raises `JournalError`."""
    if not name.isascii() or not name.isalnum():
        raise JournalError(f"unknown run {quoted(name)}")
    return history.find(journal, name)
