"""Calls one tool, without a workflow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.middleware import with_retry, with_slots
from orchestrator.calls.timeouts import with_timeout
from orchestrator.calls.tracing import Trace, with_trace
from orchestrator.engine.decide import check_arguments
from orchestrator.errors import CallError, ConfigError, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.servers import problems
from orchestrator.servers.catalog import is_allowed
from orchestrator.servers.pool import ServerPool

Arguments = Mapping[str, Any] | Callable[[Tool], Mapping[str, Any]]


async def call_tool(
    pool: ServerPool,
    target: str,
    arguments: Arguments,
    timeout_s: float | None,
    trace: Trace | None = None,
) -> Any:
    """Call a tool by `server:tool`; takes and raises what `Orchestrator.call` does."""
    server, _, name = target.partition(":")
    tool = await _tool(pool, known_server(pool, server), name)
    given = arguments(tool) if callable(arguments) else arguments
    limit_s = pool.policies[server].timeout_s if timeout_s is None else timeout_s
    writes = tool.read_only is False
    call = Call("call", server, name, dict(given), limit_s, run=uuid.uuid4().hex)
    if tool.key_argument:
        call = call._replace(arguments=tool.with_key(call.arguments, call.idempotency_key))
    sent = check_arguments(tool, call.arguments)
    call = call._replace(arguments=sent, writes=writes, safe=tool.is_safe)
    # Without slots, locks and events, which belong to a run.
    timed = with_trace(with_timeout(pool.call))
    attempt = with_slots(timed, pool.policies, None, group=object())
    state = Attempt()
    state.trace = trace
    return await with_retry(attempt)(call, state)


async def _tool(pool: ServerPool, server: str, name: str) -> Tool:
    """A tool that may be called, of a server that is ready."""
    settings, lock, target = pool.servers[server], pool.lock, f"{server}:{name}"
    if not is_allowed(settings, name):
        raise WorkflowError(target, [problems.denied_tool(settings, name)])
    if lock is not None:  # before the server starts
        if (unlocked := problems.server_not_locked(lock, settings)) is not None:
            raise WorkflowError(target, [unlocked])
        if name not in (listed := lock.of(server)):
            raise WorkflowError(target, [problems.unknown_tool(settings, listed, name, lock)])
    await pool.open([server])
    if (failure := failure_of(pool, server)) is not None:
        raise failure
    if name not in (tools := pool.catalog.tools(server)):
        listed = pool.catalog.listed(server)
        raise WorkflowError(target, [problems.unknown_tool(settings, listed, name)])
    if pool.catalog.is_strange(server, name):
        raise WorkflowError(target, [problems.tool_changed(pool, server, name)])
    return tools[name]


def known_server(pool: ServerPool, server: str) -> str:
    """The name of a server; raises a `ConfigError` if it is unknown."""
    if server not in pool.servers:
        raise ConfigError("servers", [problems.unknown_server(server, pool.servers)])
    return server


def failure_of(pool: ServerPool, server: str) -> CallError | None:
    """Why a server that was to start is not usable; None if it is, or never was to start."""
    if (error := pool.failure(server)) is None:
        return None
    return CallError(error.kind, error.message, retryable=error.retryable, **error.details)
