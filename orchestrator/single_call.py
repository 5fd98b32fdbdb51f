"""Calls one tool, reads one resource or gets one prompt, without a workflow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.middleware import with_retry, with_slots
from orchestrator.calls.timeouts import with_timeout
from orchestrator.calls.tracing import Trace, with_trace
from orchestrator.engine.decide import check_arguments
from orchestrator.errors import CallError, ConfigError, InvalidArgumentsError, WorkflowError
from orchestrator.schema.requests import request_tool
from orchestrator.schema.tool import Tool
from orchestrator.servers import problems
from orchestrator.servers.catalog import is_allowed
from orchestrator.servers.pool import ServerPool

_REQUESTS = ("read", "prompt")
Arguments = Mapping[str, Any] | Callable[[Tool], Mapping[str, Any]]


async def call_tool(
    pool: ServerPool,
    target: str,
    arguments: Arguments,
    timeout_s: float | None,
    trace: Trace | None = None,
) -> Any:
    """Call a tool by `server:tool`; takes and raises what `Orchestrator.call` does."""
    kind, server, name = parts_of(pool, target)
    tool = await (_tool if kind == "tool" else partial(_request, kind))(pool, server, name)
    given = arguments(tool) if callable(arguments) else arguments
    limit_s = pool.policies[server].timeout_s if timeout_s is None else timeout_s
    writes = tool.read_only is False
    call = Call("call", server, name, dict(given), limit_s, run=uuid.uuid4().hex, kind=kind)
    if kind == "read":
        call = _reading(call)
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


def parts_of(pool: ServerPool, target: str) -> tuple[str, str, str]:
    """The kind of what a target names, its server, and its name there."""
    server, _, name = target.partition(":")
    kind, blank, rest = server.partition(" ")
    if blank and kind in _REQUESTS and server not in pool.servers:  # a name may have blanks
        return kind, known_server(pool, rest), name
    return "tool", known_server(pool, server), name


async def complete(
    pool: ServerPool, target: str, argument: str, value: str, given: Mapping[str, str]
) -> list[str]:
    """The values that a server proposes; takes and raises what `Orchestrator.complete` does."""
    kind, server, name = parts_of(pool, target)
    await pool.open([server])
    if (failure := failure_of(pool, server)) is not None:
        raise failure
    if kind == "tool" or not is_allowed(pool.servers[server], name):
        return []
    return await (await pool.offers(server)).complete(kind, name, argument, value, given)


async def _request(kind: str, pool: ServerPool, server: str, name: str) -> Tool:
    """What stands for a resource or a prompt that may be used, of a server that is ready."""
    settings = pool.servers[server]
    if "{" not in name and not is_allowed(settings, name):
        raise WorkflowError(name, [problems.denied_request(settings, kind, name)])
    await pool.open([server])
    if (failure := failure_of(pool, server)) is not None:
        raise failure
    if kind == "read":
        return _template_tool(server, name)
    await pool.learn_prompts([server])
    known = pool.catalog.prompts(server)
    if known and f"prompt {server}:{name}" not in known:
        names = [tool.name for tool in known.values()]
        raise WorkflowError(name, [problems.unknown_prompt(server, names, name)])
    return (known or {}).get(f"prompt {server}:{name}") or request_tool(kind, server, name)


def _template_tool(server: str, template: str) -> Tool:
    """What stands for a resource: its arguments are the variables of its URI."""
    from orchestrator.servers.uri_templates import variables_of

    texts = {name: {"type": "string"} for name in variables_of(template)}
    schema = {"type": "object", "properties": texts, "additionalProperties": False}
    return Tool(server, template, schema, read_only=True)


def _reading(call: Call) -> Call:
    """A call that reads the resource whose URI a template has with the arguments."""
    from orchestrator.servers.uri_templates import expanded

    if not call.arguments and "{" not in call.tool:
        return call
    try:
        return call._replace(tool=expanded(call.tool, call.arguments))
    except ValueError as error:
        raise InvalidArgumentsError(str(error), tool=call.tool) from None


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
