"""Proves which outputs can reach which arguments, from the references alone.

Whatever a call of an untrusted server gives is the words of strangers: outputs, items and errors.
They go on wherever a reference reads them, also through a tool of another server, which may give
them back. `when` and `run_if` decide whether something happens and carry no data; `item_when` and
`until` decide what is in an output, letter by letter if need be, so what they read reaches it. The
answer to `ask` is the word of a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.check.earlier import Earlier
from orchestrator.check.flow_finding import Reason, flow_finding
from orchestrator.check.reads import Read, members_of_item, reads
from orchestrator.check.strangers import FlowPolicy, Site, Trail, danger, shortest
from orchestrator.documents.jsonpath import Path
from orchestrator.errors import Problem
from orchestrator.expressions.scope import ScopeKey
from orchestrator.expressions.templates import Template
from orchestrator.schema.tool import Tool
from orchestrator.workflow.inner import findings_inside
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import PLAIN, CallTemplate, TaskPlan
from orchestrator.workflow.product import Product


def untrusted_flows(
    workflow: Workflow,
    policy: FlowPolicy,
    tools: Mapping[str, Tool],
    earlier: Earlier | None = None,
) -> list[Problem]:
    """The calls whose arguments strangers can write, each once, with the shortest way there.

    Args:
        workflow: The workflow.
        policy: What the operator says of servers and tools.
        tools: The known tools, by `server:tool`.
        earlier: What is known of tasks that were checked before, and are not checked again; gets
            what is found out about the others.
    """
    return _followed(workflow, policy, tools, earlier).found


def reached(workflow: Workflow, policy: FlowPolicy) -> set[Site]:
    """The calls that strangers can write arguments of, whatever their tools declare."""
    return _followed(workflow, policy, {}, None).reached


def _followed(
    workflow: Workflow,
    policy: FlowPolicy,
    tools: Mapping[str, Tool],
    earlier: Earlier | None,
) -> _Flow:
    earlier = earlier or Earlier()
    flow = _Flow(workflow, _Common(policy, tools, earlier.reached), trails=earlier.trails)
    flow.follow()
    return flow


@dataclass(slots=True)
class _Common:
    """What a workflow and those inside it have in common.

    Attributes:
        reached: The calls that the words reach, as `reached` has them.
        inside: What came of a workflow inside, by its place and the inputs that the words reach.
    """

    policy: FlowPolicy
    tools: Mapping[str, Tool]
    reached: set[Site]
    inside: dict[tuple[str, frozenset[str]], _Flow] = field(default_factory=dict)


@dataclass(slots=True)
class _Local:
    """What only the fields of one task read.

    Attributes:
        lists: How the words of strangers came to the list of its `for_each`; of a product, by name.
        error: The same for `ERROR`, in a fallback.
        last: The same for `LAST`.
    """

    lists: dict[str, Trail | None] = field(default_factory=dict)
    error: Trail | None = None
    last: Trail | None = None

    @property
    def item(self) -> Trail | None:
        return shortest(self.lists.values())


class _Flow:
    """Follows the words of strangers through one workflow.

    Attributes:
        reached: The calls that they reach, those of the workflow around it too.
        output: The way to the output of the workflow.
        error: The way to the error of a task that runs it.
    """

    def __init__(
        self,
        workflow: Workflow,
        common: _Common,
        inputs: Mapping[str, Trail | None] | None = None,
        within: str = "",
        trails: dict[str, tuple[Trail | None, Trail | None]] | None = None,
    ) -> None:
        self._found: dict[str, list[Problem]] = defaultdict(list)  # by task
        self.output: Trail | None = None
        self.error: Trail | None = None
        self.reached = common.reached
        self._workflow, self._common = workflow, common
        self._policy, self._tools = common.policy, common.tools
        self._inputs, self._within = inputs or {}, within
        self._outputs = {} if trails is None else trails

    @property
    def found(self) -> list[Problem]:
        """The calls that they reach, in the order of the file."""
        return [each for task in self._workflow.plan.tasks for each in self._found.get(task, ())]

    def follow(self) -> None:
        """Go through all tasks, each behind those that it reads."""
        plan = self._workflow.plan
        for task in plan.order:
            if task.id not in self._outputs:
                output, error = self._task(task)
                if self._policy.is_answered_for(self._within + task.id):
                    output = error = None
                self._outputs[task.id] = output, error
        ends = (self._outputs[task][0] for task in plan.sinks)
        self.output = shortest(ends) if plan.output is None else self._read(plan.output, _Local())
        errors = (self._outputs[task][1] for task in plan.tasks)
        self.error = shortest([self.output, *errors])

    def _task(self, task: TaskPlan) -> tuple[Trail | None, Trail | None]:
        """How the words of strangers come to the output and the error of a task."""
        policies, local = task.policies, _Local()
        each = policies.for_each
        if each is not None:
            lists = each.lists if isinstance(each, Product) else {"": each}
            local.lists = {name: self._read(of, _Local()) for name, of in lists.items()}
        answer, error = self._own(task, local)
        if policies is PLAIN:
            return answer, error
        local.last = answer
        texts = [policies.when, policies.approve, *(lock.name for lock in policies.locks)]
        repeat = policies.repeat
        within = [policies.item_when, *((repeat.until, repeat.collect) if repeat else ())]
        chosen = [self._read(text, local) for text in within if text is not None]
        # An expression that fails quotes the values that it read.
        read = [self._read(text, local) for text in texts if text is not None]
        error = shortest([error, *self._to(task, local.item, *chosen, *read)])
        outputs, errors = [answer, *self._to(task, local.item, *chosen)], [error]
        for name in ("item_fallback", "fallback"):
            if (fallback := getattr(policies, name)) is not None:
                own = _Local(local.lists if name == "item_fallback" else {}, shortest(errors))
                instead, failed = self._instead(task, fallback, name, own)
                outputs, errors = [*outputs, instead], [*errors, failed]
        return shortest(outputs), shortest(errors)

    def _to(self, task: TaskPlan, *trails: Trail | None) -> Iterator[Trail]:
        """These ways, one step further: to the task."""
        for trail in filter(None, trails):
            yield trail.to(self._within + task.id)

    def _own(self, task: TaskPlan, local: _Local) -> tuple[Trail | None, Trail | None]:
        """The way to what the call of a task gives, and to the error of that call."""
        if task.inner is not None:
            return self._inside(task, task.inner, local)
        if task.is_request:
            return self._called(task, task, task.kind if task.kind == "read" else "", local)
        read = next(self._to(task, self._read(task.arguments, local)), None)
        return (None if task.kind == "ask" else read), read

    def _instead(
        self, task: TaskPlan, fallback: Template | CallTemplate, field: str, local: _Local
    ) -> tuple[Trail | None, Trail | None]:
        if isinstance(fallback, CallTemplate):
            return self._called(task, fallback, field, local)
        read = next(self._to(task, self._read(fallback, local)), None)
        return read, read

    def _called(
        self, task: TaskPlan, target: CallTemplate, field: str, local: _Local
    ) -> tuple[Trail | None, Trail | None]:
        """Check the arguments of a call, and give the way to its output and its error."""
        here = self._within + task.id
        said = Trail.of(here, target.server) if target.server in self._policy.untrusted else None
        local = replace(local, last=said) if target is task else local
        ways = [(self._way(what, local), path, what) for path, what in reads(target.arguments)]
        reached = [way for way in ways if way[0] is not None]
        if not reached:
            return said, said
        trail, path, what = min(reached, key=lambda way: way[0].length if way[0] else 0)
        assert trail is not None
        self._check(task, target, field, trail, (path, what))
        given = said or trail.to(here)
        return given, given

    def _check(
        self,
        task: TaskPlan,
        target: CallTemplate,
        field: str,
        trail: Trail,
        found: tuple[Path, Read],
    ) -> None:
        """Report a call that the words of strangers reach, unless somebody looks at it."""
        tool, here = self._tools.get(target.target), self._within + task.id
        is_approved = target is task and target.kind == "tool" and task.policies.approve is not None
        if is_approved or self._policy.is_answered_for(here):
            return
        self.reached.add(Site(here, "" if target is task else field))
        if self._policy.asks(target, tool):
            return
        if (what := danger(target, tool, self._policy)) is not None:
            reason = Reason(what, trail.to(here), found, self._policy)
            self._found[task.id].append(flow_finding(task, target, field, reason))

    def _inside(
        self, task: TaskPlan, inner: Workflow, local: _Local
    ) -> tuple[Trail | None, Trail | None]:
        """Follow what the workflow of a task is given, and what comes out of it."""
        flow, read = self._followed_inside(task, inner, local)
        if task.policies.repeat is not None and flow.output is not None:  # as $LAST it comes back
            last = next(self._to(task, flow.output))
            flow, read = self._followed_inside(task, inner, replace(local, last=last))
        self._found[task.id] += findings_inside(self._workflow, task, inner, flow.found)
        output = next(self._to(task, flow.output), None)
        return output, shortest(self._to(task, read, flow.error))

    def _followed_inside(
        self, task: TaskPlan, inner: Workflow, local: _Local
    ) -> tuple[_Flow, Trail | None]:
        """The workflow of a task, and the way to what it is given."""
        inputs: dict[str, Trail | None] = {}
        for path, what in reads(task.arguments):
            name = str(path[0])
            inputs[name] = shortest([inputs.get(name), self._way(what, local)])
        within, known = f"{self._within}{task.id}/", self._common.inside
        key = within, frozenset(name for name, trail in inputs.items() if trail is not None)
        if key not in known:  # workflows that repeat inside each other would double the work
            known[key] = _Flow(inner, self._common, inputs, within)
            known[key].follow()
        return known[key], shortest(inputs.values())

    def _read(self, template: Template, local: _Local) -> Trail | None:
        """The shortest way to anything that a template reads."""
        return shortest(self._way(what, local) for _, what in reads(template))

    def _way(self, what: Read, local: _Local) -> Trail | None:
        if any(key.root == "ITEM" for key in what.places) and "" not in local.lists:
            names = set(members_of_item(what))
            if None not in names and names <= local.lists.keys():  # of a product
                others = (self._at(key, local) for key in what.places if key.root != "ITEM")
                return shortest([*(local.lists[str(name)] for name in names), *others])
        return shortest(self._at(key, local) for key in what.places)

    def _at(self, key: ScopeKey, local: _Local) -> Trail | None:
        """The way to what a root names."""
        output, error = self._outputs.get(str(key.name), (None, None))
        match key.root:
            case "OUTPUT":
                return output
            case "ERROR":
                return local.error if key.name is None else error
            case "ITEMS":
                return shortest([output, error])
            case "INPUT":
                inputs = self._inputs
                return shortest(inputs.values()) if key.name is None else inputs.get(key.name)
            case "ITEM" | "INDEX":
                return local.item
            case "LAST":
                return local.last
        return None  # STATUS and RUN are the words of the engine
