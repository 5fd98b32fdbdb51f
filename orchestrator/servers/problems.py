"""The problems of a workflow or a command that names servers and tools which it cannot use.

In all of them `at` is where the name is, as a JSON Pointer, and `task` the task it is in.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from orchestrator.documents.pointer import pointer, replace_op
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.documents.uris import fits_any
from orchestrator.errors import Problem
from orchestrator.schema.tool import NO_TASKS, Tool
from orchestrator.servers.catalog import is_allowed, why_no_key
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.lockfile import Definition, Lockfile
from orchestrator.servers.packages import packages_of
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.inner import findings_inside
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

if TYPE_CHECKING:
    from orchestrator.servers.pool import ServerPool
    from orchestrator.servers.uri_templates import KnownResources

MAX_LISTED = 10  # tools in a hint
MAX_NEAR = 3  # that may have been meant
MAX_COMMAND = 200  # characters of a command or URL


def misspelled_patterns(server: Server, tools: Iterable[str]) -> Iterator[Problem]:
    """Patterns that match no tool of their server, but nearly do: they have no effect."""
    names = list(tools)
    for field in ("approve", "sensitive", "deny", "allow"):
        patterns = getattr(server, field)
        for pattern in patterns if isinstance(patterns, list) else ():
            near = nearest(pattern.strip("*?"), names)
            if near and not any(fnmatch.fnmatchcase(name, pattern) for name in names):
                where = f"{field} of server {quoted(server.name)} in servers.toml"
                message = f"{where}: {quoted(pattern)} fits none of its tools"
                yield Problem("means_nothing", message, "", None, near, severity="warning")


def unknown_server(
    server: str, known: Iterable[str], at: str = "", task: str | None = None, tool: str = ""
) -> Problem:
    """A server that is not configured; `tool`, which is named with it, is for the replacement."""
    if isinstance(known, ServerTable) and (why := known.off.get(server)) is not None:
        message, hint = f"server {quoted(server)} is disabled: {why}", "remove that to enable it"
        return Problem("unknown_server", message, at, task, hint=hint, text=server)
    names = list(known)
    near = nearest(server, names)
    hints = [f"servers: {', '.join(names)}"] if names and not near else []
    if isinstance(known, ServerTable) and known.others:
        hints.append(known.others)
    hint = "; ".join(hints)
    meant = certain(server, near)
    fix = (replace_op(at, f"{meant}:{tool}"),) if meant and tool and _is_in_file(at) else ()
    message = f"unknown server {quoted(server)}"
    return Problem("unknown_server", message, at, task, near, hint, text=server, replacement=fix)


def of_locks(workflow: Workflow, servers: Mapping[str, Server]) -> Iterator[Problem]:
    """The locks, as far as their names are known, of which there is never as much as is wanted."""
    if not isinstance(servers, ServerTable):  # it is not known
        return
    for task in workflow.plan.tasks.values():
        for index, lock in enumerate(task.policies.locks):
            if (hold := lock.literal) is not None:
                at = pointer(*task.path, "locks", index)
                yield from _of_lock(hold, servers.locking.resources, at, task.id)
        if task.inner is not None:
            inside = list(of_locks(task.inner, servers))
            yield from findings_inside(workflow, task, task.inner, inside)


def _of_lock(hold: Hold, resources: Mapping[str, int], at: str, task: str) -> Iterator[Problem]:
    name, most, field = hold.name, resources.get(hold.name), "count"
    near: tuple[str, ...] = ()
    if hold.shared and (most or 1) > 1:
        message = f"lock {quoted(name)} is a resource of {most}, which is counted and not shared"
        hint, field = 'write "count": 1', "mode"
    elif (hold.number or 1) <= (most or 1):
        return
    elif most is None:
        near = nearest(name, resources)
        message = f"there is 1 of lock {quoted(name)}, got a count of {hold.number}"
        hint = f"write into the servers' file, below [resources]: {name} = {hold.number}"
    else:
        message = f"expected a count of at most {most} for {quoted(name)}, got {hold.number}"
        hint = f"the servers' file has, below [resources]: {name} = {most}"
    yield Problem("wrong_value", message, f"{at}/{field}", task, near, hint, text=name)


def _is_in_file(at: str) -> bool:
    """Whether a name is at a path; that in an inner workflow's own file only has the file there."""
    return bool(at) and not at.endswith("/workflow")


def denied_tool(server: Server, tool: str, at: str = "", task: str | None = None) -> Problem:
    """A tool that `allow` and `deny` of its server exclude, whether it exists or not."""
    message = f"the configuration does not allow tool {quoted(f'{server.name}:{tool}')}"
    # A misspelt name fails here too, since `allow` has only the right one.
    near = nearest(tool, [name for name in server.allow or () if is_allowed(server, name)])
    hint = f"see allow and deny of server {quoted(server.name)}"
    return Problem("denied_tool", message, at, task, near, hint, text=tool)


def misfit_of_key(server: Server, tool: Tool, at: str, task: str | None) -> Problem | None:
    """What is wrong with the argument that is to take a tool's idempotency key; None if nothing.

    A pattern is about those of its tools that have such an argument.
    """
    pattern, settings = server.settings_of(tool.name)
    argument = settings.idempotency_argument
    if argument is None or not (why := why_no_key(tool, argument)):
        return None
    is_known = argument in tool.declared
    if pattern != tool.name and not is_known:
        return None
    near = () if is_known else nearest(argument, tool.declared)
    message = f"tool {quoted(tool.target)} {why}; it is to take the idempotency key of each call"
    hint = f"see idempotency_argument in [servers.{server.name}.tools.{quoted(pattern)}]"
    return Problem("wrong_key_argument", message, at, task, near, hint, text=tool.name)


def uncallable(tool: Tool, at: str, task: str) -> Problem | None:
    """A tool that nobody can call: it needs a task of MCP, and its server offers none."""
    if tool.tasks != NO_TASKS:
        return None
    message = (
        f"{quoted(tool.target)} can only be called as a task of MCP, and its server offers none"
    )
    hint = "that is a mistake of the server: call another tool, or ask its author"
    return Problem("uncallable_tool", message, at, task, hint=hint, text=tool.name)


def not_cacheable(task: TaskPlan, tool: Tool, at: str) -> Problem | None:
    """What speaks against keeping the answers of a task with `cache`; `at` is where its tool is."""
    cache = task.policies.cache
    if cache is None or cache.allows(tool):
        return None
    why, hint = "it writes", "remove cache, which only tools with readOnlyHint: true can have"
    if tool.read_only is None:
        why = "it does not declare that it only reads"
    elif tool.read_only:
        why = "it declares that it reaches an open world, whose answers change"
        hint = 'if an old answer will do, write "open_world": true in cache'
    message = f"the answers of {quoted(tool.target)} cannot be kept: {why}"
    where = f"{at.removesuffix('/tool')}/cache" if at.endswith("/tool") else at
    return Problem("not_cacheable", message, where, task.id, hint=hint)


_VARIABLE = re.compile(r"\{[+#./;?&]?(\w+)[^}]*\}")


def denied_request(
    server: Server, kind: str, name: str, at: str = "", task: str | None = None
) -> Problem:
    """A resource or a prompt that `allow` and `deny` of its server exclude."""
    what = "resource" if kind == "read" else "prompt"
    message = f"the configuration does not allow {what} {quoted(f'{server.name}:{name}')}"
    denying = [pattern for pattern in server.deny if fits_any(name, [pattern])]
    why = f"{quoted(denying[0])} of deny fits it" if denying else "no pattern of allow fits it"
    hint = f"see allow and deny of server {quoted(server.name)}: {why}"
    return Problem("denied_tool", message, at, task, hint=hint, text=name)


def unknown_prompt(
    server: str, prompts: Iterable[str], prompt: str, at: str = "", task: str | None = None
) -> Problem:
    """A prompt that its server does not list."""
    names = list(prompts)
    near = nearest(prompt, names)
    known = f"prompts of server {quoted(server)}: {listed(names, MAX_LISTED)}"
    hint = "" if near else known if names else f"server {quoted(server)} has no prompts"
    message = f"unknown prompt {quoted(f'{server}:{prompt}')}"
    meant = certain(prompt, near)
    fix = (replace_op(at, f"{server}:{meant}"),) if meant and at else ()
    return Problem("unknown_prompt", message, at, task, near, hint, text=prompt, replacement=fix)


def unknown_resource(
    server: str, known: KnownResources, uri: str, at: str = "", task: str | None = None
) -> Problem:
    """A resource that its server does not list; it may have it all the same."""
    resource, names = quoted(f"{server}:{uri}", MAX_COMMAND), [*known.uris, *known.templates]
    if not known.has_any:
        message = f"server {quoted(server)} has no resources, and is to read {resource}"
        return Problem("unknown_resource", message, at, task, severity="warning", text=uri)
    if uri in known.templates:
        message = f"{resource} is a template, and is read as it stands"
        filled = quoted(_VARIABLE.sub("$INPUT.\\1", uri), MAX_COMMAND)
        hint = f"write a value or a reference in place of what is in braces, as in {filled}"
        return Problem("unknown_resource", message, at, task, (), hint, "warning", text=uri)
    near = nearest(uri, names)
    message = f"server {quoted(server)} lists no resource and no template that fits {resource}"
    hint = "" if near else f"it lists: {listed(names, MAX_LISTED)}"
    return Problem("unknown_resource", message, at, task, near, hint, "warning", text=uri)


def unknown_tool(
    server: Server,
    tools: Mapping[str, Tool],
    tool: str,
    lock: Lockfile | None = None,
    at: str = "",
    task: str | None = None,
) -> Problem:
    """A tool that its server does not have.

    `tools` are all tools of the server by name, from the lock file if one is given.
    """
    allowed = [name for name in tools if is_allowed(server, name)]
    near = nearest(tool, allowed)
    gone = None if lock is None else lock.gone.get(server.name, {}).get(tool)
    if gone is not None:
        alike = [name for name in allowed if _is_alike(gone, tools[name])]
        near = tuple(dict.fromkeys([*alike, *near]))[:MAX_NEAR]
    known = f"tools of server {quoted(server.name)}: {listed(allowed, MAX_LISTED)}"
    hints = [] if near else [known]
    message = f"unknown tool {quoted(f'{server.name}:{tool}')}"
    if gone is not None:
        message += f": server {quoted(server.name)} does not offer it any more"
        hints.append("keep the version of the server that has it, or call another tool")
    elif lock is not None:
        message += f": {lock.source} does not have it"
        hints.append(f"if it is new: {lock.update_command(server.name)}")
    # The alternatives are names of tools, as the server is right; the file has both.
    meant = certain(tool, near)
    fix = (replace_op(at, f"{server.name}:{meant}"),) if meant and _is_in_file(at) else ()
    hint = "; ".join(hints)
    return Problem("unknown_tool", message, at, task, near, hint, text=tool, replacement=fix)


def _is_alike(definition: Definition, tool: Tool) -> bool:
    """Whether a tool takes and gives what another one did, if that says anything."""
    schemas = definition["inputSchema"], definition.get("outputSchema")
    has_any = bool(schemas[0].get("properties")) or schemas[1] is not None
    return has_any and schemas == (tool.input_schema, tool.output_schema)


def server_not_locked(
    lock: Lockfile, server: Server, at: str = "", task: str | None = None
) -> Problem | None:
    """A server that is not in the lock file, or is another one there; None if it is locked."""
    name, fix = quoted(server.name), lock.update_command(server.name)
    if server.name not in lock:
        message = f"server {name} is not in {lock.source}, so its tools are not known"
        hint = f"lock it with: {fix}"
    elif before := lock.moved_from(server.name, server.description):
        message = f"server {name} is {quoted(server.description, MAX_COMMAND)}, and {lock.source} "
        message += f"has it as {quoted(before, MAX_COMMAND)}"
        hint = f"if that is intended: {fix}"
    else:
        return None
    return Problem("server_not_locked", message, at, task, hint=hint)


def tool_changed(
    pool: ServerPool, server: str, tool: str, at: str = "", task: str | None = None
) -> Problem:
    """A tool that differs from the lock file of the pool."""
    lock = pool.lock
    assert lock is not None
    message = f"tool {quoted(f'{server}:{tool}')} differs from {lock.source}: "
    message += str(pool.catalog.difference(server, tool))
    hint = f"show all of it: {lock.check_command(server)}; accept it: {lock.update_command(server)}"
    return Problem("tool_changed", message, at, task, hint=hint)


def unpinned_package(server: Server) -> Problem | None:
    """A server whose package may be another version at each start; None if it is fixed."""
    free = [each for each in packages_of(server.command, server.args) if not each.is_pinned]
    if not free:
        return None
    specs = " and of ".join(quoted(server.redact(each.spec)) for each in free)
    pinned = " and ".join(quoted(server.redact(each.pinned)) for each in free)
    what = f"server {quoted(server.name)} runs the newest version of {specs}"
    message, hint = f"{what} when it starts", f"name a version, as in {pinned}"
    return Problem("unpinned_package", message, hint=hint, severity="warning", text=server.name)
