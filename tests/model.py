"""What a run comes to, as naive code: the semantics of docs/semantics.md a second time.

The rule of this file: it shares nothing with the package, and is written to be obviously right and
never to be fast. The tasks are settled one after the other, by hand; a task's times are what they
would be if nothing were limited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from typing import Any

from tests.terms import Term, UnresolvedError, View, is_true

RETRIED = ("tool_error", "timeout", "server_unavailable", "protocol_error")
SERVER_TIMEOUT_S = 20.0
LONGEST_WAIT_S = 300.0

Unit = int | str | None
"""Which call of a task: its only one, an item's by position, the `fallback`'s, or an item's."""


def fallback_of(unit: Unit) -> str:
    """The unit that stands in for another one, or for the whole task."""
    return "fallback" if unit is None else f"fallback {unit}"


@dataclass(frozen=True)
class Fault:
    """What a call raises."""

    kind: str
    retryable: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


class UndeterminedError(Exception):
    """Two things happen in the same moment, and what comes of it depends on which is first."""


CANCELLED = Fault("cancelled", retryable=False)


def with_fallback_error(fault: Fault | None) -> Fault | None:
    return fault and replace(fault, details={**fault.details, "fallback_error": True})


Row = tuple[float, Any]
"""After how many seconds a call answers, and what; a `Fault` is raised."""


@dataclass(frozen=True)
class Retry:
    """A `retry` with the defaults of the format."""

    max_attempts: int
    initial_s: float = 0.5
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.1
    on: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Repeat:
    """A `repeat`."""

    until: Term
    every_s: float = 1.0
    max_times: int = 20
    collect: Term | None = None

    @property
    def terms(self) -> tuple[Term | None, ...]:
        return self.until, self.collect


@dataclass(frozen=True)
class StandIn:
    """A fallback: either a value, or arguments of a tool with how it answers."""

    value: Term | None = None
    arguments: Mapping[str, Term] | None = None
    rows: tuple[Row, ...] = ((0.0, None),)

    @property
    def terms(self) -> tuple[Term | None, ...]:
        return (*(self.arguments or {}).values(), self.value)


@dataclass(frozen=True)
class Lock:
    """A name that is held."""

    name: Term
    shared: bool = False

    @property
    def is_literal(self) -> bool:
        return not (self.name.needs or self.name.of_item)


@dataclass(frozen=True)
class Task:
    """A task, and how its tool will behave: `rows` by item, then by attempt, the last for ever.

    A fallback is either `fallback_value` or `fallback_arguments` with `fallback_rows`.
    `repeatable` is whether the tool declares that it may be called again, and `refuses` the type
    that the schemas of its tool and of its fallback's do not let an argument have. A task with a
    `value` calls nothing; one with `inner` runs a workflow, whose inputs its arguments are. One of
    another `kind` than `tool` reads a resource, whose `uri` is its argument, or gets a `prompt`.
    """

    id: str
    rows: tuple[tuple[Row, ...], ...] = (((1.0, "done"),),)
    arguments: Mapping[str, Term] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    server: str = "s0"
    repeatable: bool = False
    refuses: str | None = None
    run_if: str = "all_success"
    when: Term | None = None
    for_each: Term | None = None
    max_parallel: int | None = None
    retry: Retry | None = None
    timeout_s: float | None = None
    fallback_value: Term | None = None
    fallback_arguments: Mapping[str, Term] | None = None
    fallback_rows: tuple[Row, ...] = ((0.0, None),)
    critical: bool = False
    locks: tuple[Lock, ...] = ()
    value: Term | None = None
    inner: Case | None = None
    kind: str = "tool"
    item_when: Term | None = None
    item_fallback: StandIn | None = None
    on_item_error: str | None = None
    repeat: Repeat | None = None
    delay_s: float | None = None
    deadline_s: float | None = None
    end_run: str | None = None

    @property
    def needs(self) -> frozenset[str]:
        """The tasks it depends on, in whatever way it names them."""
        terms = [*self.fallback.terms, *(self.item_fallback.terms if self.item_fallback else ())]
        return self.call_needs.union(*(term.needs for term in terms if term))

    @property
    def call_needs(self) -> frozenset[str]:
        """The tasks that decide whether it runs: all but those that only a fallback names."""
        locks = (lock.name for lock in self.locks)
        repeat = self.repeat.terms if self.repeat else ()
        terms = [*self.arguments.values(), *locks, *repeat, self.value, self.item_when]
        terms += [self.when, self.for_each]
        return frozenset(self.depends_on).union(*(term.needs for term in terms if term))

    @property
    def fallback(self) -> StandIn:
        return StandIn(self.fallback_value, self.fallback_arguments, self.fallback_rows)

    @property
    def has_fallback(self) -> bool:
        return self.fallback_value is not None or self.fallback_arguments is not None

    def rows_of(self, unit: Unit) -> tuple[Row, ...]:
        """How the tool answers one of the task's calls, attempt by attempt."""
        if isinstance(unit, int):
            return self.rows[unit % len(self.rows)]
        if unit is None:
            return self.rows[0]
        return self.fallback_rows if unit == fallback_of(None) else self.item_fallback_rows

    @property
    def item_fallback_rows(self) -> tuple[Row, ...]:
        return self.item_fallback.rows if self.item_fallback else ()


@dataclass(frozen=True)
class Defaults:
    """What holds for the tasks that do not say otherwise."""

    timeout_s: float | None = None
    retry: Retry | None = None
    on_item_error: str | None = None


@dataclass(frozen=True)
class Case:
    """A workflow, and how the world will behave.

    Attributes:
        tasks: Each stands after those that it needs; `order` is how they stand in the file.
        cancelled_s: When the user cancels the run.
        cancelled_tasks: When the user cancels a single task.
        slots: The limits of servers.
        estimates: What the calls of some tasks are expected to take, seconds.
        finally_: The tasks that run when all others have settled; like `tasks` each stands after
            those that it needs.
        finally_timeout_s: The limit of them all together.
        output: What the workflow gives, if it says so.
        schedule: What it says of its schedule; a workflow inside that says nothing has that around.
        cancelled_again_s: When the user cancels the run a second time.
        defaults: Left out of the file where a task has the same; the tasks here have all of it.
        calls: How many an operator grants, and as many once more for all `finally`.
    """

    tasks: tuple[Task, ...]
    order: tuple[int, ...] = ()
    fail_fast: bool = False
    timeout_s: float | None = None
    cancelled_s: float | None = None
    cancelled_tasks: Mapping[str, float] = field(default_factory=dict)
    max_concurrency: int = 0
    slots: Mapping[str, int] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)
    defaults: Defaults = Defaults()
    finally_: tuple[Task, ...] = ()
    finally_timeout_s: float = 30.0
    cancelled_again_s: float | None = None
    output: Term | None = None
    schedule: str | None = None
    calls: int | None = None

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        return self.tasks + self.finally_

    def task(self, name: str) -> Task:
        return next(task for task in self.all_tasks if task.id == name)

    def among(self, name: str) -> tuple[Task, ...]:
        """The tasks of which it is one: those of `finally`, or the others."""
        return self.finally_ if self.task(name) in self.finally_ else self.tasks

    def stops_items(self, name: str) -> bool:
        """Whether no item of a task begins once another has failed."""
        return self.fail_fast or self.task(name).on_item_error == "stop"

    def place(self, name: str) -> int:
        """Where a task stands in the file."""
        names = [task.id for task in self.among(name)]
        if self.task(name) in self.finally_:
            return names.index(name)
        return names.index(name) if not self.order else self.order.index(names.index(name))

    @property
    def sinks(self) -> list[str]:
        """The tasks that nothing depends on."""
        needed = frozenset().union(*(task.needs for task in self.tasks))
        return [task.id for task in self.tasks if task.id not in needed]


Answer = tuple[float, Any, "Mapping[str, Settled]"]
"""As a row, and what came of the tasks inside."""
Answers = Callable[[Mapping[str, Any]], Answer]
"""How the attempts with some arguments are answered, one after the other."""


@dataclass
class Played:
    """What a call came to, all its turns and attempts together.

    Attributes:
        began_s: When each attempt began, since the call did.
        waits: The shortest and the longest wait after each attempt but the last.
        given: The arguments of each attempt.
        stand_in: What its `item_fallback` came to, if it was used.
        inside: What the tasks of its workflow came to the last time, if they were not cut short.
    """

    answer: Any
    took_s: float = 0.0
    began_s: list[float] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)
    locks: list[tuple[str, bool]] = field(default_factory=list)
    is_skipped: bool = False
    stand_in: Played | None = None
    inside: Mapping[str, Settled] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        return len(self.began_s)

    @property
    def fault(self) -> Fault | None:
        return self.answer if isinstance(self.answer, Fault) else None

    @property
    def failure(self) -> str | None:
        return self.fault.kind if self.fault else None

    @property
    def whole_fault(self) -> Fault | None:
        """With what became of its fallback."""
        return with_fallback_error(self.fault) if self.stand_in else self.fault

    @property
    def recovered(self) -> bool:
        return self.stand_in is not None and not self.stand_in.failure

    @property
    def status(self) -> str:
        if self.failure and not self.recovered:
            return "error"
        return "skipped" if self.is_skipped else "success"

    @property
    def output(self) -> Any:
        if self.stand_in and self.recovered:
            return self.stand_in.output
        return None if self.failure else self.answer

    @property
    def settled_s(self) -> float:
        """When it has settled, since it began."""
        return self.took_s + (self.stand_in.took_s if self.stand_in else 0.0)

    def wait(self, shortest_s: float, longest_s: float) -> None:
        self.waits.append((shortest_s, longest_s))
        self.took_s += longest_s


@dataclass
class Settled:
    """What a task came to.

    Attributes:
        ready_s: When all that it needs had settled.
        began_s: When its first call began, after its delay.
        settled_s: When it had settled itself.
        by_condition: It was skipped by its own `when`.
        units: What each of its calls came to.
    """

    status: str
    ready_s: float
    settled_s: float
    output: Any = None
    has_output: bool = False
    fault: Fault | None = None
    recovered: bool = False
    by_condition: bool = False
    units: dict[Unit, Played] = field(default_factory=dict)
    has_items: bool = False
    delay_s: float = 0.0

    @property
    def failure(self) -> str | None:
        return self.fault.kind if self.fault else None

    @property
    def fallback_failed(self) -> bool:
        return self.fault is not None and "fallback_error" in self.fault.details

    @property
    def began_s(self) -> float:
        return self.ready_s + self.delay_s

    @property
    def items(self) -> list[Played] | None:
        if not self.has_items:
            return None
        return [played for unit, played in self.units.items() if isinstance(unit, int)]

    @property
    def attempts(self) -> int:
        own = (played for unit, played in self.units.items() if not isinstance(unit, str))
        return sum(played.attempts for played in own)


def settle_all(
    case: Case,
    schedule: str,
    not_begun: Mapping[str, list[int]] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Settled]:
    """What each task comes to if nothing ends the run.

    `not_begun` has the items that had not begun when another of their task failed, where that
    stops the others.
    """
    settled: dict[str, Settled] = {}
    generation = generations(case.tasks)
    for task in sorted(case.tasks, key=lambda task: generation[task.id]):
        before = task.needs
        if schedule == "generations":
            before = frozenset(x for x in settled if generation[x] < generation[task.id])
        ready_s = max((settled[name].settled_s for name in before), default=0.0)
        items = (not_begun or {}).get(task.id, ())
        view = replace(view_of(settled), schedule=schedule, inputs=inputs or {})
        settled[task.id] = settle(task, view, ready_s, items)
        at_s = case.cancelled_tasks.get(task.id)
        if at_s is not None and at_s < settled[task.id].settled_s:
            settled[task.id] = cancel(settled[task.id], at_s)
    return settled


def clean_up(
    case: Case,
    schedule: str,
    others: Mapping[str, Settled],
    ready_s: float,
    not_begun: Mapping[str, list[int]],
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Settled]:
    """What each task of `finally` comes to, once all others have settled as they did."""
    settled = dict(others)
    generation = generations(case.finally_)
    for task in sorted(case.finally_, key=lambda task: generation[task.id]):
        before = task.needs.intersection(generation)
        if schedule == "generations":
            before = frozenset(x for x in generation if generation[x] < generation[task.id])
        starts_s = max((settled[name].settled_s for name in before), default=ready_s)
        if not task.call_needs and task.run_if != "all_done":  # of all others
            task = replace(task, depends_on=tuple(others))
        view = replace(view_of(settled), schedule=schedule, inputs=inputs or {})
        settled[task.id] = settle(task, view, starts_s, not_begun.get(task.id, ()))
    end_s = clean_up_ends_s(case, ready_s)
    mine = {task.id: settled[task.id] for task in case.finally_}
    return {
        name: replace(task, status="cancelled", fault=CANCELLED, settled_s=end_s, has_output=False)
        if task.settled_s > end_s
        else task
        for name, task in mine.items()
    }


def clean_up_ends_s(case: Case, ready_s: float) -> float:
    """When the tasks of `finally` are cut short."""
    limit_s = ready_s + case.finally_timeout_s
    return min(limit_s, case.cancelled_again_s or limit_s)


def generations(tasks: Sequence[Task]) -> dict[str, int]:
    """The number of each task's topological generation."""
    found: dict[str, int] = {}
    for task in tasks:
        found[task.id] = 1 + max((found.get(name, -1) for name in task.needs), default=-1)
    return found


def turn(case: Case, schedule: str, name: str) -> tuple[float, int]:
    """Whose turn it is where calls wait for a slot: the smallest of these goes first.

    By dataflow the longest path to the end, by generations the longest task; then the file's order.
    """
    if schedule == "dataflow":
        return -longest_path(case, name), case.place(name)
    return -expected_s(case, name) if case.estimates else 0.0, case.place(name)


def longest_path(case: Case, name: str) -> float:
    """The longest way from a task to one that nothing needs, by what tasks are expected to take."""
    followers = [task.id for task in case.among(name) if name in task.needs]
    ways = [longest_path(case, follower) for follower in followers]
    return expected_s(case, name) + max(ways, default=0.0)


def expected_s(case: Case, name: str) -> float:
    """What a task is expected to take: all the same, or as estimated, or like the middle one."""
    if not case.estimates:
        return 1.0
    return case.estimates.get(name, median(case.estimates.values()))


def settle(task: Task, view: View, ready_s: float, not_begun: Sequence[int] = ()) -> Settled:
    """What a task comes to once all that it needs has settled."""
    if not may_run(task.run_if, [view.statuses[name] for name in task.call_needs]):
        return Settled("skipped", ready_s, ready_s)
    try:
        if task.when is not None and not is_true(task.when.value(view)):
            return Settled("skipped", ready_s, ready_s, by_condition=True)
        mine = (
            call_items(task, view, ready_s, not_begun)
            if task.for_each
            else call_once(task, view, ready_s)
        )
    except UnresolvedError:
        mine = Settled("error", ready_s, ready_s, fault=Fault("reference_error", retryable=False))
    mine.settled_s += mine.delay_s
    return recover(task, view, mine) if mine.status == "error" and task.has_fallback else mine


def cancel(settled: Settled, at_s: float) -> Settled:
    """What becomes of a task that is cancelled before it has settled by itself.

    One that is cancelled before its turn settles in its turn.
    """
    ready_s, calls = settled.ready_s, settled.units
    return Settled("cancelled", ready_s, max(at_s, ready_s), fault=CANCELLED, units=calls)


def may_run(run_if: str, statuses: list[str]) -> bool:
    """Whether the statuses of what a task depends on let it run."""
    match run_if:
        case "all_success":
            return all(status == "success" for status in statuses)
        case "any_success":
            return any(status == "success" for status in statuses)
        case "any_failed":
            return any(status == "error" for status in statuses)
    return True


def view_of(settled: Mapping[str, Settled]) -> View:
    """What templates see of the tasks that have settled."""
    return View(
        {name: task.output for name, task in settled.items() if task.has_output},
        {name: task.status for name, task in settled.items()},
        {
            name: str(task.failure)
            for name, task in settled.items()
            if task.failure and not task.recovered
        },
        {name: [entry(*x) for x in enumerate(task.items or ())] for name, task in settled.items()},
    )


def entry(index: int, item: Played) -> dict[str, Any]:
    """An entry of `$ITEMS`; of its error only the kind is known."""
    error = {"kind": item.failure} if item.failure else None
    return {"index": index, "status": item.status, "output": item.output, "error": error}


def call_once(task: Task, view: View, ready_s: float) -> Settled:
    """A task without `for_each`."""
    played = call(task, view, None)
    return Settled(
        played.status,
        ready_s,
        ready_s + played.took_s,
        output=played.output,
        has_output=played.status == "success",
        fault=played.fault,
        units={None: played},
        # Without an attempt it is late only if its delay was longer than its deadline.
        delay_s=(task.delay_s or 0.0) if played.attempts or played.failure == "timeout" else 0.0,
    )


def call_items(task: Task, view: View, ready_s: float, not_begun: Sequence[int]) -> Settled:
    """A task with `for_each`, whose items all begin at once, but for some that never do."""
    assert task.for_each is not None
    items = task.for_each.value(view)
    if not isinstance(items, list):
        raise UnresolvedError(f"{items!r} is no list")
    played = [
        Played(None, is_skipped=True)
        if index in not_begun
        else call_item(task, view.at(index, item), index)
        for index, item in enumerate(items)
    ]
    failed = [each for each in played if each.status == "error"]
    units: dict[Unit, Played] = dict(enumerate(played))
    units |= {fallback_of(x): each.stand_in for x, each in enumerate(played) if each.stand_in}
    return Settled(
        "error" if failed else "success",
        ready_s,
        ready_s + max((each.settled_s for each in played), default=0.0),
        output=[each.output for each in played],
        has_output=True,
        fault=failed[0].whole_fault if failed else None,
        units=units,
        has_items=True,
        delay_s=task.delay_s or 0.0,
    )


def call_item(task: Task, view: View, index: int) -> Played:
    """An item with its condition and its fallback."""
    try:
        if task.item_when is not None and not is_true(task.item_when.value(view)):
            return Played(None, is_skipped=True)
        played = call(task, view, index)
    except UnresolvedError:
        played = Played(Fault("reference_error", retryable=False))
    if played.failure and task.item_fallback:
        view = view.after(played.failure)
        played.stand_in = play_fallback(task, task.item_fallback, view, fallback_of(index))
    return played


def call(task: Task, view: View, unit: Unit) -> Played:
    """One call with its deadline, its locks, and all its turns."""
    try:
        if task.value is not None:
            return Played(task.value.value(view))
        played = Played(None, locks=[(x.name.value(view), x.shared) for x in task.locks])
    except UnresolvedError:
        return Played(Fault("reference_error", retryable=False))
    answers = runs_of(task, task.inner, view) if task.inner else attempts_of(task, unit)
    if task.repeat is None:
        play_turn(task, view, answers, played)
    else:
        play_turns(task, task.repeat, view, answers, played)
    if not played.began_s:  # what it is called with is decided before it waits
        return played
    # A delay is a wait of its task, like others; items begin after it.
    delay_s = (task.delay_s or 0.0) if unit is None else 0.0
    return cut_short(played, None if task.deadline_s is None else task.deadline_s - delay_s)


def play_turns(task: Task, repeat: Repeat, view: View, answers: Answers, played: Played) -> None:
    """The turns of a `repeat`."""
    collected: list[Any] = []
    for turn_number in range(1, repeat.max_times + 1):
        play_turn(task, view, answers, played)
        if played.failure:
            return
        view = view.told(played.answer)
        try:
            done = is_true(repeat.until.value(view))
            found = repeat.collect.value(view) if repeat.collect else None
        except UnresolvedError:
            played.answer = Fault("reference_error", retryable=False)
            return
        collected += found if isinstance(found, list) else [] if found is None else [found]
        if done:
            played.answer = collected if repeat.collect else played.answer
            return
        if turn_number < repeat.max_times:
            played.wait(repeat.every_s, repeat.every_s)
    played.answer = Fault("not_done", retryable=False)


def play_turn(task: Task, view: View, answers: Answers, played: Played) -> None:
    """One turn with its arguments and all its attempts; a call without `repeat` has only one."""
    played.inside = {}
    try:
        arguments = {name: term.value(view) for name, term in task.arguments.items()}
    except UnresolvedError:
        played.answer = Fault("reference_error", retryable=False)
        return
    if any(is_of(value, task.refuses) for value in arguments.values()):
        played.answer = Fault("invalid_arguments", retryable=False)
        return
    for attempt in count(1):
        played.began_s.append(played.took_s)
        played.given.append(arguments)
        after, played.answer, played.inside = answers(arguments)
        played.took_s += after
        fault = played.answer
        wait = wait_after(task, attempt, fault) if isinstance(fault, Fault) else None
        if wait is None:
            return
        played.wait(*wait)


def cut_short(played: Played, deadline_s: float | None) -> Played:
    """A call with its deadline."""
    if deadline_s is None or played.took_s <= deadline_s:
        return played
    begun = [began_s for began_s in played.began_s if began_s < deadline_s]
    fault, given = Fault("timeout"), played.given[: len(begun)]
    return replace(played, answer=fault, took_s=deadline_s, began_s=begun, given=given, inside={})


def is_of(value: Any, kind: str | None) -> bool:
    """Whether a value has a type of JSON Schema; of numbers, only those without a fraction."""
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
    return False


def attempts_of(task: Task, unit: Unit) -> Answers:
    """How a tool would answer, attempt by attempt, under the limit of an attempt."""
    limit = task.timeout_s or SERVER_TIMEOUT_S
    rows = task.rows_of(unit)
    attempts = count()

    def answer_to(_: Mapping[str, Any]) -> Answer:
        after, answer = rows[min(next(attempts), len(rows) - 1)]
        return (after, answer, {}) if after < limit else (limit, Fault("timeout"), {})

    return answer_to


# Workflows inside.


def runs_of(task: Task, inner: Case, view: View) -> Answers:
    """What the runs of a workflow give its task, one after the other."""
    numbers = count()

    def answer_to(inputs: Mapping[str, Any]) -> Answer:
        case = in_run(inner, next(numbers))
        after, answer, inside = run_inside(case, case.schedule or view.schedule, inputs)
        late = task.timeout_s is not None and after > task.timeout_s
        return (task.timeout_s or 0.0, Fault("timeout"), {}) if late else (after, answer, inside)

    return answer_to


def in_run(case: Case, number: int) -> Case:
    """The case as its world behaves in one of several runs: each time tools answer otherwise."""

    def turned(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        rows = ((x, number % len(x.rows)) for x in tasks)
        return tuple(replace(x, rows=x.rows[first:] + x.rows[:first]) for x, first in rows)

    return replace(case, tasks=turned(case.tasks), finally_=turned(case.finally_))


def run_inside(case: Case, schedule: str, inputs: Mapping[str, Any]) -> Answer:
    """One run of a workflow inside, and its clean-up.

    A task of the clean-up that fails is one that fails, behind all others in the file.
    """
    after, answer, inside = run_tasks_inside(case, schedule, inputs)
    if not case.finally_:
        return after, answer, inside
    last = clean_up(case, schedule, inside, after, {}, inputs)
    failed = [last[task.id] for task in case.finally_ if last[task.id].status == "error"]
    if failed and not any(task.status == "error" for task in inside.values()):
        answer = failed[0].fault
    return max(task.settled_s for task in last.values()), answer, {**inside, **last}


def run_tasks_inside(case: Case, schedule: str, inputs: Mapping[str, Any]) -> Answer:
    """The same for all but the tasks of `finally`."""
    settled = settle_all(case, schedule, inputs=inputs)
    ends = {name: ends_the_run(case, case.task(name), task) for name, task in settled.items()}
    limit_s = case.timeout_s or float("inf")
    stop_s = min([*(settled[x].settled_s for x in ends if ends[x]), limit_s])
    length_s = max(task.settled_s for task in settled.values())
    if stop_s > length_s:
        return length_s, result_inside(case, settled, inputs), settled
    before = {name: task for name, task in settled.items() if task.settled_s < stop_s}
    if stop_s == limit_s:
        return stop_s, Fault("timeout"), before
    at_once = [x for x, task in settled.items() if stop_s in (task.settled_s, task.ready_s)]
    if len([x for x in at_once if settled[x].settled_s == stop_s]) > 1:
        raise UndeterminedError(at_once)
    (ender,) = (x for x in at_once if settled[x].settled_s == stop_s)
    if settled[ender].status == "error":
        return stop_s, settled[ender].fault, before
    ended = {name: Settled("cancelled", stop_s, stop_s) for name in settled}
    ended |= before | {ender: settled[ender]}
    if ends[ender] == "failed" and settled[ender].status == "success":
        return stop_s, Fault("cancelled", retryable=False), before
    return stop_s, result_inside(case, ended, inputs), before


def result_inside(case: Case, settled: Mapping[str, Settled], inputs: Mapping[str, Any]) -> Any:
    """The output of a workflow, or the error of the first that failed in the order of the file."""
    for name in sorted(settled, key=case.place):
        if settled[name].status == "error":
            return settled[name].fault
    if case.output is None:
        return run_output(case, settled)
    try:
        return case.output.value(replace(view_of(settled), inputs=inputs))
    except UnresolvedError:
        return Fault("reference_error", retryable=False)


def wait_after(task: Task, attempt: int, fault: Fault) -> tuple[float, float] | None:
    """The shortest and the longest wait before the next attempt; None if there is none."""
    retry = task.retry
    if retry is None:
        lost = fault.kind == "server_unavailable" and "lost" in fault.details
        return (0.0, 0.0) if lost and task.repeatable and attempt == 1 else None
    kinds = RETRIED if retry.on is None else [kind for kind in retry.on if kind in RETRIED]
    asked = fault.details.get("retry_after_s", 0.0)
    if attempt >= retry.max_attempts or not fault.retryable or fault.kind not in kinds:
        return None
    if asked > LONGEST_WAIT_S:
        return None
    base = min(retry.initial_s * retry.factor ** (attempt - 1), retry.max_s)
    return max(base * (1 - retry.jitter), asked), max(base, asked)


def recover(task: Task, view: View, failed: Settled) -> Settled:
    """What a task that has failed comes to with its fallback."""
    unit = fallback_of(None)
    stand_in = play_fallback(task, task.fallback, view.after(str(failed.failure)), unit)
    failed.units[unit] = stand_in
    failed.settled_s += stand_in.took_s
    if stand_in.status == "error":
        failed.fault = with_fallback_error(failed.fault)
        return failed
    failed.status, failed.recovered = "success", True
    failed.output, failed.has_output = stand_in.output, True
    return failed


def play_fallback(task: Task, stand_in: StandIn, view: View, unit: str) -> Played:
    """A fallback alone: a value at once, or one attempt of its tool.

    The tool has the task's locks; that of the whole task not those that name an item: it has none.
    """
    try:
        if stand_in.value is not None:
            return Played(stand_in.value.value(view))
        assert stand_in.arguments is not None
        arguments = {name: term.value(view) for name, term in stand_in.arguments.items()}
        kept = [lock for lock in task.locks if view.index is not None or not lock.name.of_item]
        locks = [(lock.name.value(view), lock.shared) for lock in kept]
    except UnresolvedError:
        return Played(Fault("reference_error", retryable=False))
    if any(is_of(value, task.refuses) for value in arguments.values()):
        return Played(Fault("invalid_arguments", retryable=False))
    after, answer, _ = attempts_of(task, unit)(arguments)
    return Played(answer, after, [0.0], [], [arguments], locks)


def ends_the_run(case: Case, task: Task, settled: Settled) -> str | None:
    """What the run comes to if the task ends it; None if it does not.

    It is partial in place of a success if a task had failed.
    """
    if settled.status == "error" and (task.critical or case.fail_fast):
        return "failed"
    return task.end_run if settled.status == "success" else None


def run_status(settled: Mapping[str, Settled]) -> str:
    """The status of a run that nothing ended early."""
    if all(task.status == "success" or task.by_condition for task in settled.values()):
        return "success"
    statuses = [task.status for task in settled.values()]
    return "failed" if "error" in statuses and "success" not in statuses else "partial"


def status_after(case: Case, status: str, last: Mapping[str, Settled]) -> str:
    """The status of a run, once its tasks of `finally` have come to something.

    It is cancelled if a second cancel cut them short.
    """
    again_s = case.cancelled_again_s
    if again_s is not None and any(task.settled_s == again_s for task in last.values()):
        return "cancelled"
    clean = all(task.status == "success" or task.by_condition for task in last.values())
    return "partial" if status == "success" and not clean else status


def run_output(case: Case, settled: Mapping[str, Settled]) -> dict[str, Any]:
    """What a run returns that says nothing of its output."""
    return {name: settled[name].output for name in case.sinks if settled[name].has_output}
