"""The tools about runs: `run_status`, `cancel_run`, `answer_question` and `get_result`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from anyio import to_thread

from orchestrator.client import Orchestrator
from orchestrator.documents import jsonpath
from orchestrator.documents.jsonpath import PathSyntaxError, PlaceMissingError
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.engine.question import Question, Reply, one_of
from orchestrator.engine.questions import fitting
from orchestrator.engine.run import Run
from orchestrator.errors import AnswerError, JournalError, Problem, WorkflowError
from orchestrator.journal import answers, history
from orchestrator.journal.history import OPEN
from orchestrator.journal.kept import documents_of, kept_request, planned
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Location
from orchestrator.journal.orders import is_submitted
from orchestrator.serve.answers import Answer, Asked
from orchestrator.serve.carried import Carried
from orchestrator.serve.inline import preview, size_of
from orchestrator.serve.plans import Plans
from orchestrator.serve.results import fitted, light

_LATEST = 10
_LISTER = "run_status without run_id lists the latest"
_PARTS = "; a path names one place: offset and limit give a slice, projection filters"
_INTERRUPTED = (
    "its process ended before it did. No tool here goes on with it: the user can, on the command "
    'line, with "orchestrator resume {}"; cancel_run ends it'
)
_BY_WORKER = "its process ended before it did. A worker goes on with it; cancel_run ends it"
_HELD = "no journal is kept, so only the latest runs of this process are known"


class RunTools:
    """Asks about runs, those of other processes too if there is a journal."""

    def __init__(self, engine: Orchestrator, carried: Carried, plans: Plans, limit: int) -> None:
        self._engine, self._carried, self._plans = engine, carried, plans
        self._limit = limit

    @property
    def active(self) -> Mapping[str, Run]:
        """The runs that have not ended, by id."""
        return self._carried.active

    async def status(self, asked: Asked) -> Answer:
        """`run_status`."""
        if "run_id" not in asked.arguments:
            return Answer({"runs": await to_thread.run_sync(self._latest)})
        run_id = asked.arguments["run_id"]
        if (run := self._carried.active.get(run_id)) is not None:
            state = run.status()
            document: dict[str, Any] = {"run_id": run_id, "status": history.RUNNING}
            document |= {"settled": state.settled, "total": state.tasks}
            document["running"] = [
                {"task": each.task, "tool": each.target} for each in state.running[:_LATEST]
            ]
            if questions := run.questions:
                document["questions"] = [each.to_dict() for each in questions]
            return Answer(fitted(self._engine.hide(document), self._limit))
        document = await self._document(run_id)
        document = light(document, with_outputs=False)
        for task in document["tasks"].values():
            task.pop("output", None)
        document.pop("output", None)
        if document["status"] == history.INTERRUPTED:
            document["note"] = await to_thread.run_sync(self._how, document["run_id"])
        return Answer(fitted(self._engine.hide(document), self._limit))

    def _how(self, run_id: str) -> str:
        """How a run goes on whose process has ended."""
        journal = self._engine.journal_location
        if journal is not None and is_submitted(journal, run_id):
            return _BY_WORKER
        return _INTERRUPTED.format(run_id)

    def _latest(self) -> list[dict[str, Any]]:
        active = {run: {"run_id": run, "status": history.RUNNING} for run in self._carried.active}
        if (path := self._engine.journal_location) is None:
            return [*active.values(), *self._carried.latest(_LATEST)]
        return [
            {"run_id": run.id, "workflow": run.workflow, "status": run.status}
            for run in history.runs(path, limit=_LATEST)
        ]

    async def cancel(self, asked: Asked) -> Answer:
        """`cancel_run`."""
        run_id = asked.arguments["run_id"]
        if (run := self._carried.active.get(run_id)) is not None:
            run.cancel("cancelled by cancel_run")
            return Answer({"run_id": run_id, "status": "cancelling"})
        document = await self._document(run_id)
        run_id, status = document["run_id"], document["status"]
        if (path := self._engine.journal_location) is not None:
            if status == history.RUNNING:
                ask_to_end(path, run_id)
                return Answer({"run_id": run_id, "status": "cancelling"})
            if status in OPEN:
                result = await self._engine.end(run_id, "cancelled by cancel_run")
                return Answer({"run_id": run_id, "status": result.status})
        why = "no journal keeps it" if status in OPEN else f"it has ended with status {status}"
        error = {"message": f"run {run_id} is not running: {why}"}
        return Answer({"run_id": run_id, "status": status, "error": error}, True)

    async def answer(self, asked: Asked) -> Answer:
        """`answer_question`: gives the answer, and goes on with the run unless workers do."""
        run_id, task = asked.arguments["run_id"], asked.arguments["task"]
        item, every = asked.arguments.get("item"), bool(asked.arguments.get("all_items"))
        if (run := self._carried.active.get(run_id)) is not None:
            reply = _reply(asked, one_of(run.questions, task, item, all_items=every))
            if reply.refused:
                run.refuse(task, item=item, all_items=every)
            else:
                run.answer(task, reply.value, item=item, all_items=every)
            return Answer({"run_id": run_id, "status": history.RUNNING, "answered": task})
        known = await self.put(run_id, asked)
        if await to_thread.run_sync(is_submitted, self._journal(known), known):
            document = {"run_id": known, "status": history.PAUSED, "answered": task}
            return Answer(document | {"note": "a worker goes on with the run; see run_status"})
        return await self.go_on(known, asked)

    async def put(self, run_id: str, asked: Asked) -> str:
        """Keep the answer to a question of a run that nobody carries; the id of the run.

        Raises:
            AnswerError: Nothing waits there, or the answer does not fit.
            JournalError: There is no such run.
        """
        path, given = self._journal(run_id), asked.arguments
        known = await to_thread.run_sync(history.find, path, run_id, _LISTER)
        if known.status not in OPEN:
            raise AnswerError(f"run {known.id} has status {known.status}: nothing waits in it")

        def put() -> None:
            of = path, known.id, given["task"], partial(_reply, asked), self._engine.hiding
            every = bool(given.get("all_items"))
            answers.answer(*of, item=given.get("item"), all_items=every)

        await to_thread.run_sync(put)
        return known.id

    async def go_on(self, run_id: str, asked: Asked) -> Answer:
        """Go on with a run that waits for nothing any more, or for less.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it.
        """
        begin = partial(self._resumed, run_id)
        result = await self._carried.carry(begin, asked)
        return self._plans.answer(result, has_output=False)

    def _resumed(self, run_id: str, options: Any) -> Any:
        return self._engine.resume(run_id, **options)

    async def result(self, asked: Asked) -> Answer:
        """`get_result`."""
        arguments = asked.arguments
        if arguments["run_id"] in self._carried.active:
            raise JournalError(f"run {arguments['run_id']} has not ended: see run_status")
        document = await self._document(arguments["run_id"])
        run_id, chosen = document["run_id"], dict[str, Any]()
        value: Any = document
        if (task := arguments.get("task")) is not None:
            chosen["task"] = task
            await self._check_settled(document, task)
            value = _output_of(document, task)
        elif not arguments.keys() & {"path", "projection", "offset", "limit"}:
            shown = light(document)
            return Answer(fitted(self._engine.hide(shown), self._limit))
        if path := arguments.get("path"):
            chosen["path"] = path
            value = _place(value, path)
        if (projection := arguments.get("projection")) is not None:
            value = await to_thread.run_sync(_projected, value, projection)
        page = _page(value, arguments.get("offset", 0), arguments.get("limit"), self._limit)
        return Answer(self._engine.hide({"run_id": run_id, **chosen, **page}))

    async def _document(self, run_id: str) -> dict[str, Any]:
        """The result document of a run, of which there may be only a part yet.

        Raises:
            JournalError: There is no such run.
        """
        kept = self._carried.document(run_id)
        if kept is not None and (
            kept["status"] not in OPEN or self._engine.journal_location is None
        ):
            return kept  # a run that waits may have gone on elsewhere
        return await to_thread.run_sync(_from_journal, self._journal(run_id), run_id)

    async def _check_settled(self, document: Mapping[str, Any], task: str) -> None:
        """Raises a `JournalError` if it is a task of the run that has not settled."""
        path, run_id = self._engine.journal_location, document["run_id"]
        if path is None or task in document["tasks"]:
            return
        if task in planned(await to_thread.run_sync(kept_request, path, run_id)):
            why = f"run {run_id} is {document['status']}"
            raise JournalError(f"task {quoted(task)} has not settled: {why}; see run_status")

    def _journal(self, run_id: str = "") -> Location:
        if (path := self._engine.journal_location) is None:
            raise JournalError(f"unknown run {quoted(run_id)}: {_HELD}")
        return path


def _from_journal(path: Location, run_id: str) -> dict[str, Any]:
    known = history.find(path, run_id, _LISTER)
    kept = documents_of(path, known.id)
    tasks = {task: result.to_dict() for task, result in kept.tasks.items()}
    document = kept.result or {"run_id": known.id, "workflow": known.workflow, "output": None}
    if known.status == history.PAUSED:
        document["questions"] = [each.to_dict() for each in kept.records.questions()]
    return document | {"status": known.status, "tasks": tasks}


def _reply(asked: Asked, question: Question) -> Reply:
    """The reply that the arguments of a call give to a question."""
    if asked.arguments.get("refuse"):
        return Reply(refused=True)
    if "value" in asked.arguments:
        return fitting(question, asked.arguments["value"])
    if "default" in (question.schema or {}):
        return Reply((question.schema or {})["default"])
    raise AnswerError('give a "value" that fits the schema of the question, or "refuse": true')


def _output_of(document: Mapping[str, Any], task: str) -> Any:
    tasks = document["tasks"]
    if task not in tasks:
        near = nearest(task, tasks)
        message = f"unknown task {quoted(task)}"
        raise WorkflowError("run", [Problem("unknown_task", message, "/task", None, near)])
    found = tasks[task]
    if found["status"] != "success" and found["output"] is None:
        return {name: found.get(name) for name in ("status", "error", "reason")}
    return found["output"]


def _place(value: Any, path: str) -> Any:
    text = path.removeprefix("$")
    text = text if text.startswith((".", "[")) else f".{text}"
    try:
        parsed, end = jsonpath.parse_path(text)
        if end < len(text):
            raise PathSyntaxError(f"{quoted(text[end:])} does not belong to a path")
        return jsonpath.follow(value, parsed)
    except (PathSyntaxError, PlaceMissingError) as error:
        problem = Problem("unknown_place", str(error).replace(jsonpath.IN_BRACES, _PARTS), "/path")
        raise WorkflowError("run", [problem]) from None


def _projected(value: Any, projection: str) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(projection, value)
    except JMESPathError as error:
        message = f"projection: {' '.join(str(error).split())}"
        raise WorkflowError("run", [Problem("wrong_expression", message, "/projection")]) from None


def _page(value: Any, offset: int, limit: int | None, room: int) -> dict[str, Any]:
    """A part of a value that fits: items of an array, or characters of a string."""
    if not isinstance(value, list | str):
        if size_of(value) <= room:
            return {"value": value}
        note = "too large: choose a part with path, or make a smaller one with projection"
        return {"value": preview(value, room), "note": note}
    end = len(value) if limit is None else min(len(value), offset + limit)
    part: Any = value[offset:end]
    if isinstance(value, str):
        part = part[: room // 2] if size_of(part) > room else part
    elif size_of(part) > room:
        part = _first(part, room)
    end = offset + len(part)
    page = {"value": part, "offset": offset, "total": len(value)}
    return page | ({"next_offset": end} if end < len(value) else {})


def _first(items: list[Any], room: int) -> list[Any]:
    """The first items that fit; at least one, if need be in part."""
    kept: list[Any] = []
    for item in items:
        room -= (size := size_of(item)) + 2
        if room < 0:
            break
        kept.append(item)
    return kept or [preview(items[0], room + size, size)]
