"""What servers.toml says about the words of strangers: what is found, and what is not called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.policy import is_approved
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError, Problem
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server, ServerTable, TrustedTask
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.check.earlier import Earlier
    from orchestrator.check.strangers import Asked, FlowPolicy, Site

_ITEM = re.compile(r"\[\d+\]")


def flow_policy(
    workflow: Workflow, servers: Mapping[str, Server], *, grows: bool = False
) -> FlowPolicy | None:
    """What the operator says about a workflow; None if no server of it is untrusted.

    A plan that `grows` is most often written by a model, which could give it any name: its tasks
    are none that the operator answers for.
    """
    untrusted = frozenset(name for name, server in servers.items() if server.trust == "untrusted")
    if not untrusted or (not grows and untrusted.isdisjoint(workflow.plan.servers)):
        return None
    from orchestrator.check.strangers import FlowPolicy

    def asks(target: Asked, tool: Tool | None) -> bool:
        server = servers.get(target.server)
        if server is None or target.kind != "tool":
            return False
        return is_approved(server.approve, target.tool, tool is None or tool.may_destroy)

    sensitive = {name: server.sensitive for name, server in servers.items() if server.sensitive}
    name = "" if workflow.source is None else workflow.name
    if grows:
        answers = isinstance(servers, ServerTable) and bool(servers.trusted)
        return FlowPolicy(untrusted, sensitive, asks, name, None, in_vain=answers)
    of_it = frozenset(each.task for each in answered_for(workflow, servers))
    return FlowPolicy(untrusted, sensitive, asks, name, of_it)


def answered_for(workflow: Workflow, servers: Mapping[str, Server]) -> list[TrustedTask]:
    """What `[[trusted]]` says of a workflow."""
    table = servers.trusted if isinstance(servers, ServerTable) else ()
    return [each for each in table if each.workflow == workflow.name]


def trusted_in_use(workflow: Workflow, servers: Mapping[str, Server]) -> list[TrustedTask]:
    """The tasks of a workflow with an untrusted server that the operator answers for."""
    if flow_policy(workflow, servers) is None:
        return []
    known = set(_paths(workflow))
    return [each for each in answered_for(workflow, servers) if each.task in known]


def flow_findings(
    workflow: Workflow,
    servers: Mapping[str, Server],
    tools: Mapping[str, Tool],
    earlier: Earlier | None = None,
    *,
    grows: bool = False,
) -> list[Problem]:
    """The calls of a workflow whose arguments strangers can write; see `untrusted_flows`."""
    policy = flow_policy(workflow, servers, grows=grows or earlier is not None)
    found = [] if grows or earlier is not None else list(_unknown_tasks(workflow, servers))
    if policy is None:
        return found
    from orchestrator.check.flow import untrusted_flows

    return [*untrusted_flows(workflow, policy, tools, earlier), *found]


def flow_errors(
    workflow: Workflow,
    servers: Mapping[str, Server],
    tools: Callable[[], Mapping[str, Tool]],
    *,
    grows: bool = False,
) -> list[Problem]:
    """Those of them with which no run begins; the tools are only asked for if it is about them."""
    if all(server.trust == "trusted" for server in servers.values()):
        return []
    found = flow_findings(workflow, servers, tools(), grows=grows)
    return [problem for problem in found if problem.severity == "error"]


def _unknown_tasks(workflow: Workflow, servers: Mapping[str, Server]) -> Iterator[Problem]:
    """The tasks that the operator answers for and that there are not."""
    if not (table := answered_for(workflow, servers)):
        return
    known = set(_paths(workflow))
    for name in dict.fromkeys(each.task for each in table if each.task not in known):
        message = (
            f"servers.toml has [[trusted]] for task {quoted(name)} of this workflow, which it "
        )
        message += "does not have"
        near, hint = nearest(name, known), "a task in another one is written as outer/inner"
        yield Problem("means_nothing", message, "", None, near, hint, "warning")


def _paths(workflow: Workflow, within: str = "") -> Iterator[str]:
    for task in workflow.plan.tasks.values():
        yield within + task.id
        if task.inner is not None:
            yield from _paths(task.inner, f"{within}{task.id}/")


def reached_calls(
    workflow: Workflow, servers: Mapping[str, Server], *, grows: bool = False
) -> set[Site]:
    """The calls that strangers can write arguments of and nobody approves in the workflow."""
    policy = flow_policy(workflow, servers, grows=grows)
    if policy is None:
        return set()
    from orchestrator.check.flow import reached

    return reached(workflow, policy)


def guarded(workflow: Workflow, pool: ServerPool, known: set[Site] | None = None) -> Caller:
    """What makes the calls of a run: one that the check would have refused fails.

    What a tool declares may have changed since then, or was not known because its server was down.

    Args:
        workflow: The workflow.
        pool: Its servers.
        known: The calls that strangers can write arguments of, for a plan that grows.
    """
    policy = flow_policy(workflow, pool.servers, grows=known is not None)
    if policy is None:
        return pool.call
    sites = reached_calls(workflow, pool.servers) if known is None else known
    return _Guard(pool, policy, sites)


class _Guard:
    def __init__(self, pool: ServerPool, policy: FlowPolicy, sites: set[Site]) -> None:
        self._pool, self._policy, self._sites = pool, policy, sites

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        from orchestrator.check.strangers import Site, danger

        own = "fallback" if call.item is None else "item_fallback"
        if Site(_ITEM.sub("", call.task), own if call.is_fallback else "") in self._sites:
            tool = self._pool.catalog.of([call.server]).get(call.target)
            if tool is None and call.kind == "tool":
                await self._pool.until_usable(call.server)
                tool = self._pool.catalog.of([call.server]).get(call.target)
            found = danger(call, tool, self._policy)
            if found and found.severity == "error" and not self._policy.asks(call, tool):
                message = f"words of strangers would reach {call.target}, {found.why}"
                raise CallError("protocol_error", message, retryable=False, server=call.server)
        return await self._pool.call(call, attempt)
