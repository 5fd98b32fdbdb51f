"""Starts the servers of a workflow while its first tasks run.

Nothing is called on a server that is not ready, and only read-only tools are called before the
whole plan is checked against all its servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.events import OnEvent, StartTimes
from orchestrator.preflight import check_online
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.supervisor import STARTING_S
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import waves

CHECK = Cause("server_start")


@asynccontextmanager
async def starting(
    workflow: Workflow, pool: ServerPool, times: StartTimes
) -> AsyncIterator[Startup]:
    """Start the servers of a workflow in the background; the block begins with the first call.

    `times` receives the events of the servers before the run begins.

    Raises:
        WorkflowError: The plan or its servers are wrong: when the block begins, or when it ends.
    """
    startup = Startup(workflow, pool, times)
    pool.start_soon(startup.open)
    try:
        await startup.until_first_call()
        if startup.problem is None:
            yield startup
    finally:
        startup.scope.cancel()  # start nothing more, and abandon what is starting
    if startup.problem is not None:
        raise startup.problem


class Startup:
    """The start of the servers of a workflow, and the `Readiness` of its run.

    The servers of the tasks without dependencies start first; the others when these are ready, have
    failed, or have been starting for `STARTING_S`.
    """

    def __init__(self, workflow: Workflow, pool: ServerPool, times: StartTimes) -> None:
        self.problem: Exception | None = None  # with the plan or its servers, once it is known
        self.on_problem: Callable[[str], object] = lambda _: None  # is called then, with a sentence
        self.scope = anyio.CancelScope()
        self._workflow = workflow
        self._plan = workflow.plan
        self._pool = pool
        self._times = times
        self._has_begun = False
        self._tools = pool.catalog.of(self._plan.servers)
        self._prompt_servers = self._plan.prompt_servers
        self._pending = set(self._plan.servers)
        self._checked = False
        self._changed = anyio.Event()

    async def open(self) -> None:
        """Start the servers, and check the plan when each of them is ready or has failed."""
        with self.scope:
            try:
                await self._open_all()
            except Exception as bug:
                self._fail(bug)
            finally:  # if it was cancelled, too: waiting calls then fail, since the pool is closed
                self._checked = self.problem is None
                self._note()

    async def until_first_call(self) -> None:
        """Wait until a task without dependencies can call, the plan is checked, or is wrong."""
        first = list(self._plan.first_tasks)
        while self.problem is None and all(self.waiting_for(t.server, t.tool) for t in first):
            await self.changed()

    def waiting_for(self, server: str, tool: str) -> Cause | None:
        """What a call of a tool has to wait for; see `Readiness`."""
        if self._checked:
            return None
        if server in self._pending:
            return Cause("server_start", server)
        known = self._tools.get(f"{server}:{tool}")
        is_read = known is not None and known.read_only
        return None if is_read and not self._pool.catalog.is_strange(server, tool) else CHECK

    async def changed(self) -> None:
        """Wait until a server is ready or has failed, or the plan is checked."""
        await self._changed.wait()

    async def checked(self) -> None:
        """Wait until the plan is checked."""
        while not self._checked:
            await self.changed()

    @contextmanager
    def listen(self, tell: OnEvent) -> Iterator[None]:
        """Have a run receive the events of its servers in the block."""
        self._has_begun, self._times.tell = True, lambda _: None
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
        await self._pool.open([server], self._times, priority)
        await self._pool.learn_prompts(self._prompt_servers & {server})
        self._pending.discard(server)
        if not self._pending:
            called = "only read-only tools were" if self._has_begun else "nothing was"
            try:
                check_online(self._workflow, self._pool, f"{called} called")
                self._checked = True
            except Exception as error:  # `starting` raises it, outside of the task group
                self._fail(error)
        self._note()

    def _fail(self, problem: Exception) -> None:
        self.problem = problem
        self._note()
        self.on_problem("the plan or its servers are wrong")

    def _note(self) -> None:
        # An event is set only once: each change has its own.
        self._changed.set()
        self._changed = anyio.Event()
