"""The servers of a workflow on their way, while its first tasks run.

The rule of this file: nothing is called on a server that is not ready, and nothing that may change
anything before the whole plan has been checked against all its servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.events import Event, OnEvent
from orchestrator.preflight import check_online
from orchestrator.servers.pool import STARTING_S, ServerPool
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, waves

CHECK = "all servers, to check the plan"
NOTHING = "nothing was called"
READS = "nothing was called but tools that are read-only"


class Startup:
    """Starts the servers of a workflow, and is the `Gate` of its run meanwhile.

    First the servers of the tasks that need nothing; the others when these are ready, have failed,
    or have been starting for `STARTING_S`.

    Args:
        workflow: The workflow.
        pool: The servers.
        tell: Is told what happens to the servers before the run begins.

    Attributes:
        problem: What is wrong with the plan or its servers, once that is known.
        on_problem: Is told about it, as a sentence.
    """

    def __init__(self, workflow: Workflow, pool: ServerPool, tell: OnEvent) -> None:
        self.problem: Exception | None = None
        self.on_problem: Callable[[str], None] = lambda _: None
        self._workflow = workflow
        self._plan = workflow.plan
        self._pool = pool
        self._tell: OnEvent | None = tell
        self._tools = pool.catalog(self._plan.servers)
        self._pending = set(self._plan.servers)
        self._checked = False
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope()

    async def open(self) -> None:
        """Start the servers, and check the plan when each of them is ready or has failed."""
        with self._scope:
            try:
                await self._open_all()
            except Exception as bug:
                self._fail(bug)
            finally:  # cancelled, too: then whoever waits hears from the pool that it was closed
                self._checked = self.problem is None
                self._note()

    def cancel(self) -> None:
        """Start nothing more, and give up what is being started."""
        self._scope.cancel()

    async def until_a_call_may_go_out(self) -> None:
        """Wait until a task that needs nothing may call, or the plan is checked.

        Raises:
            WorkflowError: The plan or its servers are wrong; nothing was called.
        """
        while self.problem is None and not self._may_begin():
            await self.changed()
        if self.problem is not None:
            raise self.problem

    def _may_begin(self) -> bool:
        first = (self._plan.tasks[task] for task in self._plan.generations[0])
        return any(not self.waiting_for(task) for task in first)

    def waiting_for(self, target: CallTemplate | None = None) -> str:
        """What a call has to wait for, or the end of the run; see `Gate`."""
        if self._checked:
            return ""
        if target is None:
            return CHECK
        if target.server in self._pending:
            return f"server {target.server!r}"
        tool = self._tools.get(target.target)
        if tool is None or not tool.read_only:
            return CHECK
        return CHECK if self._pool.is_strange(target.server, target.tool) else ""

    async def changed(self) -> None:
        """Wait until a server is ready or has failed, or the plan is checked."""
        await self._changed.wait()

    @contextmanager
    def listen(self, tell: OnEvent) -> Iterator[None]:
        """Have a run told what happens to the servers, while the block runs, instead of `tell`."""
        self._tell = None
        with self._pool.subscribe(tell, self._plan.servers):
            yield

    async def _open_all(self) -> None:
        first, later = waves(self._plan)
        async with anyio.create_task_group() as group:
            for server in first:
                group.start_soon(self._open, server, FIRST)
            with anyio.move_on_after(STARTING_S):
                while not self._pending.isdisjoint(first):
                    await self.changed()
            for server, generation in later.items():
                group.start_soon(self._open, server, (float(generation),))

    async def _open(self, server: str, priority: Priority) -> None:
        await self._pool.open([server], self._announce, priority)
        self._pending.discard(server)
        if not self._pending:
            self._check()
        self._note()

    def _announce(self, event: Event) -> None:
        if self._tell is not None:
            self._tell(event)

    def _check(self) -> None:
        so_far = READS if self._tell is None else NOTHING
        try:
            check_online(self._workflow, self._pool, so_far)
        except Exception as error:
            self._fail(error)
        else:
            self._checked = True

    def _fail(self, problem: Exception) -> None:
        self.problem = problem
        self._note()
        self.on_problem("the plan or its servers are wrong")

    def _note(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
