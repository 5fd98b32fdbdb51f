"""`orchestrator run`: runs a workflow, and writes the result even after an interrupt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import anyio

from orchestrator.cli import FAILED, exit_code
from orchestrator.cli.diagnostics import complain, give_up_stdout, give_up_terminal
from orchestrator.cli.signals import Ending, in_event_loop
from orchestrator.client import Orchestrator
from orchestrator.documents.encode import to_json
from orchestrator.engine.events import Observer
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import Problem, WorkflowError
from orchestrator.observers.jsonl import JsonlWriter
from orchestrator.observers.statistics import Statistics
from orchestrator.run_request import RunOptions, new_settings
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow


def run_workflow(
    options: argparse.Namespace,
    workflow: Workflow,
    servers: Mapping[str, Server],
    inputs: Mapping[str, Any],
    lock: Lockfile | None,
) -> int:
    """Run a workflow as the options say, write its result, and return the exit code."""
    statistics = None if options.statistics is None else Statistics.load(options.statistics)
    with ExitStack() as stack:
        observers = list(_observers(options))
        for observer in observers:
            stack.callback(observer.stop)
            observer.start()

        async def session() -> int:
            orchestrator = Orchestrator(servers, lock)
            running = _CancellableRun(
                options, workflow, inputs, observers, statistics, orchestrator
            )
            return await running.ending.during(running.run)

        return in_event_loop(session)


def _observers(options: argparse.Namespace) -> Iterator[Observer]:
    if options.events is not None:
        yield JsonlWriter(_opened(options.events))
    if not options.quiet and sys.stderr.isatty():
        from orchestrator.observers.terminal import ProgressDisplay

        yield ProgressDisplay()


def _opened(events: str) -> TextIO:
    try:
        return sys.stdout if events == "-" else Path(events).open("w", encoding="utf-8")
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(events, [Problem("unwritable_file", message)]) from None


@dataclass
class _CancellableRun:
    """One run, which signals cancel and whose result is always written."""

    options: argparse.Namespace
    workflow: Workflow
    inputs: Mapping[str, Any]
    observers: list[Observer]
    statistics: Statistics | None
    orchestrator: Orchestrator
    current: Run | None = None
    preparing: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def __post_init__(self) -> None:
        self.ending = Ending(self.orchestrator, self._cancel)

    def _cancel(self, signal_name: str) -> None:
        self.preparing.cancel()
        if self.current is not None:
            self.current.cancel(f"interrupted by {signal_name}")

    async def run(self) -> int:
        async with AsyncExitStack() as stack:
            with self.preparing:
                self.current = await self._begin(stack)
            if self.current is None:  # interrupted before the run began: no task is called
                self.current = Run(
                    self.workflow,
                    _never,
                    new_settings(),
                    observers=self.observers,
                    made_up={} if self.options.dry_run else None,
                )
            if self.ending.signal is not None:
                self._cancel(self.ending.signal.name)
            result = await self.current.execute()
        written = False
        try:
            for observer in self.observers:
                observer.stop()
            written = self._write(result)
        except OSError:  # after SIGHUP there is no terminal to print on
            if self.ending.signal is None:
                raise
            give_up_terminal()
            written = self._write(result)
        self._remember(result)
        if self.ending.signal is not None:
            return exit_code(self.ending.signal)
        # Tasks may be skipped, if nothing failed.
        states = {task.status for task in result.tasks.values()}
        went_well = result.error is None and states.isdisjoint(("error", "cancelled"))
        return 0 if written and went_well else FAILED

    async def _begin(self, stack: AsyncExitStack) -> Run:
        settings = RunOptions(
            schedule=self.options.schedule,
            max_concurrency=self.options.max_concurrency,
            observers=self.observers,
        )
        if self.options.dry_run:
            return await self.orchestrator.prepare_dry_run(self.workflow, self.inputs, **settings)
        if self.statistics is not None:
            settings["estimates"] = self.statistics.estimates(self.workflow)
        run = self.orchestrator.begin(self.workflow, self.inputs, **settings)
        return await stack.enter_async_context(run)

    def _write(self, result: RunResult) -> bool:
        """Write the result where the options say; whether that worked."""
        options, written = self.options, True
        if options.output is not None:
            try:
                options.output.write_text(result.to_json() + "\n", encoding="utf-8")
            except OSError as error:
                why = f"{options.output} cannot be written: {error.strerror or error}"
                complain(f"{why}; the result document goes to stdout instead")
                written = False
        if not options.quiet:
            from orchestrator.cli.tables import print_result

            print_result(result, self.workflow)
        if options.json or not written:
            return _print(result.to_json()) and written
        return options.events == "-" or _print(to_json(result.output, indent=2))

    def _remember(self, result: RunResult) -> None:
        """Update the statistics. If that fails, the run has its exit code all the same."""
        if self.statistics is None or not self.statistics.update(self.workflow, result):
            return
        path = self.options.statistics
        try:
            self.statistics.save(path)
        except OSError as error:
            why = f"{path} cannot be written: {error.strerror or error}"
            complain(f"{why}; the next run uses the previous times")


def _print(text: str) -> bool:
    """Print on stdout; whether that worked. A reader that closed its end of a pipe is no error."""
    try:
        print(text, flush=True)
    except OSError as error:
        give_up_stdout(error)
        return isinstance(error, BrokenPipeError)
    return True


async def _never(call: object, _: object) -> None:
    raise AssertionError(f"{call!r} after an interrupt")
