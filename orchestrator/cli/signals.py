"""Signals that end a command: what runs is cancelled, and no program of a server is left behind.

The exit code is 128 and the number of the signal, as of a program that the signal has killed.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import anyio

from orchestrator.cli import EndedBySignalError, exit_code
from orchestrator.cli.diagnostics import complain
from orchestrator.client import Orchestrator
from orchestrator.servers.pool import ServerPool

T = TypeVar("T")

# What a person, a system or a scheduler of jobs sends to end a process.
ASKED = (signal.SIGINT, signal.SIGTERM)
# What ends a process too, unless somebody has decided otherwise: a terminal that is closed (`nohup`
# ignores that), Ctrl-\, a limit of CPU time, warnings of batch systems, alarms.
OTHERS = "HUP QUIT XCPU USR1 USR2 ALRM VTALRM PROF IO PWR STKFLT"


def in_event_loop(work: Callable[[], Awaitable[T]], loop: Mapping[str, Any] | None = None) -> T:
    """Run async work without the SDK's log, whose errors our messages contain.

    `loop` are the options of `anyio.run`.
    """
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger("client").setLevel(logging.CRITICAL)
    return anyio.run(work, **(loop or {}))


def ending_signals() -> list[signal.Signals]:
    """The signals that would end this process, and can be caught."""
    others = (getattr(signal, f"SIG{name}", None) for name in OTHERS.split())  # if there is one
    kept = [each for each in others if each and signal.getsignal(each) is signal.SIG_DFL]
    return [*ASKED, *kept]


class Ending:
    """The signal that ends a command: `cancel` takes it, and says if there was more to cancel.

    A second one ends the command at once if there was not.
    """

    def __init__(self, orchestrator: Orchestrator, cancel: Callable[[str], bool]) -> None:
        self.signal: signal.Signals | None = None  # the first one
        self._orchestrator = orchestrator
        self._cancel = cancel

    async def during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work while the orchestrator is open and signals are watched."""
        outcome: T | Exception
        async with anyio.create_task_group() as group:
            await group.start(self._watch)
            try:
                async with self._orchestrator:
                    outcome = await work()
            except Exception as failure:  # raised outside of the group, which would wrap it
                outcome = failure
            group.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _watch(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*ending_signals()) as signals:
            task_status.started()
            async for number in signals:
                is_first, name = self.signal is None, signal.Signals(number).name
                self.signal = self.signal or signal.Signals(number)
                if not self._cancel(name) and not is_first:  # no time to close anything
                    with suppress(OSError):  # after SIGHUP there is no terminal
                        complain(f"{name} came again: ended at once")
                    self._orchestrator.kill()
                    os._exit(exit_code(number))


def with_servers(
    pool: ServerPool,
    work: Callable[[Orchestrator], Awaitable[T]],
) -> T:
    """Do work with the servers of a pool, which are closed however it ends.

    Raises:
        EndedBySignalError: A signal has cancelled it.
    """

    async def session() -> T:
        scope = anyio.CancelScope()

        def cancel(_: str) -> bool:
            scope.cancel()
            return False  # a second time there is nothing more to cancel

        orchestrator = Orchestrator(pool)
        ending = Ending(orchestrator, cancel)

        async def cancellable() -> list[T]:
            done: list[T] = []
            with scope:
                done.append(await work(orchestrator))
            return done

        done = await ending.during(cancellable)
        if ending.signal is not None:
            raise EndedBySignalError(ending.signal)
        return done[0]

    return in_event_loop(session)
