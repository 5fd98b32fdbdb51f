"""`orchestrator run`: runs a workflow, and writes the result even after an interrupt."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import anyio

from orchestrator.cli.diagnostics import complain
from orchestrator.client import Orchestrator
from orchestrator.documents.encode import to_json
from orchestrator.engine.events import Observer
from orchestrator.engine.result import MadeUp, RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import Problem, WorkflowError
from orchestrator.observers.jsonl import JsonlWriter
from orchestrator.observers.statistics import Statistics
from orchestrator.run_request import new_settings
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow

INTERRUPTED = 130

T = TypeVar("T")


def in_event_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run async work without the SDK's log, whose errors our messages contain."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger("client").setLevel(logging.CRITICAL)
    return anyio.run(work)


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
            running = _Session(options, workflow, inputs, observers, statistics)
            return await running.run(servers, lock)

        return in_event_loop(session)


def _observers(options: argparse.Namespace) -> Iterator[Observer]:
    if options.events is not None:
        yield JsonlWriter(sys.stdout if options.events == "-" else _open(options.events))
    if not options.quiet and sys.stderr.isatty():
        from orchestrator.observers.terminal import ProgressDisplay

        yield ProgressDisplay()


def _open(path: str) -> TextIO:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(path, [Problem("unwritable_file", message)]) from None


class _Session:
    """One run, which signals cancel and whose result is always written."""

    def __init__(
        self,
        options: argparse.Namespace,
        workflow: Workflow,
        inputs: Mapping[str, Any],
        observers: list[Observer],
        statistics: Statistics | None,
    ) -> None:
        self.options = options
        self.workflow = workflow
        self.inputs = inputs
        self.observers = observers
        self.statistics = statistics
        self.orchestrator: Orchestrator | None = None
        self.current: Run | None = None
        self.signal_name = ""
        self._preparing = anyio.CancelScope()

    async def run(self, servers: Mapping[str, Server], lock: Lockfile | None) -> int:
        error: Exception | None = None
        code = INTERRUPTED
        async with anyio.create_task_group() as group:
            await group.start(self._watch_signals)
            try:
                async with Orchestrator(servers, lock) as orchestrator:
                    self.orchestrator = orchestrator
                    code = await self._run(orchestrator)
            except Exception as failure:  # raised outside of the group, which would wrap it
                error = failure
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        return code

    async def _run(self, orchestrator: Orchestrator) -> int:
        async with AsyncExitStack() as stack:
            with self._preparing:
                self.current = await stack.enter_async_context(self._begin(orchestrator))
            if self.current is None:  # interrupted before the run began: no task is called
                made_up: dict[str, MadeUp] | None = {} if self.options.dry_run else None
                self.current = Run(
                    self.workflow,
                    _never,
                    new_settings(),
                    observers=self.observers,
                    made_up=made_up,
                )
            if self.signal_name:
                self.current.cancel(f"interrupted by {self.signal_name}")
            result = await self.current.execute()
        for observer in self.observers:
            observer.stop()
        written = self._write(result)
        self._remember(result)
        if self.signal_name:
            return INTERRUPTED
        return 0 if written and _went_well(result) else 1

    def _begin(self, orchestrator: Orchestrator) -> AbstractAsyncContextManager[Run]:
        options, statistics = self.options, self.statistics
        settings: dict[str, Any] = {
            "schedule": options.schedule,
            "max_concurrency": options.max_concurrency,
            "observers": self.observers,
        }
        if options.dry_run:
            run = orchestrator.prepare_dry_run(self.workflow, self.inputs, **settings)
            return _as_context(run)
        if statistics is not None:
            settings["estimates"] = statistics.estimates(self.workflow)
        return orchestrator.begin(self.workflow, self.inputs, **settings)

    async def _watch_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self.signal_name:
                    if self.orchestrator is not None:
                        self.orchestrator.kill()
                    os._exit(INTERRUPTED)
                self.signal_name = signal.Signals(number).name
                self._preparing.cancel()
                if self.current is not None:
                    self.current.cancel(f"interrupted by {self.signal_name}")

    def _write(self, result: RunResult) -> bool:
        """Write the result where the options say; whether that worked."""
        options = self.options
        written = options.output is None or _write_file(options.output, result)
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


def _went_well(result: RunResult) -> bool:
    """Whether nothing failed; tasks may be skipped."""
    failed = any(task.status in ("error", "cancelled") for task in result.tasks.values())
    return result.error is None and not failed


@asynccontextmanager
async def _as_context(run: Awaitable[Run]) -> AsyncIterator[Run]:
    yield await run


def _print(text: str) -> bool:
    """Print on stdout; whether that worked. A reader that closed its end of a pipe is no error."""
    try:
        print(text, flush=True)
    except OSError as error:
        # The rest of the buffer would raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return True
        complain(f"stdout cannot be written: {error.strerror}")
        return False
    return True


def _write_file(path: Path, result: RunResult) -> bool:
    try:
        path.write_text(result.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror or error}"
        complain(f"{why}; the result document goes to stdout instead")
        return False
    return True


async def _never(call: object, _: object) -> None:
    raise AssertionError(f"{call!r} after an interrupt")
