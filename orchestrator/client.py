"""`Orchestrator`: servers on one side, workflows on the other.

The rule of this file: it is the front door of the package, and wires the parts together; nothing is
decided here but what is wrong before the first call.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.limits import Locks
from orchestrator.calls.middleware import with_retry, with_slots, with_timeout
from orchestrator.engine.decide import check_arguments
from orchestrator.engine.events import Announcer, Event, Observers
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import CallError, ConfigError, Problem, WorkflowError
from orchestrator.preflight import (
    allowed_tools,
    check_against,
    check_offline,
    check_online,
    check_open,
    check_overrides,
    not_locked,
    tool_changed,
    unknown_server,
    unknown_servers,
    unknown_tool,
)
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import load_config, servers_of
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.startup import Startup
from orchestrator.workflow.model import Schedule, Workflow

WorkflowSource = str | Path | Mapping[str, Any] | Workflow


class RunSettings(TypedDict, total=False):
    """How a run goes, instead of what its workflow says; see `Orchestrator.run`."""

    schedule: Schedule | None
    max_concurrency: int | None
    estimates: Mapping[str, float] | None


class Orchestrator:
    """Runs workflows on a set of MCP servers; to be entered with `async with`, on asyncio or trio.

    Servers are started when a workflow first names them, and reused by all later runs.

    Args:
        servers: The servers by name. Each is a `Server`, a URL of streamable HTTP, a
            `StdioServerParameters`, or an MCP server object, to be spoken to in memory.
        lock: What the tools have to be like; one that is not is never called. None: whatever the
            servers say.
        observers: Who is told the events of every run.

    Raises:
        ConfigError: A server is of no known kind.
    """

    def __init__(
        self,
        servers: Mapping[str, Any],
        lock: Lockfile | None = None,
        *,
        observers: Observers = (),
    ) -> None:
        self._pool = ServerPool(servers_of(servers), lock)
        self._observers = tuple(observers)
        self._locks = Locks()
        self._entered = False

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        *,
        lock: bool | str | Path = True,
        observers: Observers = (),
    ) -> Self:
        """An orchestrator for the servers of a servers.toml or a `mcpServers` JSON file.

        Args:
            path: The file.
            lock: Whether to use the lock file beside it, if there is one; or the path of another,
                which has to be there.
            observers: Who is told the events of every run.

        Raises:
            ConfigError: The file cannot be read, or is wrong; with every mistake in it.
            WorkflowError: The lock file cannot be read, or is not as it was written.
        """
        servers = load_config(path)
        if isinstance(lock, bool):
            return cls(servers, Lockfile.beside(path) if lock else None, observers=observers)
        return cls(servers, Lockfile.load(lock), observers=observers)

    def __repr__(self) -> str:
        return f"Orchestrator({self._pool!r})"

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        await self._pool.__aexit__(kind, error, trace)

    async def run(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        schedule: Schedule | None = None,
        max_concurrency: int | None = None,
        estimates: Mapping[str, float] | None = None,
        observers: Observers = (),
    ) -> RunResult:
        """Run a workflow.

        Servers that are not ready yet are started meanwhile: a task waits for its own server only.
        Until all are there or have failed and the plan is found right, only tools are called that
        declare that they are read-only.

        Args:
            workflow: A path of a JSON or YAML file, a dict, or a `Workflow`.
            inputs: Values for its inputs.
            schedule: Instead of the workflow's, `generations` or `dataflow`.
            max_concurrency: Instead of the workflow's; 0 = unlimited, 1 = sequential.
            estimates: What one call of a task is expected to take, seconds, by task id: under a
                limit the longest path goes first. A task that is missing takes the median of the
                others; see also `Statistics`.
            observers: Who is told the events of this run.

        Returns:
            The result. A task that failed is in it, and never raised.

        Raises:
            WorkflowError: The workflow, its inputs, its servers or the estimates are wrong; nothing
                was called but tools that are read-only.
        """
        async with self.begin(
            workflow,
            inputs,
            schedule=schedule,
            max_concurrency=max_concurrency,
            estimates=estimates,
            observers=observers,
        ) as run:
            await run.execute()
        assert run.result is not None
        return run.result

    @asynccontextmanager
    async def begin(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        observers: Observers = (),
        **settings: Unpack[RunSettings],
    ) -> AsyncIterator[Run]:
        """The `Run` that `run` executes, to be executed in the block: so it can be cancelled, too.

        Takes what `run` takes. The block begins when the first call can be made. Under the limit of
        the whole run, `timeout_s` of the workflow, it begins when everything is ready, so that the
        limit is not spent on starting programs.

        Raises:
            WorkflowError: As `run`, when the block begins, or when it ends.
        """
        watching = (*self._observers, *observers)
        loaded, values = self._checked(workflow, inputs, settings)
        if loaded.timeout_s is not None or all(map(self._pool.usable, loaded.plan.servers)):
            yield await self._ready_run(loaded, values, watching, settings)
            return
        opening = Startup(loaded, self._pool, Announcer(watching))
        self._pool.start_soon(opening.open)
        try:
            await opening.until_a_call_may_go_out()
            gate = {"gate": opening, "listen": opening.listen}
            run = self._new_run(loaded, values, observers=watching, **gate, **settings)
            opening.on_problem = run.cancel
            yield run
        finally:
            opening.cancel()
        if opening.problem is not None:
            raise opening.problem

    async def prepare(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        observers: Observers = (),
        **settings: Unpack[RunSettings],
    ) -> Run:
        """Everything that comes before the first call: check, start the servers, check again.

        Takes what `run` takes. The `Run` it returns can be executed once, and cancelled.

        Raises:
            WorkflowError: The workflow, its inputs or its servers are wrong; nothing was called.
        """
        watching = (*self._observers, *observers)
        loaded, values = self._checked(workflow, inputs, settings)
        return await self._ready_run(loaded, values, watching, settings)

    async def dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        observers: Observers = (),
        **settings: Unpack[RunSettings],
    ) -> RunResult:
        """Go through a whole run with outputs that are made up, and call no tool.

        All else is as in a run: references, conditions, `for_each`, conversions, and arguments that
        are checked with the schemas of their tools. No call fails by itself, and none waits.

        Args:
            workflow: As for `run`, and so are `inputs` and the settings.
            tools: Each tool by `server:tool`. By default those of the lock, or else the servers are
                started and asked for theirs; one that does not start fails its tasks, as in a run.
            observers: Who is told the events.

        Returns:
            The result; its `made_up` says where the outputs came from.

        Raises:
            WorkflowError: The workflow, its inputs, its servers or its tools are wrong.
        """
        run = await self.prepare_dry_run(
            workflow,
            inputs,
            tools=tools,
            observers=observers,
            **settings,
        )
        return await run.execute()

    async def prepare_dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        observers: Observers = (),
        **settings: Unpack[RunSettings],
    ) -> Run:
        """The `Run` that `dry_run` executes; takes and raises what that does."""
        from orchestrator.dry_run import DryRunCaller, missing_tools

        watching = (*self._observers, *observers)
        loaded, values = self._checked(workflow, inputs, settings)
        tools = self._locked_tools(loaded) if tools is None else tools
        if tools is None:
            await self._pool.open(loaded.plan.servers, Announcer(watching))
            check_online(loaded, self._pool)
            tools = self._pool.catalog(loaded.plan.servers)
        elif problems := missing_tools(loaded, tools):
            raise WorkflowError(loaded.name, problems)
        rehearsal = DryRunCaller(loaded, tools, self.failure)
        return new_run(
            loaded,
            rehearsal,
            inputs=values,
            tools=tools,
            observers=watching,
            made_up=rehearsal.made_up,
            **settings,
        )

    def _checked(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None,
        settings: RunSettings,
    ) -> tuple[Workflow, dict[str, Any]]:
        """A workflow and its complete inputs, in which nothing is wrong that shows offline."""
        if not self._entered:
            raise RuntimeError("use 'async with Orchestrator(...) as orchestrator'")
        loaded = Workflow.load(workflow)
        check_overrides(loaded, **settings)
        return loaded, check_offline(loaded, self._pool, inputs or {})

    async def _ready_run(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Any],
        observers: Observers,
        settings: RunSettings,
    ) -> Run:
        """A run whose servers are all there or have failed, and that was checked against them."""
        await self._pool.open(workflow.plan.servers, Announcer(observers))
        check_online(workflow, self._pool)
        return self._new_run(workflow, inputs, observers=observers, **settings)

    def _new_run(self, workflow: Workflow, inputs: Mapping[str, Any], **settings: Any) -> Run:
        servers = workflow.plan.servers
        defaults = {"listen": partial(self._pool.subscribe, servers=servers)}
        return new_run(
            workflow,
            self._pool.call,
            inputs=inputs,
            tools=self._pool.catalog(servers),
            servers=self._pool.policies,
            locks=self._locks,
            random=random.random,
            **(defaults | settings),
        )

    async def check(self, workflow: WorkflowSource) -> list[Problem]:
        """Check a workflow against its servers, or their lock; no tool is called.

        Returns:
            Warnings, and notes: what is allowed and most likely not meant, and what cannot be
            known.

        Raises:
            WorkflowError: The workflow or its servers are wrong; with every mistake.
        """
        found = await self.findings(workflow)
        if errors := [problem for problem in found if problem.severity == "error"]:
            raise WorkflowError(source_of(workflow), errors)
        return found

    async def findings(self, workflow: WorkflowSource) -> list[Problem]:
        """What `check` finds: errors, warnings and notes, in the order of the file.

        With a lock, no server is started.

        Raises:
            WorkflowError: The workflow is so wrong in itself that nothing more can be said of it.
        """
        from orchestrator.workflow.recovery import read_again, recover
        from orchestrator.workflow.source_map import located

        try:
            loaded = Workflow.load(workflow)
        except WorkflowError as error:
            left = recover(read_again(workflow), error.problems)
            if left is None:
                raise
            more = left.telling(await self._findings(left.workflow))
            found = [*error.problems, *more]
            return found if isinstance(workflow, Mapping) else located(found, Path(str(workflow)))
        found = await self._findings(loaded)
        return found if loaded.source is None else located(found, loaded.source)

    async def _findings(self, workflow: Workflow) -> list[Problem]:
        lock, servers = self._pool.lock, self._pool.servers
        found = unknown_servers(workflow, servers)
        if lock is not None:
            return [*found, *check_against(workflow, servers, lock)]
        await self._pool.open(name for name in workflow.plan.servers if name in servers)
        return [*found, *check_open(workflow, self._pool)]

    async def stream(
        self,
        workflow: WorkflowSource,
        inputs: Mapping[str, Any] | None = None,
        **settings: Unpack[RunSettings],
    ) -> AsyncGenerator[Event]:
        """Run a workflow, and give its events as they happen; the last is `RunSettled`.

        Takes what `run` takes. Leaving the loop early cancels the run.

        Raises:
            WorkflowError: As `run`: before the first event, or after the last.
        """
        send, receive = anyio.create_memory_object_stream[Event](float("inf"))

        def tell(event: Event) -> None:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                send.send_nowait(event)

        async def execute(run: Run) -> None:
            with send:
                await run.execute()

        with receive, send:
            async with self.begin(workflow, inputs, observers=(tell,), **settings) as run:
                self._pool.start_soon(partial(execute, run))
                try:
                    async for event in receive:
                        yield event
                finally:
                    run.cancel("nobody listens to the run any more")

    def kill(self) -> None:
        """End the programs of all servers at once, and wait for nothing: for when there is no time.

        Leaving the `async with` block is the way to end them; this leaves no process behind where
        the block cannot be left any more.
        """
        self._pool.kill()

    async def tools(self, server: str | None = None, *, denied: bool = False) -> list[Tool]:
        """The tools of a server, or of all of them; servers that do not start have none.

        Args:
            server: The server; None for all.
            denied: Whether those are wanted, too, that the configuration does not allow.

        Raises:
            ConfigError: There is no such server.
        """
        names = list(self._pool.servers) if server is None else [self._known(server)]
        await self._pool.open(names)
        if denied:
            return [tool for name in names for tool in self._pool.listed(name).values()]
        return list(self._pool.catalog(names).values())

    def failure(self, server: str) -> CallError | None:
        """Why a server that was asked for is not usable; None if it is, or was never asked for."""
        failure = self._pool.failure(server)
        if failure is None:
            return None
        return CallError(
            failure.kind, failure.message, retryable=failure.retryable, **failure.details
        )

    def _locked_tools(self, workflow: Workflow) -> dict[str, Tool] | None:
        """The tools of a workflow's servers, if all of these are in the lock."""
        lock, named = self._pool.lock, workflow.plan.servers
        if lock is None or not all(server in lock for server in named):
            return None
        return allowed_tools(self._pool.servers, {server: lock.of(server) for server in named})

    async def call(
        self,
        target: str,
        arguments: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Call one tool, by `server:tool`, and give its output.

        Raises:
            WorkflowError: There is no such server or tool.
            CallError: The call failed; an `InvalidArgumentsError` if the arguments do not fit the
                tool's schema, so that no call was made.
        """
        server, _, name = target.partition(":")
        tool = await self._tool(server, name)
        policy = self._pool.policies[server]
        limit = policy.timeout_s if timeout_s is None else timeout_s
        check_arguments(tool, dict(arguments or {}))
        call = Call(
            "call",
            server,
            name,
            dict(arguments or {}),
            limit,
            writes=tool.read_only is False,
            safe=tool.is_safe,
        )
        attempt = with_slots(with_timeout(self._pool.call), self._pool.policies, None)
        return await with_retry(attempt)(call, Attempt())

    async def _tool(self, server: str, name: str) -> Tool:
        """A tool that may be called, of a server that is ready."""
        settings, lock = self._pool.servers[self._known(server)], self._pool.lock
        target = f"{server}:{name}"
        if lock is not None and server not in lock:
            raise WorkflowError(target, [not_locked(lock, server)])
        if lock is not None and name not in (listed := lock.of(server)):
            raise WorkflowError(target, [unknown_tool(settings, listed, name, lock)])
        tools = {tool.name: tool for tool in await self.tools(server)}
        if (failure := self.failure(server)) is not None:
            raise failure
        if name not in tools:
            raise WorkflowError(target, [unknown_tool(settings, self._pool.listed(server), name)])
        if self._pool.is_strange(server, name):
            raise WorkflowError(target, [tool_changed(self._pool, server, name)])
        return tools[name]

    def _known(self, server: str) -> str:
        if server not in self._pool.servers:
            raise ConfigError("servers", [unknown_server(server, self._pool.servers)])
        return server


def source_of(workflow: WorkflowSource) -> str:
    """What a workflow comes from, as its errors name it."""
    match workflow:
        case Workflow():
            return workflow.name if workflow.source is None else str(workflow.source)
        case Mapping():
            name = workflow.get("name")
            return name if isinstance(name, str) else "workflow"
    return str(workflow)


def new_run(workflow: Workflow, caller: Caller, **settings: Any) -> Run:
    """A run with a name and a time of its own; `settings` are those of `Run`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Run(workflow, caller, run_id=uuid.uuid4().hex, started_at=now, **settings)
