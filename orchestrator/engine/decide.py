"""Whether a task starts and with which arguments: a pure function of the outcomes before it.

pending ── decide() ──▶ Start(arguments) ── the call ──▶ Success | Failure | Cancelled
                  ├──▶ StartEach(items) ── one call each ──▶ the same, with items
                  └──▶ Skipped | Failure (a reference to nothing)

Failure ── a fallback ──▶ Success, recovered
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from orchestrator.calls.call import Call
from orchestrator.documents.jsonpath import Path, describe, format_path
from orchestrator.documents.text import quoted
from orchestrator.documents.threads import in_thread
from orchestrator.engine.outcome import Failure, Skipped, Success
from orchestrator.errors import CallError, InvalidArgumentsError, TaskError
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Scope, SlowExpressionError
from orchestrator.expressions.templates import Literal as LiteralTemplate
from orchestrator.expressions.templates import Template, made_by, to_text
from orchestrator.schema.coercion import Conversion, convert
from orchestrator.schema.notation import signature
from orchestrator.schema.violations import (
    MAX_ERRORS,
    MAX_SIGNATURE,
    Violation,
    error_of,
    first_violations,
    joined,
    misspellings,
)
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.plan import PLAIN, CallTemplate, LockPlan, TaskPlan
from orchestrator.workflow.product import Product, Slice

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool

T = TypeVar("T")

MAX_LOCK_NAME = 1000
MAX_ITEMS = 1_000_000  # of a for_each, each of which has an outcome of its own


class Start(NamedTuple):
    """The decision to call, with what, and the locks to hold, in the order of their names.

    `approval` is the message of the question whether it may be made, None for the default.
    """

    arguments: dict[str, Any]
    locks: tuple[Hold, ...] = ()
    approval: str | None = None


@dataclass(frozen=True, slots=True)
class StartEach:
    """The decision to call once for each item, whose numbers begin with `first`."""

    items: list[Any]
    first: int = 0


async def evaluated(work: Callable[[Scope], T], scope: Scope) -> T:
    """What `work` makes of a scope: in the event loop, or in a thread if that takes long."""
    try:
        return work(scope if scope.quick else replace(scope, quick=True))
    except SlowExpressionError:
        return cast("T", await in_thread(work, replace(scope, quick=False)))


def decide(task: TaskPlan, scope: Scope) -> Start | StartEach | Success | Skipped | Failure | None:
    """Whether a task starts, and with which arguments; None if a `quick` scope is not enough.

    Args:
        task: The task. Everything it depends on has settled.
        scope: The outcomes so far and the inputs.
    """
    policies = task.policies
    if (held_back := _held_back(task, scope.statuses)) is not None:
        return held_back
    try:
        # Nine tasks of ten have no policy of their own.
        if policies is PLAIN:
            return start(task, scope)
        if policies.when is not None and is_false(policies.when.resolve(scope)):
            return Skipped(f"its condition is false: {_text(policies.when)}", by_condition=True)
        if policies.for_each is not None:
            first = policies.for_each.first if isinstance(policies.for_each, Slice) else 0
            return StartEach(_items(policies.for_each, scope), first)
        return _begin(task, scope)
    except SlowExpressionError:
        return None
    except CallError as failure:
        return Failure(failure.error)


def decide_item(task: TaskPlan, scope: Scope) -> Start | Success | Skipped | Failure | None:
    """The same for an item of a `for_each`, which the scope has."""
    policies = task.policies
    try:
        if policies.item_when is not None and is_false(policies.item_when.resolve(scope)):
            return Skipped(f"its condition is false: {_text(policies.item_when)}", True)
        return _begin(task, scope)
    except SlowExpressionError:
        return None
    except CallError as failure:
        return Failure(failure.error)


def _begin(task: TaskPlan, scope: Scope) -> Start | Success:
    if task.kind == "value":
        return Success(task.arguments.resolve(scope))
    inside = () if task.inner is None else task.inner.plan.locks
    begin = start(task, scope, task.policies.locks, inside)
    if task.policies.approve is None:
        return begin
    return begin._replace(approval=to_text(task.policies.approve.resolve(scope)) or None)


def start(
    target: CallTemplate,
    scope: Scope,
    locks: tuple[LockPlan, ...] = (),
    inside: Iterable[Hold] = (),
) -> Start:
    """The arguments of a call, and the names of its locks; `inside` are those of tasks in it.

    Raises:
        CallError: A `reference_error`.
    """
    arguments = cast("dict[str, Any]", target.arguments.resolve(scope))
    return Start(arguments, _lock_names(locks, inside, scope) if locks else ())


def fit(call: Call, target: CallTemplate, tool: Tool) -> Call:
    """The call as its tool accepts it: arguments converted and checked, annotations taken over.

    Args:
        call: The call; its arguments are converted in place.
        target: What it was made of.
        tool: Its tool.

    Raises:
        InvalidArgumentsError: The arguments do not fit the `inputSchema` of the tool.
    """
    conversions: tuple[Conversion, ...] = ()
    if target.whole and not isinstance(target.arguments, LiteralTemplate):
        conversions = convert(call.arguments, target.whole, tool.types_at)
    if tool.key_argument:
        call = call._replace(arguments=tool.with_key(call.arguments, call.idempotency_key))
    arguments = check_arguments(tool, call.arguments, target.arguments)
    if arguments is not call.arguments:
        left_out = (name for name in call.arguments if name not in arguments)
        conversions += tuple(
            Conversion(format_path((name,)), "null", "absent") for name in left_out
        )
        call = call._replace(arguments=arguments)
    writes = tool.read_only is False
    return call._replace(conversions=conversions, writes=writes, safe=tool.is_safe)


def _held_back(task: TaskPlan, statuses: Mapping[str, str]) -> Skipped | None:
    """The outcome of a task whose dependencies do not let it run."""
    match task.policies.run_if:
        case "all_success":
            for needed in task.needs:
                if statuses[needed] != "success":
                    return Skipped(f"its dependency {quoted(needed)} {_ended(statuses[needed])}")
        case "any_success":
            if all(statuses[needed] != "success" for needed in task.needs):
                return Skipped("none of its dependencies succeeded (run_if is any_success)")
        case "any_failed":
            if all(statuses[needed] != "error" for needed in task.needs):
                return Skipped("none of its dependencies failed (run_if is any_failed)")
    return None


def _ended(status: str) -> str:
    return "failed" if status == "error" else f"was {status}"


def is_false(value: Any) -> bool:
    """False in JMESPath: null, false, and an empty string, array or object; 0 is true."""
    return value is None or value is False or value in ("", [], {})


def _text(when: Template) -> str:
    return when.inner if isinstance(when, Expression) else "false"


def _items(each: Template | Product, scope: Scope) -> list[Any]:
    if not isinstance(each, Product):
        items = _list(each, scope, "for_each")
        _check_number(len(items), getattr(each, "text", "for_each"))
        return items
    lists = {name: _list(of, scope, f"for_each.{name}") for name, of in each.lists.items()}
    _check_number(math.prod(map(len, lists.values())), "for_each")
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def _list(template: Template, scope: Scope, field: str) -> list[Any]:
    items = template.resolve(scope)
    if isinstance(items, list):
        return items
    if items is None and scope.null_is_unknown:
        return [None]  # so that what depends on the items is run, too
    source = getattr(template, "text", field)
    message = f"expected array for {field}, got {describe(items)} from {source}"
    raise CallError("reference_error", message, reference=source)


def _check_number(items: int, source: str) -> None:
    if items > MAX_ITEMS:
        message = f"expected at most {MAX_ITEMS:,} items for for_each, got {items:,} from {source}"
        raise CallError("reference_error", message, reference=source)


def _lock_names(
    locks: tuple[LockPlan, ...], inside: Iterable[Hold], scope: Scope
) -> tuple[Hold, ...]:
    """The locks in the order in which every task takes them, each once: the most of it."""
    held: dict[str, Hold] = {}
    for lock in locks:
        name = to_text(lock.name.resolve(scope))
        if not 0 < len(name) <= MAX_LOCK_NAME:
            message = f"expected a lock name of 1 to {MAX_LOCK_NAME} characters, got {len(name)}"
            raise CallError("reference_error", message)
        held[name] = lock.hold(name).joined(held.get(name))
    # One order for all, so that two cannot deadlock: inside, some names would come too late.
    last = max(held)
    for hold in inside:
        if hold.name <= last:
            held[hold.name] = hold.joined(held.get(hold.name))
    return tuple(sorted(held.values()))


def with_fallback_error(error: TaskError, second: TaskError) -> TaskError:
    """The error of a task whose fallback failed too."""
    message = f"{error.message}; its fallback failed, too: {second.message}"
    details = {**error.details, "fallback_error": second.to_dict()}
    return TaskError(error.kind, message, error.retryable, details)


def check_arguments(
    tool: Tool, arguments: dict[str, Any], template: Template | None = None
) -> dict[str, Any]:
    """The arguments as they fit the `inputSchema` of their tool.

    A null is left out if its argument is optional and does not accept null.

    Args:
        tool: The tool.
        arguments: The arguments, resolved and converted.
        template: What they were made of, so that the message can name the references.

    Raises:
        InvalidArgumentsError: They do not fit. `details` has `tool` and `errors`, the first
            `MAX_ERRORS`, each with its `path`, `message`, `keyword` and what that `expected`.
    """
    found = _misfits(tool, arguments)
    if found and isinstance(arguments, dict) and None in arguments.values():
        arguments = tool.without_nulls(arguments)
        found = _misfits(tool, arguments)
    if found:
        of_arguments = any(each.is_property and len(each.path) == 1 for each in found)
        called = f"{tool.target}({signature(tool, MAX_SIGNATURE)})" if of_arguments else tool.target
        errors = [error_of(each, _source(each.path, template)) for each in found]
        message = f"the arguments do not fit {called}: {joined(errors)}"
        raise InvalidArgumentsError(message, tool=tool.target, errors=errors[:MAX_ERRORS])
    return arguments


def _misfits(tool: Tool, arguments: dict[str, Any]) -> list[Violation]:
    found = first_violations(tool.accepts, arguments)
    if not found and tool.declared and not tool.declared.issuperset(arguments):
        found = misspellings(tool, arguments)
    return found


def _source(path: Path, template: Template | None) -> str:
    """The reference that gave the value at a path, and the place in it; empty if none did."""
    return "" if template is None else made_by(template, path)
