"""`orchestrator run`, from the first signal to the last line.

The rule of this file: whatever happens, what had finished is written before the servers are closed.
"""

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

from orchestrator.client import Orchestrator, new_run
from orchestrator.documents.encode import to_json
from orchestrator.engine.events import Observer
from orchestrator.engine.result import MadeUp, RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import Problem, WorkflowError
from orchestrator.observers.jsonl import JsonlWriter
from orchestrator.observers.statistics import Statistics
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow

INTERRUPTED = 130

T = TypeVar("T")


def in_event_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run async work, with the SDK's log kept off the screen: our errors say what matters of it."""
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
    """Run a workflow as the options say, write what is to be written, and give the exit code."""
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
    """One `orchestrator run`."""

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
            except Exception as failure:  # raised again where no group can wrap it
                error = failure
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        return code

    async def _run(self, orchestrator: Orchestrator) -> int:
        begun = self._rehearsed(orchestrator) if self.options.dry_run else self._begun(orchestrator)
        async with AsyncExitStack() as stack:
            with self._preparing:
                self.current = await stack.enter_async_context(begun)
            if self.current is None:
                nothing: dict[str, MadeUp] | None = {} if self.options.dry_run else None
                self.current = new_run(
                    self.workflow, _never, observers=self.observers, made_up=nothing
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

    def _begun(self, orchestrator: Orchestrator) -> AbstractAsyncContextManager[Run]:
        options = self.options
        return orchestrator.begin(
            self.workflow,
            self.inputs,
            schedule=options.schedule,
            max_concurrency=options.max_concurrency,
            estimates=None if self.statistics is None else self.statistics.estimates(self.workflow),
            observers=self.observers,
        )

    @asynccontextmanager
    async def _rehearsed(self, orchestrator: Orchestrator) -> AsyncIterator[Run]:
        """A run that calls nothing. Its tools are those that the servers list."""
        options = self.options
        yield await orchestrator.prepare_dry_run(
            self.workflow,
            self.inputs,
            schedule=options.schedule,
            max_concurrency=options.max_concurrency,
            observers=self.observers,
        )

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
        """Write the result wherever it is to go; whether that worked."""
        options = self.options
        written = options.output is None or _write_file(options.output, result)
        if not options.quiet:
            from orchestrator.cli.tables import print_result

            print_result(result, self.workflow)
        if options.json or not written:
            return _print(result.to_json()) and written
        return options.events == "-" or _print(to_json(result.output, indent=2))

    def _remember(self, result: RunResult) -> None:
        """Bring the statistics up to date. The run is not worse if that fails: it is said."""
        if self.statistics is None or not self.statistics.update(self.workflow, result):
            return
        path = self.options.statistics
        try:
            self.statistics.save(path)
        except OSError as error:
            message = f"orchestrator: {path} cannot be written: {error.strerror or error}"
            print(f"{message}; the next run goes by what was there before", file=sys.stderr)


def _went_well(result: RunResult) -> bool:
    """Whether nothing failed; what was skipped behind a `when` is not amiss."""
    amiss = any(task.status in ("error", "cancelled") for task in result.tasks.values())
    return result.error is None and not amiss


def _print(text: str) -> bool:
    """Print on stdout; whether that worked. Who reads it may have gone, or the disk may be full."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return True
        print(f"orchestrator: stdout cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def _write_file(path: Path, result: RunResult) -> bool:
    try:
        path.write_text(result.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        print(
            f"orchestrator: {path} cannot be written: {error.strerror or error}; "
            "the result document goes to stdout instead",
            file=sys.stderr,
        )
        return False
    return True


async def _never(call: object, _: object) -> None:
    raise AssertionError(f"{call!r} is made after an interrupt")
