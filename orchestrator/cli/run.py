"""`orchestrator run`: runs a workflow, and writes the result even after an interrupt."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import anyio

from orchestrator.cli import FAILED, WAITING, exit_code
from orchestrator.cli.asking import Terminal, terminal, waiting
from orchestrator.cli.diagnostics import complain, give_up_stdout, give_up_terminal, show
from orchestrator.cli.exporting import exporting, to_file
from orchestrator.cli.kept_run import Elsewhere
from orchestrator.cli.plan_warnings import PlanWarnings
from orchestrator.cli.signals import Ending, in_event_loop
from orchestrator.cli.streams import hidden, json_text, write_document, write_json
from orchestrator.client import Orchestrator
from orchestrator.documents.files import check_writable, unwritable
from orchestrator.documents.text import quoted
from orchestrator.durable import never
from orchestrator.engine.events import Observer
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import Problem
from orchestrator.observers.jsonl import JsonlWriter
from orchestrator.observers.progress_lines import ProgressLines
from orchestrator.run_request import RunOptions, new_settings
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.report.run_history import RunHistory
    from orchestrator.report.timing import Timing


def run_workflow(
    options: argparse.Namespace,
    workflow: Workflow,
    inputs: Mapping[str, Any],
    orchestrator: Orchestrator,
) -> int:
    """Run a workflow as the options say, write its result, and return the exit code."""
    return carry_out(CancellableRun, options, workflow, inputs, orchestrator)


def carry_out(
    kind: type[CancellableRun],
    options: argparse.Namespace,
    workflow: Workflow,
    inputs: Mapping[str, Any],
    orchestrator: Orchestrator,
) -> int:
    """Carry out a run of a kind, shown as the options say, and return the exit code."""
    for path in (options.output, options.report, options.perfetto, options.metrics):
        if path is not None:
            check_writable(path)
    with exporting(to_file(options)), ExitStack() as stack:
        observers = list(_observers(options, workflow, inputs))
        for observer in observers:
            stack.callback(observer.stop)
            observer.start()

        async def session() -> int:
            running = kind(options, workflow, inputs, observers, orchestrator)
            return await running.ending.during(running.run)

        return in_event_loop(session, orchestrator.loop)


def _observers(
    options: argparse.Namespace, workflow: Workflow, inputs: Mapping[str, Any]
) -> Iterator[Observer]:
    if options.events is not None:
        stream = _opened(options.events)
        yield JsonlWriter(stream, partial(json_text, to_terminal=stream.isatty()))
    if options.quiet:
        return
    is_dumb = os.environ.get("TERM") in ("dumb", "unknown")  # it cannot move its cursor
    if sys.stderr.isatty() and not is_dumb and not options.verbose:
        from orchestrator.observers.terminal import ProgressDisplay
        from orchestrator.observers.time_left import TimeLeft

        left = TimeLeft(partial(_timing, options, workflow, inputs))
        yield left
        yield ProgressDisplay(left=lambda: left.words)
    else:
        yield ProgressLines(partial(print, file=sys.stderr, flush=True), verbose=options.verbose)


def _timing(
    options: argparse.Namespace, workflow: Workflow, inputs: Mapping[str, Any]
) -> Timing | None:
    from orchestrator.cli.expected import timing_of  # in the thread: a start imports none of it

    return timing_of(options, workflow, inputs)


def _opened(events: str) -> TextIO:
    try:
        return sys.stdout if events == "-" else Path(events).open("w", encoding="utf-8")
    except OSError as error:
        raise unwritable(events, error.strerror or str(error)) from None


@dataclass
class CancellableRun:
    """One run, which signals cancel and whose result is always written."""

    options: argparse.Namespace
    workflow: Workflow
    inputs: Mapping[str, Any]
    observers: list[Observer]
    orchestrator: Orchestrator
    current: Run | None = None
    was_cancelled: bool = False
    preparing: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def __post_init__(self) -> None:
        self.ending = Ending(self.orchestrator, self._cancel)

    def _cancel(self, signal_name: str, *, at_once: bool = False) -> bool:
        """End the run; whether there was anything left of it to end."""
        self.preparing.cancel()
        reason = f"interrupted by {signal_name}"
        if self.current is None or not self.current.cancel(reason, at_once=at_once):
            return False
        if self.workflow.finally_ and not (at_once or self.was_cancelled or self.options.quiet):
            complain(f"{reason}: the tasks of finally run; once more ends them, too")
        self.was_cancelled = True
        return True

    async def run(self) -> int:
        warnings = PlanWarnings(self.orchestrator, self.workflow)
        observers = self.observers if self.options.quiet else [*self.observers, warnings]
        async with AsyncExitStack() as stack:
            with self.preparing:
                self.current = await self._begin(stack, observers)
            if self.current is None and self.ending.signal and self.options.command == "resume":
                complain("interrupted before the run went on: it can be resumed as before")
                return exit_code(self.ending.signal)
            if self.current is None:  # interrupted before the run began: no task is called
                made_up: dict[str, Any] | None = {} if self.options.dry_run else None
                of_run = self.workflow, never, new_settings()
                self.current = Run(*of_run, observers=self.observers, made_up=made_up)
            if self.ending.signal is not None:
                self._cancel(self.ending.signal.name, at_once=True)
            result = await self._execute(self.current, warnings)
        return self.finish(self.current, result, warnings.found)

    def finish(
        self, run: Run | Elsewhere, result: RunResult, warnings: Sequence[Problem] = ()
    ) -> int:
        """Write the result and what is to be said of it; the exit code."""
        self._complain_of_gaps(run)
        result = replace(result, wall_ms=(time.monotonic() - self.options.began) * 1000)
        written = False
        try:
            for observer in self.observers:
                observer.stop()
            named = self.workflow.source or f"workflow {quoted(self.workflow.name)}"
            show(str(named), warnings)
            written = self._write(result)
        except OSError:  # after SIGHUP there is no terminal to print on
            if self.ending.signal is None:
                raise
            give_up_terminal()
            written = self._write(result)
        return self._exit_code(run, result, written=written)

    def _complain_of_gaps(self, run: Run | Elsewhere) -> None:
        """Say what is missing in the journal or in the recording."""
        if run.not_kept:
            complain(run.not_kept)
        if missed := self.orchestrator.missed:
            are = "call is" if len(missed) == 1 else "calls are"
            complain(f"{len(missed):,} {are} not in the recording: {missed[0]}")

    def _history(self, result: RunResult) -> RunHistory:
        """What happened in the run, without the secrets of the servers."""
        from orchestrator.report.run_history import RunHistory

        inputs = self.inputs if self.current is None else self.current.inputs
        document = hidden(result.to_dict())
        shown = RunResult.from_dict(document)
        return RunHistory(shown, self.workflow, hidden(inputs), result.tasks)

    def _exit_code(self, run: Run | Elsewhere, result: RunResult, *, written: bool) -> int:
        if self.ending.signal is not None:
            return exit_code(self.ending.signal)
        complete = written and not run.not_kept and not self.orchestrator.missed
        if result.status == "paused":
            how = {"kept": run.is_kept, "by_worker": isinstance(run, Elsewhere)}
            complain(waiting(result.run_id, result.questions, **how))
            return WAITING if complete else FAILED
        # Tasks may be skipped, if nothing failed.
        states = {task.status for task in result.tasks.values()}
        is_whole = result.status == "success" or states.isdisjoint(("error", "cancelled"))
        return 0 if complete and result.error is None and is_whole else FAILED

    async def _execute(self, run: Run, warnings: PlanWarnings) -> RunResult:
        async with anyio.create_task_group() as group:
            group.start_soon(warnings.find)
            result = await run.execute()
            if not warnings.has_begun or self.ending.signal is not None:
                group.cancel_scope.cancel()
        return result

    async def _begin(self, stack: AsyncExitStack, observers: list[Observer]) -> Run:
        asking = self.asking(observers)
        if self.options.command == "resume":
            unknown = self.options.unknown
            again = self.orchestrator.resume(self.options.run, unknown=unknown, **asking)
            return await stack.enter_async_context(again)
        if self.options.command == "retry":
            tasks = self.options.again, self.options.alone
            again = self.orchestrator.retry(self.options.run, *tasks, **asking)
            return await stack.enter_async_context(again)
        if self.options.command == "fork":
            workflow = None if self.options.file is None else self.workflow
            again = self.orchestrator.fork(self.options.run, workflow, self.inputs, **asking)
            return await stack.enter_async_context(again)
        settings = RunOptions(
            schedule=self.options.schedule,
            max_concurrency=self.options.max_concurrency,
            max_run_mb=self.options.max_run_mb,
            **asking,
        )
        if self.options.dry_run:
            return await self.orchestrator.prepare_dry_run(self.workflow, self.inputs, **settings)
        if self.options.statistics:
            settings["estimates"] = await self.orchestrator.estimates(self.workflow)
        run = self.orchestrator.begin(self.workflow, self.inputs, **settings)
        return await stack.enter_async_context(run)

    def asking(self, observers: list[Observer], *, reads_stdin: bool = False) -> RunOptions:
        """The options of a run that asks on the terminal, if there is one."""
        asking: RunOptions = {"observers": observers, "wait": self.options.wait}
        if (typed := terminal(reads_stdin=reads_stdin)) is not None:
            asking["answer"] = Terminal(typed, self._hold, lambda: self.current)
        return asking

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Remove the display of progress while somebody is asked."""
        shown = [each for each in self.observers if hasattr(each, "render")]
        with ExitStack() as stack:
            for display in shown:
                display.stop()
                stack.callback(display.start)
            yield

    def _write(self, result: RunResult) -> bool:
        """Write the result where the options say, before anything else; whether that worked."""
        options, written = self.options, True
        if options.output is not None:
            try:
                with options.output.open("w", encoding="utf-8") as file:
                    write_document(result.to_dict(), file)
            except OSError as error:
                why = f"{options.output} cannot be written: {error.strerror or error}"
                complain(f"{why}; the result document goes to stdout instead")
                written = False
        if options.json or not written:
            written = _print(result.to_dict()) and written
        elif options.events != "-":
            written = _print(result.output)
        if options.report or options.perfetto:
            from orchestrator.cli.report import write_reports

            current = self.current  # None if a worker carries it
            how = {"kept": current is None or current.is_kept, "by_worker": current is None}
            done = self._history(result)
            written = write_reports(done, options.report, options.perfetto, **how) and written
        if not options.quiet:
            from orchestrator.cli.tables import print_result

            print_result(result, self.workflow)
        return written


def _print(value: Any) -> bool:
    """Print on stdout; whether that worked. A reader that closed its end of a pipe is no error."""
    try:
        write_json(value)
        sys.stdout.flush()
    except OSError as error:
        give_up_stdout(error)
        return isinstance(error, BrokenPipeError)
    return True
