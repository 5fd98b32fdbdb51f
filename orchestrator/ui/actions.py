"""What the page does to runs, the way commands do it: each begins with servers of its own.

A run that was begun here is carried by this process, and cancelled when that ends, as by Ctrl-C in
a command.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from orchestrator.client import Orchestrator
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.questions import fitting
from orchestrator.engine.run import Run
from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.journal import answers
from orchestrator.journal.history import OPEN, RUNNING
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Location
from orchestrator.journal.orders import is_submitted
from orchestrator.journal.recorder import Unknown
from orchestrator.ui.view import known

END_S = 10.0
Begin = Callable[[Orchestrator], AbstractAsyncContextManager[Run]]


class Actions:
    """Does things to the runs of a journal.

    Args:
        journal: The file.
        make: Makes an orchestrator with this journal, its servers read anew.

    Attributes:
        carried: The runs that this process carries, by id.
        failed: Why a run that was begun here did not come to its end, by id.
        ended: The runs that ended because this process does.
    """

    def __init__(self, journal: Location, make: Callable[[str], Orchestrator]) -> None:
        self._journal, self._make = journal, make
        self._group: TaskGroup | None = None
        self.carried: dict[str, Run] = {}
        self.failed: dict[str, str] = {}
        self.ended: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Carry runs in the block; those that have not ended with it are cancelled."""
        async with anyio.create_task_group() as self._group:
            yield
            self.ended = list(self.carried)
            for run in self.carried.values():
                run.cancel("the page has ended")
            # The tasks of `finally` run; what does not come to its end is interrupted.
            self._group.cancel_scope.deadline = anyio.current_time() + END_S

    async def cancel(self, run_id: str) -> dict[str, Any]:
        """End a run: its process is asked to; one that nobody carries is ended here.

        Raises:
            OrchestratorError: It has ended, or its servers are not configured.
        """
        run = await to_thread.run_sync(known, self._journal, run_id)
        if run.status == RUNNING:
            await to_thread.run_sync(ask_to_end, self._journal, run.id)
            return {"run": run.id, "status": "cancelling"}
        if run.status not in OPEN:
            raise JournalError(f"run {run.id} has ended with status {run.status}")
        engine = await to_thread.run_sync(self._make, run.id)
        async with engine:
            result = await engine.end(run.id, "cancelled from the page")
        return {"run": run.id, "status": result.status}

    async def resume(self, run_id: str, unknown: Unknown = "ask") -> dict[str, Any]:
        """Go on with a run that nobody carries. Raises as `Orchestrator.resume` does."""
        if unknown not in ("ask", "repeat", "fail"):
            raise JournalError(f"expected unknown to be ask, repeat or fail, got {unknown!r}")
        return await self._begin(run_id, lambda engine, run: engine.resume(run, unknown=unknown))

    async def retry(
        self, run_id: str, again: list[str] | None = None, alone: list[str] | None = None
    ) -> dict[str, Any]:
        """Run it anew, and reuse what succeeded. Raises as `Orchestrator.retry` does."""
        tasks = again or [], alone or []
        return await self._begin(run_id, lambda engine, run: engine.retry(run, *tasks))

    async def fork(self, run_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run it with other inputs, and reuse what does not change. Raises as `fork` does."""
        return await self._begin(run_id, lambda engine, run: engine.fork(run, inputs=inputs))

    async def answer(
        self,
        run_id: str,
        task: str,
        item: int | None = None,
        *,
        all_items: bool = False,
        refuse: bool = False,
        value: Any = None,
    ) -> dict[str, Any]:
        """Answer a question; who carries the run goes on, or a worker. Raises `AnswerError`."""

        def reply_to(question: Question) -> Reply:
            return Reply(refused=True) if refuse else fitting(question, value)

        def put() -> dict[str, Any]:
            run = known(self._journal, run_id)
            if run.status != RUNNING and run.status not in OPEN:
                raise JournalError(f"run {run.id} has ended: nothing waits in it")
            _, left = answers.answer(
                self._journal,
                run.id,
                task,
                reply_to,
                self._make(run.id).hiding,
                item=item,
                all_items=all_items,
            )
            by_worker = run.status != RUNNING and is_submitted(self._journal, run.id)
            about = {"run": run.id, "status": run.status, "left": left}
            return about | {"by_worker": by_worker}

        return await to_thread.run_sync(put)

    async def _begin(
        self,
        run_id: str,
        begin: Callable[[Orchestrator, str], AbstractAsyncContextManager[Run]],
    ) -> dict[str, Any]:
        assert self._group is not None
        run = await to_thread.run_sync(known, self._journal, run_id)
        engine = await to_thread.run_sync(self._make, run.id)
        begun = await self._group.start(self._carry, engine, lambda: begin(engine, run.id))
        if isinstance(begun, OrchestratorError):
            raise begun
        return {"run": begun, "status": RUNNING}

    async def _carry(
        self,
        engine: Orchestrator,
        begin: Callable[[], AbstractAsyncContextManager[Run]],
        *,
        task_status: TaskStatus[str | OrchestratorError],
    ) -> None:
        run_id = ""
        try:
            async with engine, begin() as run:
                run_id = run.run_id
                self.carried[run_id] = run
                self.failed.pop(run_id, None)
                task_status.started(run_id)
                await run.execute()
        except OrchestratorError as error:
            if not run_id:  # it has not begun: the answer says why
                task_status.started(error)
            else:
                self.failed[run_id] = str(error)
        finally:
            self.carried.pop(run_id, None)
