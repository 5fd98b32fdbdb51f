"""`orchestrator show`, `resume`, `retry`, `cancel` and `runs prune`: the runs in the journal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.cli import FAILED, WRONG
from orchestrator.cli.diagnostics import complain, tell
from orchestrator.cli.history import configured, path_of, size_of, worker_command
from orchestrator.cli.kept_run import NamedRun
from orchestrator.cli.pool import pool_of
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import lock_of, read_servers, servers_for, servers_if_any
from orchestrator.cluster.waiting import why
from orchestrator.documents.text import counted
from orchestrator.errors import ConfigError, UnknownTaskError, WorkflowError
from orchestrator.journal import history
from orchestrator.journal.asked import wants
from orchestrator.journal.history import INTERRUPTED, PAUSED, QUEUED, RUNNING, KnownRun, parts
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept import (
    KeptDocuments,
    check_complete,
    documents_of,
    kept_request,
    planned,
)
from orchestrator.journal.kept_run import ask_to_end, take_back
from orchestrator.journal.location import Location
from orchestrator.journal.orders import Order, asked_of, is_submitted
from orchestrator.journal.store import UnreadableError
from orchestrator.servers.config import JournalTable, ServerTable
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.engine.question import Question
    from orchestrator.servers.config import Server


def journal_for(options: argparse.Namespace, servers: Mapping[str, Server]) -> Journal | None:
    """What keeps the run of a command; None with `--no-journal`."""
    if options.no_journal:
        return None
    return journal_of(options, _table_of(servers))


def journal_path(options: argparse.Namespace, servers: Mapping[str, Server]) -> Location:
    """Where the journal is of a command that keeps no run, and has no option for it."""
    asked = argparse.Namespace(journal=None, servers=options.servers)
    return path_of(asked, _table_of(servers))


def journal_of(
    options: argparse.Namespace,
    table: JournalTable,
    warn: Callable[[str], None] | None = complain,
) -> Journal:
    """The journal that the options name, or the table, which says what is kept in it."""
    return Journal(
        path_of(options, table),
        keep_days=table.keep_days,
        keep_runs=table.keep_runs,
        outputs=table.outputs,
        warn=warn,
    )


def _table_of(servers: Mapping[str, Server]) -> JournalTable:
    return servers.journal if isinstance(servers, ServerTable) else JournalTable()


def prune(options: argparse.Namespace) -> int:
    """`orchestrator runs prune`."""
    journal = journal_of(options, configured(options) or JournalTable())
    old = journal.prune(dry_run=options.dry_run)
    for run in old:
        write(f"{run}\n")
    what = "would be deleted" if options.dry_run else "deleted"
    print(f"{counted(len(old), 'run')} {what}; {size_of(journal.location)}", file=sys.stderr)
    return 0


def show(options: argparse.Namespace) -> int:
    """`orchestrator show`: the result of a run, or of one task of it."""
    path = path_of(options, configured(options))
    if (run := history.find(path, options.run)).kind == history.PART:
        from orchestrator.cli.parts import show_part

        return show_part(options, path, run)
    named = NamedRun(run, documents_of(path, run.id), path)
    kept = named.kept
    tasks = {task: result.to_dict() for task, result in named.tasks.items()}
    if options.task is not None:
        found = tasks.get(options.task) or _inside(options.task, kept)
        if found is None:
            raise UnknownTaskError(_no_task(options.task, kept))
        write_json(found)
        return 0
    waits = why(path, run, worker_command(options)).text
    order = asked_of(path, [run]).get(run.id, Order())
    asks = {"order": order.to_dict(), "waits": waits}
    more = {name: value for name, value in asks.items() if value}
    if kept.result is None:
        asked = kept.records.questions()
        write_json(_so_far(named, asked, more))
        _tell_how(named, asked, waits, order)
        return 0
    document = kept.result | {"tasks": tasks} | more
    if options.json or not planned(kept.request):  # a plan that was lost before its first task
        write_json(document)
        return 0
    from orchestrator.cli.tables import print_result

    write_json(document["output"])
    print_result(named.result, named.workflow)
    _tell_how(named, kept.records.questions(), waits, order)
    return 0


def _so_far(named: NamedRun, asked: list[Question], more: dict[str, Any]) -> dict[str, Any]:
    """What there is of a run that has not ended."""
    run, records = named.run, named.kept.records
    tasks = {task: result.to_dict() for task, result in named.tasks.items()}
    about = {"run_id": run.id, "workflow": run.workflow, "status": run.status}
    document: dict[str, Any] = about | {"tasks": tasks}
    document["questions"] = [each.to_dict() for each in asked]
    document |= more
    document |= {"items_settled": records.items_under_way()}
    if carried := parts(named.journal, run.id):
        document["parts"] = {each.id: each.status for each in carried}
    if lost := records.lost():
        document["lost"] = lost
        complain(f"processes that failed while they carried it: {', '.join(lost)}")
    return document


def _tell_how(named: NamedRun, asked: list[Question], waits: str, order: Order) -> None:
    """Say how to go on with a run that has not ended."""
    run = named.run
    if asks := wants(order):
        complain(f"it was submitted with {', '.join(asks)}")
    if waits:
        complain(f"it waits: {waits}")
    if not asked and run.status not in (INTERRUPTED, PAUSED):
        return
    by_worker = is_submitted(named.journal, run.id)
    if asked:
        from orchestrator.cli.asking import waiting

        print(waiting(run.id, asked, kept=True, by_worker=by_worker), file=sys.stderr)
        return
    is_interrupted = run.status == INTERRUPTED
    so_far = "no process carries this run" if is_interrupted else "its questions are answered"
    goes_on = f'"orchestrator resume {run.id}" goes on with it'
    if not (by_worker and waits):
        complain(f"{so_far}: {'a worker goes on with it' if by_worker else goes_on}")


def _inside(path: str, kept: KeptDocuments) -> dict[str, Any] | None:
    """The part of the result for a task inside others, or an item: `outer[3]/inner`, `task[3]`."""
    task, _, index = path.removesuffix("]").rpartition("[")
    if path.endswith("]") and index.isdecimal():
        item = kept.records.item(task, int(index), {})
        return None if item is None else item.to_dict() | {"output": item.output}
    within, _, task = path.rpartition("/")
    result = kept.records.settled(within and f"{within}/", {}).get(task)
    return None if result is None else result.to_dict()


def _no_task(task: str, kept: KeptDocuments) -> str:
    from orchestrator.documents.suggest import did_you_mean
    from orchestrator.documents.text import quoted

    tasks = planned(kept.request)
    if task in tasks:
        return f"task {quoted(task)} has not settled"
    return f"unknown task {quoted(task)}{did_you_mean(task, tasks)}"


def resume(options: argparse.Namespace) -> int:
    """`orchestrator resume`."""
    return _as_it_was(options)


def retry(options: argparse.Namespace) -> int:
    """`orchestrator retry`."""
    return _as_it_was(options)


def _as_it_was(options: argparse.Namespace) -> int:
    try:
        return _again(options)
    except WorkflowError as error:
        tell(options, error)
        if any(each.code in ("unknown_tool", "unknown_server") for each in error.problems):
            other = f'"orchestrator fork {options.run} --file FILE" goes on with another plan'
            complain(f'{other}, "orchestrator cancel {options.run}" ends the run')
        return WRONG


def fork(options: argparse.Namespace) -> int:
    """`orchestrator fork`."""
    return _again(options)


def _again(options: argparse.Namespace) -> int:
    from orchestrator.cli.run import run_workflow
    from orchestrator.client import Orchestrator
    from orchestrator.durable import workflow_of

    path = path_of(options, configured(options))
    run = history.find(path, options.run)
    inputs: dict[str, Any] = {}
    if options.command == "fork" and options.file is not None:
        workflow = Workflow.load(options.file)
    else:
        request = kept_request(path, run.id)
        check_complete(run.id, request)
        workflow = workflow_of(request["workflow"])
    if options.command == "fork":
        from orchestrator.cli.values import inputs_of

        inputs = inputs_of(options, workflow.inputs.get)
    servers = servers_for(options, workflow)
    options.run, options.no_journal = run.id, False
    options.dry_run, options.statistics = False, False
    orchestrator = Orchestrator(
        pool_of(options, servers, lock_of(options)), journal=journal_for(options, servers)
    )
    return run_workflow(options, workflow, inputs, orchestrator)


def cancel(options: argparse.Namespace) -> int:
    """`orchestrator cancel`: ends a run, here if no process carries it."""
    path = path_of(options, configured(options))
    run = history.find(path, options.run)
    if run.status in history.OPEN and run.kind == history.PART:
        from orchestrator.cli.parts import end_part

        end_part(path, run)
    elif run.status in history.OPEN:
        try:
            _end_here(options, path, run)
        except UnreadableError as error:  # nor can its finally be
            complain(error)
            take_back(path, run.id, RUNNING if run.status == INTERRUPTED else run.status)
    elif run.status != RUNNING:
        complain(f"run {run.id} has ended with status {run.status}")
        return FAILED
    else:
        ask_to_end(path, run.id)
        ends_by = time.monotonic() + options.wait
        while time.monotonic() < ends_by and run.status in (RUNNING, INTERRUPTED):
            time.sleep(0.1)
            run = history.find(path, run.id)
        if run.status in (RUNNING, INTERRUPTED):
            complain("the process that carries it has not ended it yet: it does when it goes on")
        elif run.status in (QUEUED, PAUSED):  # it could not begin there, or pauses
            options.run = run.id
            return cancel(options)
    status = history.find(path, run.id).status
    print(f"run {run.id}: {status}", file=sys.stderr)
    return 0 if status == "cancelled" else FAILED


def _end_here(options: argparse.Namespace, path: Location, run: KnownRun) -> None:
    """End a run that no process carries: the tasks of its finally run in this one."""
    from orchestrator.cli.exporting import exporting
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.durable import workflow_of
    from orchestrator.preflight import check_end

    asked, has_begun = kept_request(path, run.id)["workflow"], run.status != QUEUED
    try:
        workflow = workflow_of(asked)
    except WorkflowError as error:
        why = f"the workflow of run {run.id} cannot be read, so its finally does not run"
        raise UnreadableError(f"{why}: {error.problems[0].message}") from None
    last = workflow.plan.closing(inside=has_begun)
    try:
        needed = any(each.servers for each in last)
        servers = read_servers(options) if needed else servers_if_any(options)
        pool = pool_of(options, servers, lock_of(options))
        check_end(workflow, pool, has_begun=has_begun)
    except (ConfigError, WorkflowError):
        complain(f"run {run.id} is not cancelled: its finally calls servers that have to be here")
        raise
    journal = journal_of(options, _table_of(servers))

    async def end() -> None:
        async with Orchestrator(pool, journal=journal) as orchestrator:
            await orchestrator.end(run.id)

    with exporting():
        in_event_loop(end)
