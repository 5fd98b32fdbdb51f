"""What is checked between a workflow that is valid and its first call: inputs, servers, tools.

The rule of this file: it raises a `WorkflowError` with everything that is wrong, and does nothing.
What only some commands need is imported when they do: until the first program is started, every
moment counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.documents.pointer import pointer, replace_op
from orchestrator.documents.suggest import certain, nearest
from orchestrator.engine.schedules import SCHEDULES
from orchestrator.errors import Problem, ServerStartError, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.servers.catalog import is_allowed
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import (
    TaskPlan,
)

if TYPE_CHECKING:
    from orchestrator.servers.pool import ServerPool

Listed = Mapping[str, Mapping[str, Tool]]
"""All tools that servers list, by server and name; a server that is not in it is not known."""

MAX_LISTED = 10


def check_overrides(
    workflow: Workflow,
    schedule: str | None = None,
    max_concurrency: int | None = None,
    estimates: Mapping[str, float] | None = None,
) -> None:
    """Check what is to be used instead of the workflow's own."""
    problems = []
    if schedule is not None and schedule not in SCHEDULES:
        near = nearest(schedule, SCHEDULES) or tuple(SCHEDULES)
        message = f"there is no schedule {schedule!r}"
        problems.append(Problem("wrong_value", message, "/schedule", None, near))
    if max_concurrency is not None and max_concurrency < 0:
        message = f"max_concurrency has to be at least 0, not {max_concurrency}"
        problems.append(Problem("wrong_value", message, "/max_concurrency"))
    problems += problems_of_estimates(workflow.plan.tasks, estimates or {})
    if problems:
        raise WorkflowError(workflow.name, problems)


def check_offline(
    workflow: Workflow, pool: ServerPool, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The complete inputs, if they, the servers' names and what the lock can tell are right."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    try:
        values = complete_inputs(workflow.inputs, inputs, workflow.name)
    except WorkflowError as error:
        problems += error.problems
    problems += unknown_servers(workflow, pool.servers)
    problems += _locked_problems(workflow, pool)
    if problems:
        raise refused(workflow, problems)
    return values


def unknown_servers(workflow: Workflow, servers: Mapping[str, Server]) -> list[Problem]:
    """The servers that a workflow names and that are not there."""
    if all(server in servers for server in workflow.plan.servers):
        return []
    return [
        unknown_server(target.server, servers, task=task, at=at, tool=target.tool)
        for task, target, at in workflow.plan.calls
        if target.server not in servers
    ]


def _locked_problems(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    """What is wrong beside the tools of the lock, if there is one: with it a plan is proved first.

    Without one, arguments that do not fit are an error of their task.
    """
    lock = pool.lock
    if lock is None:
        return []
    from orchestrator.check.checker import errors_in

    tools = allowed_tools(pool.servers, _locked(workflow, pool.servers, lock))
    return [*locked_problems(workflow, pool.servers, lock), *errors_in(workflow, tools)]


def _locked(workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile) -> Listed:
    """The tools of the servers that a workflow names, as far as they are in the lock."""
    named = [server for server in workflow.plan.servers if server in servers and server in lock]
    return {server: lock.of(server) for server in named}


def check_against(
    workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile
) -> list[Problem]:
    """Everything that shows in a workflow beside the tools of a lock, without any server.

    A server that is not in the lock is a warning: nothing is known of its tools.
    """
    found = map(_only_warned, locked_problems(workflow, servers, lock))
    return [*found, *findings(workflow, servers, _locked(workflow, servers, lock))]


def check_open(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    """The same beside the tools of the servers, all of which were to be opened."""
    known = [server for server in workflow.plan.servers if server in pool.servers]
    found = [
        Problem(
            "server_unavailable",
            failure.message,
            severity="error" if pool.servers[server].required else "warning",
        )
        for server in known
        if (failure := pool.failure(server)) is not None
    ]
    listed = {server: pool.listed(server) for server in known if pool.usable(server)}
    found += tool_problems(workflow, pool.servers, listed)
    return [*found, *findings(workflow, pool.servers, listed)]


def locked_problems(
    workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile
) -> list[Problem]:
    """What is wrong with the tools that a workflow names, as far as the lock can tell.

    Args:
        workflow: The workflow.
        servers: The settings of the servers; what is not in them is left to others.
        lock: The definitions of their tools.
    """
    listed = _locked(workflow, servers, lock)
    unlocked = {name for name in workflow.plan.servers if name in servers and name not in lock}
    found = tool_problems(workflow, servers, listed, lock)
    for task, target, at in workflow.plan.calls if unlocked else ():
        if target.server in unlocked:
            unlocked.discard(target.server)
            found.append(not_locked(lock, target.server, at, task.id))
    return found


def _only_warned(problem: Problem) -> Problem:
    """A server that is not in the lock, as a warning for whoever only looks."""
    if problem.code != "server_not_locked":
        return problem
    message = f"{problem.message}, and run and call refuse it"
    return replace(problem, severity="warning", message=message)


def not_locked(lock: Lockfile, server: str, at: str = "", task: str | None = None) -> Problem:
    """The problem of a server that is not in the lock."""
    message = f"server {server!r} is not in {lock.source}, so that its tools are not known"
    hint = f"lock it with: {lock.update_command(server)}"
    return Problem("server_not_locked", message, at, task, hint=hint)


def findings(workflow: Workflow, servers: Mapping[str, Server], listed: Listed) -> list[Problem]:
    """Everything that shows in a workflow only beside the tools that it calls.

    The one place for the tools of servers that are open and for those of a lock.

    Args:
        workflow: The workflow.
        servers: The settings of the servers.
        listed: The tools that are known; may be empty.
    """
    from orchestrator.check.checker import prove
    from orchestrator.check.lint import warnings_of

    serial = {name for name, server in servers.items() if server.max_concurrency == 1}
    tools = allowed_tools(servers, listed)
    proved = prove(workflow, tools)
    if not listed:  # where nobody was asked, everything is unknown
        proved = [problem for problem in proved if problem.severity != "note"]
    unsaid = tuple(f"the tools of server {name!r} are not known" for name in workflow.plan.servers)
    # Why they are not is a finding of its own, on the server or on the tool.
    proved = [problem for problem in proved if not problem.message.endswith(unsaid)]
    return [*proved, *warnings_of(workflow, tools, serial)]


def allowed_tools(servers: Mapping[str, Server], listed: Listed) -> dict[str, Tool]:
    """The tools that the servers' settings let be called, by `server:tool`."""
    return {
        tool.target: tool
        for server, tools in listed.items()
        for tool in tools.values()
        if is_allowed(servers[server], tool.name)
    }


def check_online(workflow: Workflow, pool: ServerPool, so_far: str = "nothing was called") -> None:
    """Check that the servers that are there have the tools, and those that must be are there.

    Args:
        workflow: The workflow.
        pool: The servers.
        so_far: What was called until now, for the message.

    Raises:
        ServerStartError: A server that is marked `required = true` is not there.
        WorkflowError: A server does not have a tool, or has another one than the lock.
    """
    failures = {server: pool.failure(server) for server in workflow.plan.servers}
    missing = [
        Problem("server_unavailable", failure.message)
        for server, failure in failures.items()
        if failure is not None and pool.servers[server].required
    ]
    if missing:
        raise refused(workflow, missing, so_far, ServerStartError)
    listed = {
        server: pool.listed(server) for server in workflow.plan.servers if pool.usable(server)
    }
    problems = [*tool_problems(workflow, pool.servers, listed), *_changed_tools(workflow, pool)]
    if problems:
        raise refused(workflow, problems, so_far)


def tool_problems(
    workflow: Workflow, servers: Mapping[str, Server], listed: Listed, lock: Lockfile | None = None
) -> list[Problem]:
    """The tools that a workflow names, and their servers do not have, or that may not be called.

    Args:
        workflow: The workflow.
        servers: The settings of the servers.
        listed: The tools that are known.
        lock: Where these come from, if it is a lock.
    """
    wrong = {
        target.target
        for target in workflow.plan.targets.values()
        if (tools := listed.get(target.server)) is not None
        and not (target.tool in tools and is_allowed(servers[target.server], target.tool))
    }
    if not wrong:
        return []
    return [
        unknown_tool(servers[target.server], listed[target.server], target.tool, lock, at, task.id)
        for task, target, at in workflow.plan.calls
        if target.target in wrong
    ]


def _changed_tools(workflow: Workflow, pool: ServerPool) -> Iterator[Problem]:
    """The tools that a workflow names and that are not what the lock says; each of them once."""
    strange = {
        target.target
        for target in workflow.plan.targets.values()
        if pool.is_strange(target.server, target.tool)
    }
    for task, target, at in workflow.plan.calls if strange else ():
        if target.target in strange:
            strange.discard(target.target)
            yield tool_changed(pool, target.server, target.tool, at, task.id)


def tool_changed(
    pool: ServerPool, server: str, tool: str, at: str = "", task: str | None = None
) -> Problem:
    """The problem of a tool that is not what the lock says.

    Args:
        pool: The servers, with a lock.
        server: The server, and `tool` the name of the tool.
        at: Where, as a JSON Pointer.
        task: The task that names it, if one does.
    """
    assert pool.lock is not None
    difference = pool.difference(server, tool)
    message = f"{server}:{tool} is not what {pool.lock.source} says: {difference}"
    lock = pool.lock
    hint = f"all of it: {lock.check_command(server)}; accept it: {lock.update_command(server)}"
    return Problem("tool_changed", message, at, task, hint=hint)


def unknown_tool(
    server: Server,
    listed: Mapping[str, Tool],
    tool: str,
    lock: Lockfile | None = None,
    at: str = "",
    task: str | None = None,
) -> Problem:
    """The problem of a tool that its server does not have, or that may not be called.

    Args:
        server: The server.
        listed: All tools that it lists.
        tool: The name that is wrong.
        lock: Where the list comes from, if it is a lock.
        at: Where, as a JSON Pointer.
        task: The task that names it, if one does.
    """
    if tool in listed:
        message = f"the configuration does not allow {server.name}:{tool}"
        hint = f"see allow and deny of server {server.name!r}"
        return Problem("denied_tool", message, at, task, (), hint, text=tool)
    tools = [name for name in listed if is_allowed(server, name)]
    near = nearest(tool, tools)
    listing = ", ".join(tools[:MAX_LISTED]) + (", ..." if len(tools) > MAX_LISTED else "")
    hint = "" if near else f"its tools: {listing}" if tools else "it has no tools"
    message = f"server {server.name!r} has no tool {tool!r}"
    if lock is not None:
        message += f" in {lock.source}"
        new = f"if it is new: {lock.update_command(server.name)}"
        hint = f"{hint}; {new}" if hint else new
    meant = certain(tool, near)
    operations = (replace_op(at, f"{server.name}:{meant}"),) if meant and at else ()
    return Problem("unknown_tool", message, at, task, near, hint, text=tool, replacement=operations)


def refused(
    workflow: Workflow,
    problems: Sequence[Problem],
    so_far: str = "nothing was called",
    kind: type[WorkflowError] = WorkflowError,
) -> WorkflowError:
    """The error of a workflow in which these are wrong, with their places if it has a file."""
    if workflow.source is None:
        return kind(workflow.name, problems, so_far)
    from orchestrator.workflow.source_map import located

    return kind(str(workflow.source), located(problems, workflow.source), so_far)


def unknown_server(
    server: str,
    known: Iterable[str],
    task: TaskPlan | None = None,
    at: str = "",
    tool: str = "",
) -> Problem:
    """The problem of a server that is not among those that are known.

    Args:
        server: The name that is wrong.
        known: The names of all servers.
        task: The task that names it, if one does.
        at: Where, as a JSON Pointer.
        tool: The tool that is named with it, so that the name can be mended.
    """
    names = list(known)
    near = nearest(server, names)
    hint = "" if near else f"servers: {', '.join(names)}"
    message = f"there is no server {server!r}"
    meant = certain(server, near)
    operations = (replace_op(at, f"{meant}:{tool}"),) if meant and tool else ()
    name = task.id if task else None
    return Problem(
        "unknown_server", message, at, name, near, hint, text=server, replacement=operations
    )


def problems_of_estimates(tasks: Iterable[str], estimates: Mapping[str, float]) -> list[Problem]:
    """What is wrong with a caller's estimates: tasks that are not there, times that are none."""
    return list(_problems(list(tasks), estimates)) if estimates else []


def _problems(tasks: list[str], estimates: Mapping[str, float]) -> Iterator[Problem]:
    known = set(tasks)
    for task, seconds in estimates.items():
        path = pointer("estimates", task)
        if task not in known:
            near = nearest(str(task), tasks)
            yield Problem("unknown_task", f"there is no task {task!r}", path, None, near)
        elif not _is_a_time(seconds):
            message = f"an estimate has to be a number of seconds from 0 on, not {seconds!r}"
            yield Problem("wrong_value", message, path, task)


def _is_a_time(seconds: object) -> bool:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return is_number and 0 <= seconds <= sys.float_info.max  # type: ignore[operator]
