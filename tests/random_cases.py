"""Random cases by number, and the simplest case that still shows what a case shows.

The rule of this file: a case depends on its number and profile alone. All times are sums of powers
of two, so that a virtual clock can be compared exactly.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tests import terms
from tests.model import Case, Defaults, Fault, Lock, Repeat, Retry, Row, StandIn, Task
from tests.terms import Term

TICK_S = 1 / 1024
FALSE_OR_TRUE: tuple[Any, ...] = (False, None, "", [], {}, True, 0, "x", [0], {"k": 0})
RUN_IF = ("all_success",) * 3 + ("all_done",) * 5 + ("any_success",) * 3 + ("any_failed",)
FAULT_KINDS = (
    "tool_error",
    "tool_error",
    "timeout",
    "server_unavailable",
    "server_unavailable",
    "protocol_error",
    "invalid_arguments",
    "output_invalid",
    "internal",
)
REFUSED = ("string", "integer", "array")
LOCK_NAMES = ("x", "y")


@dataclass(frozen=True)
class Profile:
    """What may occur in a case.

    Attributes:
        ends: Critical tasks, fail_fast, a limit of the run and a user who cancels it.
        limits: Limits of calls in flight, and exclusive locks.
        jitter: Waits that are random.
        cancels: A user who cancels single tasks.
        policies: What a task and its items may say besides: values, `repeat`, products, conditions
            and fallbacks of items, delays, deadlines, `end_run`, `defaults`, `$ITEMS`.
        cleans: Tasks of `finally`, and a user who cancels the run twice.
        inner: Workflows that tasks run inside.
        budget: An operator who bounds the calls of some runs; the cases are those without it.
    """

    ends: bool = False
    limits: bool = False
    jitter: bool = False
    cancels: bool = False
    policies: bool = False
    cleans: bool = False
    inner: bool = False
    budget: bool = field(default=False, repr=False)

    @property
    def is_exact(self) -> bool:
        """Whether all times are known beforehand, so that a deadline has a known effect."""
        return not (self.limits or self.jitter)


def random_case(number: int, profile: Profile) -> Case:
    """The case of a number."""
    dice = random.Random(f"{number} {profile}")
    made: list[Task] = []
    needs = dice.choice((1, 2, 3))
    for position in range(dice.choice((1, 2, 3, 4, 5, 6, 7, 8, 10, 12))):
        task = random_task(dice, f"t{position}", [task.id for task in made], needs, profile)
        task = with_policies(dice, task, made, profile) if profile.policies else task
        if profile.inner and may_run_inner(task) and dice.random() < 0.35:
            task = with_inner(dice, task, profile)
        made.append(task)
    case = Case(tuple(made), tuple(dice.sample(range(len(made)), len(made))))
    if profile.cleans:
        case = with_finally(dice, case, profile)
    if profile.policies and not profile.inner and dice.random() < 0.3:
        case = with_defaults(case, random_defaults(dice, profile))
    if profile.ends:
        case = replace(case, fail_fast=dice.random() < 0.3)
        if not profile.limits:
            limit_s = dice.randrange(8) + TICK_S / 4 if dice.random() < 0.15 else None
            cancelled_s = dice.randrange(8) + TICK_S / 8 if dice.random() < 0.15 else None
            case = replace(case, timeout_s=limit_s, cancelled_s=cancelled_s)
            # What has ended a run first gives it its status.
            ends_itself = case.fail_fast or any(task.critical or task.end_run for task in made)
            may_again = profile.cleans and not ends_itself and limit_s is None
            if cancelled_s is not None and may_again and dice.random() < 0.7:
                again_s = cancelled_s + dice.randrange(1, 8) + TICK_S / 128
                case = replace(case, cancelled_again_s=again_s)
    if profile.cancels:
        chosen = dice.sample(made, dice.randint(0, min(3, len(made))))
        moments = dice.sample(range(10), len(chosen))
        at = {task.id: s + TICK_S / 16 for task, s in zip(chosen, moments, strict=True)}
        case = replace(case, cancelled_tasks=at)
    if profile.limits:
        slots = {name: dice.randint(1, 3) for name in ("s0", "s1") if dice.random() < 0.4}
        limit = dice.choice((0, 1, 2, 3, 5))
        estimates = random_estimates(dice, made)
        case = replace(case, max_concurrency=limit, slots=slots, estimates=estimates)
    granted = random.Random(f"{number} budget")
    if profile.budget and granted.random() < 0.4:
        case = replace(case, calls=granted.choice((1, 2, 3, 4, 6, 9, 14)))
    return case


def with_finally(dice: random.Random, case: Case, profile: Profile, within: str = "") -> Case:
    """The case with tasks that run at the end; under limits with all the time that they need."""
    made: list[Task] = []
    calm = replace(profile, ends=False)
    for position in range(dice.randint(1, 3)):
        before = [task.id for task in (*case.tasks, *made)]
        task = random_task(dice, f"{within}f{position}", before, 2, calm)
        if dice.random() < 0.7:
            task = replace(task, run_if="all_done")
        task = with_policies(dice, task, made, calm) if profile.policies else task
        if profile.inner and may_run_inner(task) and dice.random() < 0.35:
            # The limit of these tasks does not hold for the clean-up of a workflow in them.
            task = with_inner(dice, task, replace(calm, cleans=False))
        made.append(task)
    limit_s = dice.randrange(1, 40) + TICK_S / 64 if profile.is_exact else 1e5
    return replace(case, finally_=tuple(made), finally_timeout_s=limit_s)


def random_estimates(dice: random.Random, tasks: list[Task]) -> dict[str, float]:
    """What some tasks are expected to take: right, wrong, nothing at all, or alike."""
    known = dice.sample(tasks, dice.choice((0, len(tasks), dice.randint(1, len(tasks)))))
    choices: tuple[Callable[[Task], float], ...] = (
        lambda task: task.rows[0][0][0],
        lambda _: dice.randrange(1, 5000) * TICK_S,
        lambda _: dice.choice((0.0, 0.5, 1.0, 1e6)),
    )
    return {task.id: dice.choice(choices)(task) for task in known}


def random_task(
    dice: random.Random, name: str, before: list[str], needs: int, profile: Profile
) -> Task:
    """A task that may need some of those before it."""
    near = dice.sample(before, min(len(before), dice.randint(0, needs)))
    each = random_list(dice, near) if dice.random() < 0.35 else None
    value, tool = dice.choice(((True, False), (False, True), (False, False), (False, False)))
    arguments = {
        key: random_term(dice, near, each is not None) for key in "uv" if dice.random() < 0.4
    }
    return Task(
        name,
        rows=tuple(random_rows(dice) for _ in range(3 if each else 1)),
        arguments=arguments,
        depends_on=tuple(other for other in near if dice.random() < 0.4),
        server=dice.choice(("s0", "s1")),
        repeatable=dice.random() < 0.5,
        refuses=dice.choice((None,) * 6 + REFUSED),
        run_if=dice.choice(RUN_IF),
        when=random_condition(dice, near) if dice.random() < 0.2 else None,
        for_each=each,
        max_parallel=dice.choice((None, 1, 2)) if each and profile.limits else None,
        retry=random_retry(dice, profile) if dice.random() < 0.5 else None,
        timeout_s=dice.choice((None, None, dice.randrange(1, 8) / 2 + TICK_S / 2)),
        fallback_value=random_fallback(dice, near) if value else None,
        fallback_arguments={"e": random_fallback(dice, near)} if tool else None,
        fallback_rows=random_rows(dice),
        critical=profile.ends and dice.random() < 0.15,
        locks=tuple(random_locks(dice, near, each is not None, profile)),
    )


def random_rows(dice: random.Random) -> tuple[Row, ...]:
    return tuple(
        (random_seconds(dice), random_answer(dice) if dice.random() < 0.65 else random_fault(dice))
        for _ in range(dice.choice((1, 1, 2, 3)))
    )


def random_seconds(dice: random.Random) -> float:
    return dice.choice((0.0, 0.25, 1000.0, *(dice.randrange(1, 5000) * TICK_S for _ in range(9))))


def random_answer(dice: random.Random) -> Any:
    """What a tool gives: mostly an object with some of the places that others refer to."""
    answer: dict[str, Any] = {}
    if dice.random() < 0.9:
        answer["n"] = dice.choice((0, 1, 2.5, 7))
    if dice.random() < 0.9:
        answer["flag"] = dice.choice(FALSE_OR_TRUE)
    if dice.random() < 0.9:
        answer["list"] = [dice.choice((1, "x", {"k": 2}, None)) for _ in range(dice.randrange(4))]
    return dice.choice((answer,) * 6 + (None, 5, "text", [answer]))


def random_fault(dice: random.Random) -> Fault:
    kind = dice.choice(FAULT_KINDS)
    details: dict[str, Any] = {}
    if kind == "server_unavailable" and dice.random() < 0.6:
        return Fault(kind, details={"lost": True})
    if dice.random() < 0.15:
        details["retry_after_s"] = dice.choice((0.0, 1.5, 6.0, 300.0, 300.5))
    return Fault(kind, dice.random() < 0.85, details)


def random_retry(dice: random.Random, profile: Profile) -> Retry:
    attempts = dice.randint(1, 4)
    if profile.jitter and dice.random() < 0.3:
        return Retry(attempts)
    kinds = (None, None, ("tool_error",), ("timeout", "server_unavailable"))
    return Retry(
        attempts,
        dice.choice((0.0, 0.25, 0.5, 3.0)),
        dice.choice((1.0, 1.5, 2.0)),
        dice.choice((30.0, 0.75)),
        dice.choice((0.0, 0.5, 1.0)) if profile.jitter else 0.0,
        dice.choice(kinds),
    )


def random_term(dice: random.Random, near: list[str], for_each: bool) -> Term:
    """An argument."""
    own = [terms.item(), terms.item(), terms.index(), terms.item("k")] if for_each else []
    if own and dice.random() < 0.5:
        return dice.choice(own)
    if not near or dice.random() < 0.1:
        return terms.literal(dice.choice((1, "text", {"deep": [None]}, "costs $5")))
    other = dice.choice(near)
    place = dice.choice(("n", "flag", "list"))
    choices: tuple[Callable[[], Term], ...] = (
        lambda: terms.output(other),
        lambda: terms.output(other, place),
        lambda: terms.output(other, place),
        lambda: terms.output(other, "list", dice.choice((0, -1))),
        lambda: terms.text_around(other, place),
        lambda: terms.braced(other),
        lambda: terms.braced(other, place),
        lambda: terms.or_none(other, place),
        lambda: terms.or_none(other, place),
        lambda: terms.or_none(other, place),
        lambda: terms.length(other, place),
        lambda: terms.status(other),
        lambda: terms.kind_of(other),
        lambda: terms.kind_or_none(other),
        lambda: terms.together(terms.status(other), terms.or_none(other, place)),
    )
    return dice.choice(choices)()


def random_list(dice: random.Random, near: list[str]) -> Term:
    """What `for_each` goes over."""
    if not near or dice.random() < 0.5:
        return terms.literal([dice.choice((1, "x", {"k": 2})) for _ in range(dice.randrange(5))])
    other = dice.choice(near)
    choices = (
        terms.output(other, "list"),
        terms.output(other, "list"),
        terms.output(other),
        terms.braced(other, "list"),
        terms.together(terms.status(other), terms.or_none(other, "n")),
        terms.together(terms.literal(3), terms.output(other, "n")),
    )
    return dice.choice(choices)


def random_condition(dice: random.Random, near: list[str]) -> Term:
    """A `when`."""
    if not near or dice.random() < 0.2:
        return terms.literal(dice.random() < 0.8)
    other = dice.choice(near)
    choices = (
        terms.is_status(other, dice.choice(("success", "error", "skipped"))),
        terms.above(other, "n", dice.choice((0, 2))),
        terms.member(other, "flag"),
        terms.member(other, "flag"),
        terms.bare(terms.length(other, dice.choice(("list", "n")))),
        terms.member(other, "list"),
    )
    return dice.choice(choices)


def random_fallback(dice: random.Random, near: list[str]) -> Term:
    """A template of a fallback, which can read why the task has failed."""
    if dice.random() < 0.5:
        return dice.choice((terms.own_failure(), terms.literal(None), terms.literal({"n": 1})))
    return random_term(dice, near, for_each=False)


def random_locks(
    dice: random.Random, near: list[str], for_each: bool, profile: Profile
) -> Iterator[Lock]:
    """Locks; where nothing may wait only shared ones."""
    if dice.random() < 0.6:
        return
    for _ in range(dice.choice((1, 1, 2))):
        name = terms.literal(dice.choice(LOCK_NAMES))
        if for_each and dice.random() < 0.5:
            name = terms.named_by_item("i:")
        elif near and dice.random() < 0.3:
            name = terms.text_around(dice.choice(near), "n")
        yield Lock(name, not profile.limits or dice.random() < 0.4)


# Policies of a task and of its items.


def with_policies(dice: random.Random, task: Task, before: list[Task], profile: Profile) -> Task:
    """A task with some more of the language."""
    near = sorted(task.needs)
    of_items = [other.id for other in before if other.id in near and other.for_each]
    if of_items and dice.random() < 0.7:
        task = replace(task, arguments={**task.arguments, "w": random_entries(dice, of_items)})
    if task.for_each and dice.random() < 0.25:
        task = replace(task, **random_product(dice, near))
    if dice.random() < 0.15:
        given = task.arguments.get("u") or random_term(dice, near, task.for_each is not None)
        return replace(Task(task.id), **{name: getattr(task, name) for name in KEPT}, value=given)
    if task.for_each:
        task = with_item_policies(dice, task, near, profile)
    if dice.random() < 0.25:
        lasts = {"l": dice.choice((terms.last(), terms.last("n"), terms.last("list")))}
        more = lasts if dice.random() < 0.7 else {}
        rows = without_null(task.rows)
        repeat = random_repeat(dice, near, task)
        task = replace(task, rows=rows, repeat=repeat, arguments={**task.arguments, **more})
    elif dice.random() < 0.15:
        task = as_request(dice, task, near)
    delay = dice.choice((0.25, 0.5, 2.25)) if dice.random() < 0.15 else None
    deadline = dice.randrange(1, 16) / 2 + TICK_S / 32 if dice.random() < 0.2 else None
    end = dice.choice(("success", "failed")) if profile.ends and dice.random() < 0.1 else None
    deadline = deadline if profile.is_exact else None
    delay = None if task.has_fallback or task.refuses else delay
    return replace(task, delay_s=delay, deadline_s=deadline, end_run=end)


def as_request(dice: random.Random, task: Task, near: list[str]) -> Task:
    """The task with a resource or a prompt in place of its tool; neither changes anything."""

    def text() -> Term:
        known = (terms.status, terms.kind_or_none, lambda name: terms.text_around(name, "n"))
        own = [make(name) for name in near for make in known]
        return dice.choice([terms.literal("mem:text"), *own])

    kind = dice.choice(("read", "prompt"))
    arguments = {"uri": text()} if kind == "read" else {name: text() for name in task.arguments}
    return replace(task, kind=kind, arguments=arguments, repeatable=True, refuses=None)


def without_null(rows: tuple[tuple[Row, ...], ...]) -> tuple[tuple[Row, ...], ...]:
    """No path of `$LAST` leads into an answer of null: see tests/engine/test_model_findings.py."""
    return tuple(tuple((s, {} if x is None else x) for s, x in row) for row in rows)


KEPT = (
    *("depends_on", "run_if", "when", "for_each"),
    *("fallback_value", "fallback_arguments", "fallback_rows", "server"),
)
"""The fields of a task that one with `value` has too."""


def may_run_inner(task: Task) -> bool:
    return task.value is None and task.kind == "tool"


def with_inner(dice: random.Random, task: Task, profile: Profile, depth: int = 1) -> Task:
    """The task with a workflow in place of its tool.

    What ends inside, and when, has to be known beforehand: under limits nothing ends early, and
    where a failure ends it, it has no items of which it depends on chance whether they begin. What
    cleans up is not cut short by anything around it.
    """
    ends = profile.is_exact and not profile.cleans
    calm = replace(profile, ends=ends, jitter=profile.jitter, cancels=False)
    made: list[Task] = []
    for position in range(dice.randint(1, 4)):
        step = random_task(dice, f"{task.id}.{position}", [x.id for x in made], 2, calm)
        if profile.policies:
            step = replace(with_policies(dice, step, made, calm), on_item_error=None)
        if task.arguments and may_run_inner(step) and dice.random() < 0.6:
            inputs = {"i": terms.given(dice.choice(sorted(task.arguments)))}
            step = replace(step, arguments={**step.arguments, **inputs})
        rows = tuple(random_rows(dice) for _ in range(3))
        step = replace(step, rows=without_null(rows) if step.repeat else rows)
        if not profile.is_exact:  # a name that is known late may close a circle, by chance
            step = replace(step, locks=tuple(x for x in step.locks if x.is_literal))
        if depth < 3 and may_run_inner(step) and dice.random() < 0.2:
            step = with_inner(dice, step, profile, depth + 1)
        made.append(step)
    output = random_term(dice, [x.id for x in made], for_each=False)
    order = tuple(dice.sample(range(len(made)), len(made)))
    inner = Case(tuple(made), order, output=output if dice.random() < 0.5 else None)
    inner = replace(inner, schedule=dice.choice((None, None, "generations", "dataflow")))
    if ends:
        fails_fast = dice.random() < 0.2 and not any(x.for_each for x in made)
        limit_s = dice.randrange(1, 8) + TICK_S / 2 ** (13 + depth)
        limit_s = limit_s if dice.random() < 0.15 else None
        inner = replace(inner, fail_fast=fails_fast, timeout_s=limit_s)
    elif profile.cleans and dice.random() < 0.5:
        inner = with_finally(dice, inner, replace(calm, inner=False), f"{task.id}.")
        last = (replace(x, on_item_error=None) for x in inner.finally_)
        inner = replace(inner, finally_=tuple(last))
    timeout_s = None
    if ends and task.timeout_s:  # no limit inside ends in the same moment
        timeout_s = task.timeout_s + TICK_S / 2 ** (9 + depth)
    deadline_s = None if profile.cleans else task.deadline_s
    task = replace(task, inner=inner, timeout_s=timeout_s, repeatable=False)
    return replace(task, deadline_s=deadline_s)


def with_item_policies(dice: random.Random, task: Task, near: list[str], profile: Profile) -> Task:
    when = random_item_condition(dice, near) if dice.random() < 0.3 else None
    stand_in = random_stand_in(dice, near, profile) if dice.random() < 0.35 else None
    stop = "stop" if dice.random() < 0.2 else None
    return replace(task, item_when=when, item_fallback=stand_in, on_item_error=stop)


def random_product(dice: random.Random, near: list[str]) -> dict[str, Any]:
    """`for_each` as an object of lists, and an argument that reads it."""
    lists = {"p": random_list(dice, near), "q": random_list(dice, near)}
    chosen = dice.sample(sorted(lists), dice.randint(1, 2))
    return {
        "for_each": terms.product(**{name: lists[name] for name in chosen}),
        "arguments": {"u": terms.item(chosen[0]), "v": terms.item()},
        "item_when": None,
    }


def random_item_condition(dice: random.Random, near: list[str]) -> Term:
    own = (terms.item_is(0), terms.item_is(1), terms.item_member("k"), terms.length_of_item())
    return dice.choice(own) if dice.random() < 0.8 else random_condition(dice, near)


def random_stand_in(dice: random.Random, near: list[str], profile: Profile) -> StandIn:
    """A fallback of an item, which can read the item and why it has failed."""
    term = terms.own_failure() if dice.random() < 0.3 else random_term(dice, near, for_each=True)
    if profile.ends or dice.random() < 0.5:  # see tests/engine/test_model_findings.py
        return StandIn(value=term)
    return StandIn(arguments={"e": term}, rows=random_rows(dice))


def random_repeat(dice: random.Random, near: list[str], task: Task) -> Repeat:
    own = [terms.last_member("flag"), terms.last_member("n"), terms.last_length("list")]
    own += [
        terms.last_member("flag"),
        terms.last_member("list"),
        replace(terms.literal(False), text="false"),
    ]
    if task.for_each:
        own += [terms.item_is(0), terms.item_member("k")]
    until = dice.choice(own) if dice.random() < 0.9 else random_condition(dice, near)
    collected = (terms.last_member("list"), terms.last_member("n"), terms.last_length("list"))
    return Repeat(
        replace(until, text=str(until.text).lower()) if isinstance(until.text, bool) else until,
        dice.choice((0.0, 0.25, 3.0)),
        dice.randint(1, 4),
        dice.choice(collected) if dice.random() < 0.4 else None,
    )


def random_entries(dice: random.Random, near: list[str]) -> Term:
    """What became of the items of a task."""
    other = dice.choice(near)
    return dice.choice(
        (
            terms.items_of(other, "status"),
            terms.items_of(other, "output"),
            terms.kinds_of_items(other),
            terms.entry(other, dice.choice((0, -1)), "index"),
            terms.entry(other, 0, "output"),
        )
    )


def random_defaults(dice: random.Random, profile: Profile) -> Defaults:
    return Defaults(
        dice.choice((None, dice.randrange(1, 8) / 2 + TICK_S / 2)),
        dice.choice((None, random_retry(dice, profile))),
        dice.choice((None, "stop")),
    )


def with_defaults(case: Case, defaults: Defaults) -> Case:
    """The case in which all tasks that say nothing have what the defaults say."""
    said = {name: value for name, value in vars(defaults).items() if value is not None}

    def completed(task: Task) -> Task:
        known = {"on_item_error", "timeout_s"} if task.value else set(said)
        known -= set() if task.for_each else {"on_item_error"}
        return replace(task, **{x: said[x] for x in said if x in known and not getattr(task, x)})

    tasks, last = tuple(map(completed, case.tasks)), tuple(map(completed, case.finally_))
    return replace(case, tasks=tasks, finally_=last, defaults=defaults)


# The simplest case.


async def simplest(case: Case, shows: Callable[[Case], Awaitable[bool]]) -> Case:
    """A case from which nothing can be taken away without losing what it shows."""
    for simpler in simpler_cases(case):
        if await shows(simpler):
            return await simplest(simpler, shows)
    return case


def simpler_cases(case: Case) -> Iterator[Case]:
    """The cases with one thing less."""
    plain = Case(case.tasks)
    for name in (
        "order",
        "fail_fast",
        "timeout_s",
        "cancelled_s",
        "cancelled_tasks",
        "max_concurrency",
        "slots",
        "estimates",
        "defaults",
        "cancelled_again_s",
        "finally_timeout_s",
        "output",
        "schedule",
        "calls",
    ):
        if getattr(case, name) != getattr(plain, name):
            yield replace(case, **{name: getattr(plain, name)})
    for task in case.finally_:
        if not any(task.id in other.needs for other in case.finally_):
            yield replace(case, finally_=tuple(x for x in case.finally_ if x != task))
        for simpler in simpler_tasks(task):
            others = tuple(simpler if x == task else x for x in case.finally_)
            yield replace(case, finally_=others)
    for task in case.tasks:
        if not any(task.id in other.needs for other in case.all_tasks):
            fewer = {name: at for name, at in case.cancelled_tasks.items() if name != task.id}
            others = tuple(other for other in case.tasks if other != task)
            known = {name: s for name, s in case.estimates.items() if name != task.id}
            if others:
                yield replace(case, tasks=others, order=(), cancelled_tasks=fewer, estimates=known)
        for simpler in simpler_tasks(task):
            others = tuple(simpler if x == task else x for x in case.tasks)
            less = with_defaults(replace(case, tasks=others, order=()), case.defaults)
            if less.tasks != case.tasks:
                yield less


def simpler_tasks(task: Task) -> Iterator[Task]:
    """The task with one field less, or with a shorter one."""
    plain = Task(task.id)
    for each in fields(Task):
        if getattr(task, each.name) != getattr(plain, each.name):
            yield replace(task, **{each.name: getattr(plain, each.name)})
    for name in task.arguments:
        yield replace(task, arguments={x: y for x, y in task.arguments.items() if x != name})
    for case in simpler_cases(task.inner) if task.inner else ():
        yield replace(task, inner=case)
    for place in range(len(task.locks)):
        yield replace(task, locks=task.locks[:place] + task.locks[place + 1 :])
    for place in range(len(task.rows) if len(task.rows) > 1 else 0):
        yield replace(task, rows=task.rows[:place] + task.rows[place + 1 :])
