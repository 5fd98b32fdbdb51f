"""What can be asked of servers, and of a workflow, without a run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.checking import findings_of, of_ready, source_of
from orchestrator.durable import hiding
from orchestrator.engine.events import Event, ServerReady, StartTimes
from orchestrator.errors import CallError, Problem, WorkflowError
from orchestrator.journal.hiding import Hiding
from orchestrator.owner import Owned
from orchestrator.preflight import (
    WorkflowSource,
    allowed_tools,
    check_shared,
)
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import secrets_in
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.redaction import redact
from orchestrator.single_call import Arguments, call_tool, complete, failure_of, known_server
from orchestrator.telemetry.telemetry import Telemetry
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.servers.offers import Entry, Kind


@dataclass(frozen=True, slots=True)
class ServerState:
    """How a server started.

    Attributes:
        name: The server.
        startup_ms: How long its start took, milliseconds, also of one that failed.
        protocol: The revision of MCP that was agreed on; empty if it did not start.
        tools: How many tools of it may be called.
        failure: Why it cannot be used; None if it can.
    """

    name: str
    startup_ms: float
    protocol: str = ""
    tools: int = 0
    failure: CallError | None = None


class Inspector(Owned):
    """Checks workflows against servers, lists what these have, and makes single calls."""

    def __init__(
        self, pool: ServerPool, held: AbstractAsyncContextManager[Any] | None = None
    ) -> None:
        super().__init__(pool if held is None else held)
        self._pool, self._telemetry = pool, Telemetry(pool)

    async def check(self, workflow: WorkflowSource) -> list[Problem]:
        """Check a workflow against its servers; with a lock against that, and no server starts.

        Returns:
            Warnings: what is allowed and most likely not meant. Notes: what cannot be known.

        Raises:
            WorkflowError: The workflow or its servers are wrong; with every mistake.
        """
        found = await self.findings(workflow)
        if errors := [problem for problem in found if problem.severity == "error"]:
            raise WorkflowError(source_of(workflow), errors)
        return found

    async def findings(self, workflow: WorkflowSource) -> list[Problem]:
        """What `check` finds: errors, warnings and notes, in the order of the file.

        Raises:
            WorkflowError: The workflow is too broken to check further.
        """
        return await findings_of(workflow, self._pool)

    def warnings(self, workflow: Workflow) -> list[Problem]:
        """The warnings of `findings`, as far as the servers tell that are ready; starts none."""
        return of_ready(workflow, self._pool, "warning")

    def known_errors(self, workflow: Workflow) -> list[Problem]:
        """The errors of `findings`, as far as the servers tell that are ready; starts none."""
        return of_ready(workflow, self._pool, "error")

    async def errors(self, workflow: Workflow, wait_s: float) -> list[Problem]:
        """The errors of `findings`, as far as the servers tell that are ready after `wait_s`."""
        pool = self._pool
        named = workflow.plan.servers if pool.lock is None else ()  # a lock knows the tools
        known = [name for name in named if name in pool.servers]
        with anyio.move_on_after(wait_s):
            await pool.open([name for name in known if pool.failure(name) is None])
        return of_ready(workflow, self._pool, "error")

    @property
    def servers(self) -> tuple[str, ...]:
        """The names of the servers, in the order of their configuration."""
        return tuple(self._pool.servers)

    @property
    def trusted_workflows(self) -> frozenset[str]:
        """The names of the workflows with tasks that their operator answers for."""
        return frozenset(each.workflow for each in self._pool.servers.trusted)

    @property
    def tools_version(self) -> int:
        """A number that changes whenever what `known_tools` gives may have changed."""
        return self._pool.catalog.version

    def known_tools(self) -> dict[str, dict[str, Tool]]:
        """The tools that may be called, by server and name, as far as they are known; starts none.

        They are those of the lock, or else what each server listed last; others are missing.
        """
        pool = self._pool
        named = [n for n in pool.servers if pool.usable(n) or pool.catalog.listed(n)]
        listed = {name: pool.catalog.tools(name) for name in named}
        for name in pool.servers:
            if name not in listed and pool.lock is not None and name in pool.lock:
                allowed = allowed_tools(pool.servers, {name: pool.lock.of(name)})
                listed[name] = {tool.name: tool for tool in allowed.values()}
        return listed

    async def learn(self) -> None:
        """Wait until the tools of all servers are known that start, or that the lock has."""
        lock, pool = self._pool.lock, self._pool
        unknown = [name for name in pool.servers if lock is None or name not in lock]
        # One that has failed is started again by a run that needs it.
        await pool.open([name for name in unknown if pool.failure(name) is None])

    @cached_property
    def hide(self) -> Callable[[Any], Any]:
        """Gives a JSON value without the secrets of the servers."""
        return partial(redact, forms=secrets_in(self._pool.servers.values()))

    @cached_property
    def hiding(self) -> Hiding:
        """Hides the secrets of the servers in what is kept."""
        return hiding(self._pool)

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something in the background, at most until the orchestrator is closed."""
        self._pool.start_soon(work)

    def kill(self) -> None:
        """End the programs of all servers at once, if there is no time to leave the block."""
        self._pool.kill()

    async def tools(self, server: str | None = None, *, denied: bool = False) -> list[Tool]:
        """The tools of a server, or of all of them; servers that do not start have none.

        Args:
            server: The server; None for all.
            denied: Whether to include tools that the configuration does not allow.

        Raises:
            ConfigError: The server is unknown.
        """
        pool = self._pool
        names = list(pool.servers) if server is None else [known_server(pool, server)]
        await pool.open(names)
        of = pool.catalog.listed if denied else pool.catalog.tools
        return [tool for name in names for tool in of(name).values()]

    async def states(self) -> list[ServerState]:
        """Start all servers, and tell how that went."""
        pool, protocols = self._pool, dict[str, str]()

        def note(event: Event) -> None:
            if isinstance(event, ServerReady):
                protocols[event.server] = event.protocol

        times = StartTimes(note)
        await pool.open(pool.servers, times)
        return [
            ServerState(
                name,
                times.ms.get(name, 0.0),
                protocols.get(name, ""),
                len(pool.catalog.tools(name)),
                self.failure(name),
            )
            for name in pool.servers
        ]

    async def offered(self, server: str, kind: Kind) -> list[Entry] | None:
        """What a server lists besides tools: `resources`, `resource_templates` or `prompts`.

        Returns:
            Each entry as the server sent it; None if the server does not have that capability.

        Raises:
            ConfigError: The server is unknown.
            CallError: It does not start, or does not answer with a list.
        """
        await self._pool.open([known_server(self._pool, server)])
        if (failure := self.failure(server)) is not None:
            raise failure
        return await self._pool.offered(server, kind)

    def failure(self, server: str) -> CallError | None:
        """Why a server that was to start is not usable; None if it is, or never was to start."""
        return failure_of(self._pool, server)

    async def call(
        self, target: str, arguments: Arguments | None = None, timeout_s: float | None = None
    ) -> Any:
        """Call one tool, by `server:tool`, and return its output.

        `read server:uri` reads a resource, whose URI may be a template with the arguments as its
        values, and `prompt server:name` gets a prompt. `arguments` may be a function that makes
        them from the tool.

        Raises:
            WorkflowError: The server or the tool is unknown.
            CallError: The call failed; an `InvalidArgumentsError` if the arguments do not fit the
                tool's schema, so that no call was made.
        """
        check_shared(self._pool)
        trace = self._telemetry.of_call()
        return await call_tool(self._pool, target, arguments or {}, timeout_s, trace)

    async def complete(
        self, target: str, argument: str, value: str = "", given: Mapping[str, str] | None = None
    ) -> list[str]:
        """The values that a server proposes for an argument of a prompt or a URI template.

        Args:
            target: `prompt server:name`, or `read server:template`.
            argument: The argument.
            value: How its value begins.
            given: The values of others, on which it may depend.

        Returns:
            At most 100; none if the server proposes nothing, as of a tool.

        Raises:
            ConfigError: The server is unknown.
            CallError: It does not start, or does not answer with values.
        """
        return await complete(self._pool, target, argument, value, given or {})
