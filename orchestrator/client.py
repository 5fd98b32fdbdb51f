"""`Orchestrator`: servers on one side, workflows on the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import anyio
from anyio import to_thread

from orchestrator.calls.locks import Locks
from orchestrator.durable import carried, record_of, request_of, reused
from orchestrator.engine.events import Event, Observers
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.errors import WorkflowError
from orchestrator.inspection import Inspector
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import KeptRun
from orchestrator.journal.recorder import Unknown
from orchestrator.preflight import WorkflowSource, check_online
from orchestrator.run_request import Inputs, RunOptions, RunRequest
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import servers_of
from orchestrator.servers.config_file import load_config
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.startup import Startup, starting


class Orchestrator(Inspector):
    """Runs workflows on a set of MCP servers, on asyncio or trio.

    Open it with `async with`, or with `start()` and `aclose()`. Different tasks may do the two, as
    fixtures of pytest and cells of notebooks do.

    Servers are started when a workflow first names them, and reused by all later runs.

    Args:
        servers: The servers by name. Each is a `Server`, a URL of streamable HTTP, a
            `StdioServerParameters`, or an MCP server object, which is called in memory.
        lock: What the tools have to be like; others are never called. None: any tools.
        observers: Receive the events of every run.
        journal: The file that keeps the runs, so that `resume` can go on with one after a crash.

    Raises:
        ConfigError: A server is of no known kind.
    """

    def __init__(
        self,
        servers: Mapping[str, Any],
        lock: Lockfile | None = None,
        *,
        observers: Observers = (),
        journal: str | Path | Journal | None = None,
    ) -> None:
        self._journal = Journal(journal) if isinstance(journal, str | Path) else journal
        pool = ServerPool(servers_of(servers), lock)
        super().__init__(pool, _Held(self._journal, pool))
        self._observers = tuple(observers)
        self._locks = Locks()

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        *,
        lock: bool | str | Path = True,
        observers: Observers = (),
        journal: str | Path | Journal | None = None,
    ) -> Self:
        """An orchestrator for the servers of a servers.toml or a `mcpServers` JSON file.

        Args:
            path: The file.
            lock: Whether to use the lock file beside it, if it exists; or the path of another one.
            observers: Receive the events of every run.
            journal: The file that keeps the runs.

        Raises:
            ConfigError: The file cannot be read, or is wrong; with every mistake in it.
            WorkflowError: The lock file cannot be read, or was changed by hand.
        """
        servers = load_config(path)
        if isinstance(lock, bool):
            known = Lockfile.beside(path) if lock else None
        else:
            known = Lockfile.load(lock)
        return cls(servers, known, observers=observers, journal=journal)

    def __repr__(self) -> str:
        return f"Orchestrator({self._pool!r})"

    async def run(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run a workflow.

        Servers that are not ready start meanwhile: a task waits for its own server only. Until all
        servers are ready or have failed and the plan is checked, only read-only tools are called.

        Args:
            workflow: A path of a JSON or YAML file, a dict, or a `Workflow`.
            inputs: Values for its inputs.
            options: `schedule` (`generations` or `dataflow`) and `max_concurrency` (0 = unlimited,
                1 = sequential) replace those of the workflow. `estimates`: what one call of a task
                is expected to take, seconds, by task id; under a limit the longest path goes first,
                and a missing task takes the median of the others; see also `Statistics`.
                `max_run_mb`: what the answers may take in memory (0 = unlimited); over it the
                run fails with what it has. `observers` receive the events of this run.

        Returns:
            The result. It holds the failures of tasks, which are never raised.

        Raises:
            WorkflowError: The workflow, its inputs, servers or options are wrong.
        """
        async with self.begin(workflow, inputs, **options) as run:
            return await run.execute()

    def run_sync(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run a workflow where there is no event loop: start the servers, run it, and close them.

        Takes and raises what `run` does.

        Raises:
            RuntimeError: An event loop runs in this thread: write `await run(...)` there.
        """

        async def run_once() -> RunResult:
            async with self:
                return await self.run(workflow, inputs, **options)

        if _has_event_loop():
            raise RuntimeError("an event loop is running: write 'await orchestrator.run(...)'")
        return anyio.run(run_once)

    @asynccontextmanager
    async def begin(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Run]:
        """The `Run` that `run` executes, for you to execute in the block, or to cancel.

        Takes what `run` takes. The block begins when the first call can be made. If the workflow
        has a `timeout_s`, it begins when all servers are ready, so that starting them does not use
        up that limit.

        Raises:
            WorkflowError: As for `run`, when the block begins, or when it ends.
        """
        request = self._request(workflow, inputs, options)
        kept = None
        if self._journal is not None:
            kept = await self._journal.begin(record_of(request))
        async with self._carried(request, kept) as run:
            yield run

    @asynccontextmanager
    async def retry(
        self, run_id: str, again: Collection[str] = (), **options: Unpack[RunOptions]
    ) -> AsyncIterator[Run]:
        """A new run of a workflow in the journal that reuses what succeeded in an earlier one.

        Args:
            run_id: The id of the earlier run, or the beginning of it, or `last`.
            again: Tasks that are made again although they succeeded.
            options: Only `observers` count.

        Raises:
            JournalError: There is no such run.
            WorkflowError: Its servers are not configured, or a task is unknown.
        """
        journal = self._kept_in()
        record, records = await to_thread.run_sync(reused, journal.path, run_id, frozenset(again))
        request = request_of(record, self._own(options), self._pool)
        kept = await journal.begin(record, records)
        async with self._carried(request, kept) as run:
            yield run

    def _kept_in(self) -> Journal:
        if self._journal is None:
            raise RuntimeError("give the Orchestrator a journal, as in journal='runs.db'")
        return self._journal

    def _own(self, options: RunOptions) -> RunOptions:
        options["observers"] = (*self._observers, *options.get("observers", ()))
        return options

    @asynccontextmanager
    async def resume(
        self, run_id: str, *, unknown: Unknown = "ask", **options: Unpack[RunOptions]
    ) -> AsyncIterator[Run]:
        """A run of the journal that has not ended, for you to execute in the block.

        What has settled is not called again; the workflow, its inputs and settings are those it
        began with, and of `options` only `observers` count.

        Args:
            run_id: The id of the run, or the beginning of it, or `last`.
            unknown: What becomes of calls that left before a crash, of which no answer was kept,
                and whose tools declare neither that they only read nor that repeating them is safe:
                `repeat` them, or `fail` their tasks; `ask`: refuse to go on, and name them.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it.
            WorkflowError: Its servers are not configured.
        """
        record, kept = await self._kept_in().resume(run_id, unknown)
        try:
            request = request_of(record, self._own(options), self._pool)
        except BaseException:
            kept.free()
            raise
        async with self._carried(request, kept) as run:
            yield run

    @asynccontextmanager
    async def _carried(self, request: RunRequest, kept: KeptRun | None) -> AsyncIterator[Run]:
        if kept is None:
            async with self._begun(request, None) as run:
                yield run
            return
        async with AsyncExitStack() as stack:
            stack.callback(kept.free)
            run = await stack.enter_async_context(self._begun(request, kept.recorder))
            await stack.enter_async_context(carried(run, kept, self._pool.start_soon))
            yield run

    @asynccontextmanager
    async def _begun(self, request: RunRequest, recorder: Recorder | None) -> AsyncIterator[Run]:
        loaded = request.workflow
        if loaded.timeout_s is not None or all(map(self._pool.usable, loaded.plan.servers)):
            await self._open(request)
            yield self._new_run(request, recorder=recorder)
            return
        async with starting(loaded, self._pool, request.times) as startup:
            run = self._new_run(request, startup, recorder)
            startup.on_problem = partial(run.cancel, at_once=True)
            yield run

    async def prepare(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> Run:
        """The `Run` that `run` executes, when all servers are ready and the plan is checked.

        Takes what `run` takes. You can execute the `Run` once, and cancel it.

        Raises:
            WorkflowError: As for `run`; nothing was called.
        """
        request = self._request(workflow, inputs, options)
        await self._open(request)
        return self._new_run(request)

    async def dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Go through a whole run with made-up outputs; no tool is called.

        All else is as in a run: references, conditions, `for_each`, conversions, and arguments,
        which are checked with the schemas of their tools. `made_up` in the result says where the
        outputs come from.

        Takes what `run` takes, and `tools`: each tool by `server:tool`. By default those of the
        lock, or else the servers start and list theirs; one that does not start fails its tasks.

        Raises:
            WorkflowError: The workflow, its inputs, its servers or its tools are wrong.
        """
        run = await self.prepare_dry_run(workflow, inputs, tools=tools, **options)
        return await run.execute()

    async def prepare_dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """The `Run` that `dry_run` executes; takes and raises what that does."""
        from orchestrator.dry_run import DryRunCaller, missing_tools

        request = self._request(workflow, inputs, options)
        tools = request.locked_tools(self._pool) if tools is None else tools
        if tools is None:
            await self._open(request)
            tools = self._pool.catalog.of(request.workflow.plan.servers)
        elif problems := missing_tools(request.workflow, tools):
            raise WorkflowError(request.workflow.name, problems)
        caller = DryRunCaller(request.workflow, tools, self.failure)
        return request.run(
            caller, Servers(caller.tools, startup_ms=request.times.ms), caller.made_up
        )

    async def stream(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[Event]:
        """Run a workflow, and yield its events as they happen; the last is `RunSettled`.

        Takes what `run` takes. Leaving the loop early cancels the run.

        Raises:
            WorkflowError: As for `run`: before the first event, or after the last.
        """
        send, receive = anyio.create_memory_object_stream[Event](float("inf"))

        ended = anyio.Event()

        def forward(event: Event) -> None:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                send.send_nowait(event)

        async def execute() -> None:
            with send:
                await run.execute()
            ended.set()

        options["observers"] = (*options.get("observers", ()), forward)
        with receive, send:
            async with self.begin(workflow, inputs, **options) as run:
                self._pool.start_soon(execute)
                try:
                    async for event in receive:
                        yield event
                finally:
                    run.cancel("the events of the run are no longer read")
                    if run.plan.finally_ is not None:  # its tasks need the servers
                        with anyio.CancelScope(shield=True):
                            await ended.wait()

    def _request(self, workflow: WorkflowSource, inputs: Inputs, options: RunOptions) -> RunRequest:
        """The one way into `begin`, `prepare` and `prepare_dry_run`."""
        if not self.is_open:
            raise RuntimeError("use 'async with Orchestrator(...) as orchestrator', or start()")
        return RunRequest.of(workflow, inputs, self._own(options), self._pool)

    async def _open(self, request: RunRequest) -> None:
        """Wait until all servers are ready or have failed, and check the plan against them."""
        plan = request.workflow.plan
        await self._pool.open(plan.servers, request.times)
        await self._pool.learn_prompts(plan.prompt_servers)
        check_online(request.workflow, self._pool)

    def _new_run(
        self,
        request: RunRequest,
        startup: Startup | None = None,
        recorder: Recorder | None = None,
    ) -> Run:
        pool, names = self._pool, request.workflow.plan.servers
        listen = partial(pool.subscribe, servers=names) if startup is None else startup.listen
        known, times = pool.catalog.of(names), request.times.ms
        servers = Servers(known, pool.policies, self._locks, listen, startup, times)
        return request.run(pool.call, servers, recorder=recorder)


class _Held:
    """What an orchestrator opens and closes, as often as that is asked for."""

    def __init__(self, *held: AbstractAsyncContextManager[Any] | None) -> None:
        self._held = [each for each in held if each is not None]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for each in self._held:
                await stack.enter_async_context(each)
            self._stack = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def _has_event_loop() -> bool:
    try:
        anyio.get_current_task()
    except RuntimeError:
        return False
    return True
