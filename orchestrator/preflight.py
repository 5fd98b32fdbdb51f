"""Checks a workflow before its first call: its inputs, servers and tools.

The static checker is imported by the functions that need it: a run without a lock file starts its
servers sooner. Longer than other files: its checks share what is known of servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.text import quoted
from orchestrator.errors import ConfigError, Problem, ServerStartError, Severity, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.servers import problems
from orchestrator.servers.catalog import configured, is_allowed
from orchestrator.servers.config import Server, locking_of
from orchestrator.servers.lockfile import Lockfile
from orchestrator.trust import flow_errors, flow_findings
from orchestrator.workflow.inner import in_own_files
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan

if TYPE_CHECKING:
    from orchestrator.check.earlier import Earlier
    from orchestrator.servers.pool import ServerPool

WorkflowSource = str | Path | Mapping[str, Any] | Workflow
# All tools of the known servers, by server and name; other servers are missing.
Listed = Mapping[str, Mapping[str, Tool]]


def check_offline(
    workflow: Workflow, pool: ServerPool, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what needs no server, and return the inputs with their defaults.

    With a lock file, that is the whole plan; else arguments that do not fit fail their task.

    Raises:
        WorkflowError: Something is wrong.
    """
    found: list[Problem] = []
    values: dict[str, Any] = {}
    try:
        values = complete_inputs(workflow.inputs, inputs, workflow.name)
    except WorkflowError as error:  # its problems are reported with all others
        found += error.problems
    found += unknown_servers(workflow, pool.servers)
    tools: Mapping[str, Tool] = {}
    if pool.lock is None:
        found += tool_problems(workflow, pool.servers, {})
    else:
        from orchestrator.check.checker import errors_in

        known, missing = locked(workflow, pool.servers, pool.lock)
        tools = allowed_tools(pool.servers, known)
        found += [*missing, *errors_in(workflow, tools)]
    found += flow_errors(workflow, pool.servers, lambda: tools)
    _refuse(workflow, found)
    return values


def check_online(
    workflow: Workflow,
    pool: ServerPool,
    so_far: str = "nothing was called",
    *,
    grows: bool = False,
) -> None:
    """Check the tools of the servers that started, and that the required ones did.

    `so_far` says what was called until now; `grows` is as for `flow_policy`.

    Raises:
        ServerStartError: A server that is marked `required = true` did not start.
        WorkflowError: A server does not have a tool, or it differs from the lock file.
    """
    missing = [problem for problem in failures(workflow, pool) if problem.severity == "error"]
    _refuse(workflow, missing, so_far, ServerStartError)
    listed = usable(workflow, pool)
    wrong = tool_problems(workflow, pool.servers, listed)
    wrong += prompt_problems(workflow, pool)
    known = partial(allowed_tools, pool.servers, listed)
    wrong += flow_errors(workflow, pool.servers, known, grows=grows)
    _refuse(workflow, [*wrong, *_changed_tools(workflow, pool)], so_far)


def _refuse(
    workflow: Workflow,
    found: Sequence[Problem],
    so_far: str = "nothing was called",
    kind: type[WorkflowError] = WorkflowError,
) -> None:
    """Raise the error for these problems, with lines and columns if the workflow has a file."""
    if not found:
        return
    if workflow.source is None:  # it was made in Python
        raise kind(workflow.name, found, so_far)
    from orchestrator.workflow.source_map import located

    raise kind(str(workflow.source), located(found, workflow.source), so_far)


def check_against(
    workflow: Workflow,
    servers: Mapping[str, Server],
    lock: Lockfile,
    earlier: Earlier | None = None,
) -> list[Problem]:
    """The findings of a workflow with the tools of a lock file, without any server."""
    known, found = locked(workflow, servers, lock)
    for index, problem in enumerate(found):
        if problem.code == "server_not_locked":  # a plan can be checked without its tools
            message = f"{problem.message}; run and call refuse it"
            found[index] = replace(problem, severity="warning", message=message)
    return [*found, *findings(workflow, servers, known, earlier=earlier)]


def findings(
    workflow: Workflow,
    servers: Mapping[str, Server],
    listed: Listed,
    prompts: Mapping[str, Tool] | None = None,
    earlier: Earlier | None = None,
) -> list[Problem]:
    """What the checker and the linter find, with the tools that are known; see `prove`."""
    from orchestrator.check.answers import not_known
    from orchestrator.check.checker import prove
    from orchestrator.check.lint import warnings_of

    serial = {name for name, server in servers.items() if server.max_concurrency == 1}
    tools = allowed_tools(servers, listed) | dict(prompts or {})
    # Why the tools of a server are not known is a problem of its own.
    reasons = tuple(map(not_known, workflow.plan.servers))
    proved = prove(workflow, tools, earlier)
    found = [problem for problem in proved if not problem.message.endswith(reasons)]
    if not listed:  # everything is unknown
        found = [problem for problem in found if problem.severity != "note"]
    idle = {problem.task for problem in found if problem.code == "never_runs" and problem.task}
    flows = flow_findings(workflow, servers, tools, earlier)
    named = [servers[name] for name in workflow.plan.servers if name in servers]
    found += filter(None, map(problems.unpinned_package, named))
    for server in named if earlier is None else ():
        found += problems.misspelled_patterns(server, listed.get(server.name, ()))
    locking = locking_of(servers)

    def is_for_all(lock: str, is_whole: bool) -> bool:
        return locking.is_for_all(lock, is_whole=is_whole)

    warned = warnings_of(workflow, tools, serial, idle, is_for_all=is_for_all)
    return [*found, *flows, *warned]


def allowed_tools(servers: Mapping[str, Server], listed: Listed) -> dict[str, Tool]:
    """The tools that the configuration allows, by `server:tool`."""
    return {
        tool.target: configured(servers[server], tool)
        for server, tools in listed.items()
        for tool in tools.values()
        if is_allowed(servers[server], tool.name)
    }


def check_end(workflow: Workflow, pool: ServerPool, *, has_begun: bool) -> None:
    """Check what has to be there to end a run: the servers of what its `finally` calls.

    Raises:
        WorkflowError: One of them is not configured.
    """
    plans = workflow.plan.closing(inside=has_begun)
    _refuse(workflow, [each for plan in plans for each in _unknown_of(plan, pool.servers)])


def unknown_servers(workflow: Workflow, servers: Mapping[str, Server]) -> list[Problem]:
    """The servers that a workflow names and that are not configured."""
    return _unknown_of(workflow.plan, servers)


def _unknown_of(plan: Plan, servers: Mapping[str, Server]) -> list[Problem]:
    return [
        problems.unknown_server(target.server, servers, at, task.id, target.tool)
        for task, target, at in plan.calls
        if target.server not in servers
    ]


def usable(workflow: Workflow, pool: ServerPool) -> Listed:
    """The tools of the servers that are ready."""
    named = [server for server in workflow.plan.servers if server in pool.servers]
    return {server: pool.catalog.listed(server) for server in named if pool.usable(server)}


def failures(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    """The servers that did not start: an error if they are required, else a warning."""
    found = []
    for server in workflow.plan.servers:
        if server in pool.servers and (failure := pool.failure(server)) is not None:
            severity: Severity = "error" if pool.servers[server].required else "warning"
            message = failure.message
            if severity == "warning":
                message = f"no tool of server {quoted(server)} was checked: {message}"
            found.append(Problem("server_unavailable", message, severity=severity, text=server))
    return found


def locked(
    workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile
) -> tuple[Listed, list[Problem]]:
    """The tools that a lock file has for a workflow, and what it does not have."""
    named = [server for server in workflow.plan.servers if server in servers]
    listed = {server: lock.of(server) for server in named if server in lock}
    found = tool_problems(workflow, servers, listed, lock)
    asked: set[str] = set()  # each server is reported once, where it is named first
    for task, target, at in workflow.plan.calls:
        if target.server in servers and target.server not in asked:
            asked.add(target.server)
            unlocked = problems.server_not_locked(lock, servers[target.server], at, task.id)
            found += [] if unlocked is None else [unlocked]
    return listed, found


def tool_problems(
    workflow: Workflow, servers: Mapping[str, Server], listed: Listed, lock: Lockfile | None = None
) -> list[Problem]:
    """The tools of a workflow that are denied by name, not listed, or not as is configured."""
    wrong: dict[str, bool] = {}  # whether it is denied, by target
    for target in workflow.plan.targets.values():
        if (server := servers.get(target.server)) is not None:
            denied = not is_allowed(server, target.tool)
            if denied or target.tool not in listed.get(target.server, (target.tool,)):
                wrong[target.target] = denied
    refused = [
        problems.denied_request(servers[to.server], to.kind, to.tool, at, task.id)
        for task, to, at in (workflow.plan.calls if workflow.plan.requests else ())
        if to.kind != "tool" and _is_denied(servers, to)
    ]
    refused += [
        problems.denied_tool(servers[to.server], to.tool, at, task.id)
        if wrong[to.target]
        else problems.unknown_tool(
            servers[to.server], listed[to.server], to.tool, lock, at, task.id
        )
        for task, to, at in (workflow.plan.calls if wrong else ())
        if to.target in wrong
    ]
    refused += _misfits(workflow, servers, listed)
    return [*in_own_files(workflow, refused), *problems.of_locks(workflow, servers)]


def _misfits(
    workflow: Workflow, servers: Mapping[str, Server], listed: Listed
) -> Iterator[Problem]:
    """The tools that cannot take a key as is configured, each once, and those with no `cache`.

    Also those that nobody can call.
    """
    asks = any(server.tools for server in servers.values()) or any(workflow.plan.cached)
    tools = (listed.get(to.server, {}).get(to.tool) for to in workflow.plan.targets.values())
    asks = asks or any(tool is not None and tool.tasks for tool in tools)
    seen: set[str] = set()
    for task, to, at in workflow.plan.calls if asks else ():
        tool = listed.get(to.server, {}).get(to.tool) if to.kind == "tool" else None
        if tool is None:
            continue
        if to.target not in seen:
            seen.add(to.target)
            yield from filter(None, [problems.misfit_of_key(servers[to.server], tool, at, task.id)])
        yield from filter(None, [problems.uncallable(tool, at, task.id)])
        if isinstance(to, TaskPlan):  # and no fallback of a task
            yield from filter(None, [problems.not_cacheable(task, tool, at)])


def _is_denied(servers: Mapping[str, Server], request: CallTemplate) -> bool:
    """Whether a resource or prompt may not be used; a URI with references is only known later."""
    server = servers.get(request.server)
    is_known = request.kind == "prompt" or "$" not in request.tool
    return server is not None and is_known and not is_allowed(server, request.tool)


def check_shared(pool: ServerPool) -> None:
    """Refuse to call where what should hold for all processes with a journal does not.

    Raises:
        ConfigError: There is no journal.
    """
    if any(pool.unshared):
        raise not_shared(pool, "there is none")


def not_shared(pool: ServerPool, why: str) -> ConfigError:
    """What is wrong with `scope = "cluster"` without a journal in a database."""
    message = f'scope = "cluster" needs a journal in PostgreSQL, and {why}'
    hint = (
        "name one with --journal postgresql://USER@HOST/DATABASE, ORCHESTRATOR_JOURNAL, or path in "
        '[journal]; in Python with journal="postgresql://..."; or share with the processes of this '
        'machine only: scope = "host"'
    )
    return ConfigError(
        "servers",
        [Problem("wrong_value", message, path, hint=hint) for path in pool.unshared],
    )


def prompt_problems(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    """The prompts of a workflow that their servers do not list, as far as the lists are known."""
    found = []
    for task, to, at in workflow.plan.calls if workflow.plan.prompt_servers else ():
        known = pool.catalog.prompts(to.server) if to.kind == "prompt" else None
        if known is not None and to.target not in known and not _is_denied(pool.servers, to):
            names = [tool.name for tool in known.values()]
            found.append(problems.unknown_prompt(to.server, names, to.tool, at, task.id))
    return found


def resource_problems(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    """The resources of a workflow that their servers do not list, as far as that is known."""
    found = []
    for task, to, at in workflow.plan.calls if workflow.plan.requests else ():
        known = pool.catalog.resources.get(to.server) if to.kind == "read" else None
        if known is not None and (to.tool in known.templates or not known.may_have(to.tool)):
            found.append(problems.unknown_resource(to.server, known, to.tool, at, task.id))
    return found


def known_prompts(workflow: Workflow, pool: ServerPool) -> dict[str, Tool]:
    """The known prompts of the servers of a workflow, by `prompt server:name`."""
    servers = (server for server in workflow.plan.servers if server in pool.servers)
    known = (pool.catalog.prompts(server) or {} for server in servers)
    return {target: tool for each in known for target, tool in each.items()}


def _changed_tools(workflow: Workflow, pool: ServerPool) -> Iterator[Problem]:
    """Each tool that a workflow names and that differs from the lock file, once."""
    targets = workflow.plan.targets.values()
    changed = {t.target for t in targets if pool.catalog.is_strange(t.server, t.tool)}
    for task, target, at in workflow.plan.calls if changed else ():
        if target.target in changed:
            changed.discard(target.target)
            yield problems.tool_changed(pool, target.server, target.tool, at, task.id)
