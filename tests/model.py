"""What a run comes to, as naive code: the semantics of docs/semantics.md a second time.

The rule of this file: it shares nothing with the package, and is written to be obviously right and
never to be fast. The tasks are settled one after the other, by hand; a task's times are what they
would be if nothing were limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

from tests.terms import Term, UnresolvedError, View, is_true

RETRIED = ("tool_error", "timeout", "server_unavailable", "protocol_error")
SERVER_TIMEOUT_S = 20.0
LONGEST_WAIT_S = 300.0

Unit = int | str | None
"""Which call of a task: its only one, an item's by position, or the `fallback`'s."""


@dataclass(frozen=True)
class Fault:
    """What a call raises."""

    kind: str
    retryable: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


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
class Lock:
    """A name that is held."""

    name: Term
    shared: bool = False


@dataclass(frozen=True)
class Task:
    """A task, and how its tool will behave: `rows` by item, then by attempt, the last for ever.

    A fallback is either `fallback_value` or `fallback_arguments` with `fallback_rows`.
    `repeatable` is whether the tool declares that it may be called again, and `refuses` the type
    that the schemas of its tool and of its fallback's do not let an argument have.
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

    @property
    def needs(self) -> frozenset[str]:
        """The tasks it depends on, in whatever way it names them."""
        terms = [*(self.fallback_arguments or {}).values(), self.fallback_value]
        return self.call_needs.union(*(term.needs for term in terms if term))

    @property
    def call_needs(self) -> frozenset[str]:
        """The tasks that decide whether it runs: all but those that only its fallback names."""
        locks = (lock.name for lock in self.locks)
        terms = [*self.arguments.values(), *locks, self.when, self.for_each]
        return frozenset(self.depends_on).union(*(term.needs for term in terms if term))

    @property
    def has_fallback(self) -> bool:
        return self.fallback_value is not None or self.fallback_arguments is not None

    def rows_of(self, unit: Unit) -> tuple[Row, ...]:
        """How the tool answers one of the task's calls, attempt by attempt."""
        if isinstance(unit, int):
            return self.rows[unit % len(self.rows)]
        return self.fallback_rows if unit == "fallback" else self.rows[0]


@dataclass(frozen=True)
class Case:
    """A workflow, and how the world will behave.

    Attributes:
        tasks: Each stands after those that it needs; `order` is how they stand in the file.
        cancelled_s: When the user cancels the run.
        cancelled_tasks: When the user cancels a single task.
        slots: The limits of servers.
        estimates: What the calls of some tasks are expected to take, seconds.
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

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.id == name)

    def place(self, name: str) -> int:
        """Where a task stands in the file."""
        names = [task.id for task in self.tasks]
        return names.index(name) if not self.order else self.order.index(names.index(name))

    @property
    def sinks(self) -> list[str]:
        """The tasks that nothing depends on."""
        needed = frozenset().union(*(task.needs for task in self.tasks))
        return [task.id for task in self.tasks if task.id not in needed]


@dataclass
class Played:
    """What a call came to, all its attempts together."""

    answer: Any
    attempts: int = 0
    took_s: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    arguments: dict[str, Any] | None = None
    locks: list[tuple[str, bool]] = field(default_factory=list)
    is_skipped: bool = False

    @property
    def failure(self) -> str | None:
        return self.answer.kind if isinstance(self.answer, Fault) else None

    @property
    def status(self) -> str:
        return "error" if self.failure else "skipped" if self.is_skipped else "success"

    @property
    def output(self) -> Any:
        return None if self.failure else self.answer


@dataclass
class Settled:
    """What a task came to.

    Attributes:
        ready_s: When all that it needs had settled.
        settled_s: When it had settled itself.
        by_condition: It was skipped by its own `when`.
        units: What each of its calls came to.
    """

    status: str
    ready_s: float
    settled_s: float
    output: Any = None
    has_output: bool = False
    failure: str | None = None
    recovered: bool = False
    fallback_failed: bool = False
    by_condition: bool = False
    units: dict[Unit, Played] = field(default_factory=dict)
    has_items: bool = False

    @property
    def items(self) -> list[Played] | None:
        if not self.has_items:
            return None
        return [played for unit, played in self.units.items() if isinstance(unit, int)]

    @property
    def attempts(self) -> int:
        return sum(played.attempts for unit, played in self.units.items() if unit != "fallback")


def settle_all(
    case: Case, schedule: str, not_begun: Mapping[str, list[int]] | None = None
) -> dict[str, Settled]:
    """What each task comes to if nothing ends the run.

    `not_begun` has the items that had not begun when another of their task failed, under fail_fast.
    """
    settled: dict[str, Settled] = {}
    generation = generations(case)
    for task in sorted(case.tasks, key=lambda task: generation[task.id]):
        before = task.needs
        if schedule == "generations":
            before = frozenset(x for x in settled if generation[x] < generation[task.id])
        ready_s = max((settled[name].settled_s for name in before), default=0.0)
        items = (not_begun or {}).get(task.id, ())
        settled[task.id] = settle(task, settled, ready_s, items)
        at_s = case.cancelled_tasks.get(task.id)
        if at_s is not None and at_s < settled[task.id].settled_s:
            settled[task.id] = cancel(settled[task.id], at_s)
    return settled


def generations(case: Case) -> dict[str, int]:
    """The number of each task's topological generation."""
    found: dict[str, int] = {}
    for task in case.tasks:
        found[task.id] = 1 + max((found[name] for name in task.needs), default=-1)
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
    followers = [task.id for task in case.tasks if name in task.needs]
    ways = [longest_path(case, follower) for follower in followers]
    return expected_s(case, name) + max(ways, default=0.0)


def expected_s(case: Case, name: str) -> float:
    """What a task is expected to take: all the same, or as estimated, or like the middle one."""
    if not case.estimates:
        return 1.0
    return case.estimates.get(name, median(case.estimates.values()))


def settle(
    task: Task, settled: Mapping[str, Settled], ready_s: float, not_begun: Sequence[int] = ()
) -> Settled:
    """What a task comes to once all that it needs has settled."""
    if not may_run(task.run_if, [settled[name].status for name in task.call_needs]):
        return Settled("skipped", ready_s, ready_s)
    view = view_of(settled)
    try:
        if task.when is not None and not is_true(task.when.value(view)):
            return Settled("skipped", ready_s, ready_s, by_condition=True)
        mine = (
            call_items(task, view, ready_s, not_begun)
            if task.for_each
            else call_once(task, view, ready_s)
        )
    except UnresolvedError:
        mine = Settled("error", ready_s, ready_s, failure="reference_error")
    return recover(task, view, mine) if mine.status == "error" and task.has_fallback else mine


def cancel(settled: Settled, at_s: float) -> Settled:
    """What becomes of a task that is cancelled before it has settled by itself.

    One that is cancelled before its turn settles in its turn.
    """
    ready_s, calls = settled.ready_s, settled.units
    return Settled("cancelled", ready_s, max(at_s, ready_s), failure="cancelled", units=calls)


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
    )


def call_once(task: Task, view: View, ready_s: float) -> Settled:
    """A task without `for_each`."""
    played = call(task, view, None)
    return Settled(
        played.status,
        ready_s,
        ready_s + played.took_s,
        output=played.output,
        has_output=played.status == "success",
        failure=played.failure,
        units={None: played},
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
        else call(task, view.at(index, item), index)
        for index, item in enumerate(items)
    ]
    failures = [each.failure for each in played if each.failure]
    return Settled(
        "error" if failures else "success",
        ready_s,
        ready_s + max((each.took_s for each in played), default=0.0),
        output=[each.output for each in played],
        has_output=True,
        failure=failures[0] if failures else None,
        units=dict(enumerate(played)),
        has_items=True,
    )


def call(task: Task, view: View, unit: Unit) -> Played:
    """One call with its locks, its arguments and all its attempts."""
    try:
        arguments = {name: term.value(view) for name, term in task.arguments.items()}
        locks = [(lock.name.value(view), lock.shared) for lock in task.locks]
    except UnresolvedError:
        return Played(Fault("reference_error", retryable=False))
    if any(is_of(value, task.refuses) for value in arguments.values()):
        return Played(Fault("invalid_arguments", retryable=False))
    played = Played(None, arguments=arguments, locks=locks)
    for after, answer in attempts_of(task, unit):
        played.answer = answer
        played.attempts += 1
        played.took_s += after
        wait = wait_after(task, played.attempts, answer) if isinstance(answer, Fault) else None
        if wait is None:
            break
        played.waits.append(wait)
        played.took_s += wait[1]
    return played


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


def attempts_of(task: Task, unit: Unit) -> Iterator[Row]:
    """The attempts a tool would answer, one after the other, under the limit of an attempt."""
    limit = task.timeout_s or SERVER_TIMEOUT_S
    rows = task.rows_of(unit)
    for attempt in count():
        after, answer = rows[min(attempt, len(rows) - 1)]
        yield (after, answer) if after < limit else (limit, Fault("timeout"))


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
    view = view.after(str(failed.failure))
    try:
        stands_in = play_fallback(task, view)
    except UnresolvedError:
        stands_in = Played(Fault("reference_error"))
    failed.units["fallback"] = stands_in
    failed.settled_s += stands_in.took_s
    if stands_in.status == "error":
        failed.fallback_failed = True
        return failed
    failed.status, failed.recovered = "success", True
    failed.output, failed.has_output = stands_in.output, True
    return failed


def play_fallback(task: Task, view: View) -> Played:
    """The fallback alone: a value at once, or one attempt of its tool.

    The tool has the task's locks, but for those that name an item: it has none.
    """
    if task.fallback_value is not None:
        return Played(task.fallback_value.value(view))
    assert task.fallback_arguments is not None
    arguments = {name: term.value(view) for name, term in task.fallback_arguments.items()}
    kept = [lock for lock in task.locks if not lock.name.of_item]
    locks = [(lock.name.value(view), lock.shared) for lock in kept]
    if any(is_of(value, task.refuses) for value in arguments.values()):
        return Played(Fault("invalid_arguments", retryable=False))
    after, answer = next(attempts_of(task, "fallback"))
    return Played(answer, 1, after, [], arguments, locks)


def ends_the_run(case: Case, task: Task, settled: Settled) -> bool:
    return settled.status == "error" and (task.critical or case.fail_fast)


def run_status(settled: Mapping[str, Settled]) -> str:
    """The status of a run that nothing ended early."""
    if all(task.status == "success" or task.by_condition for task in settled.values()):
        return "success"
    statuses = [task.status for task in settled.values()]
    return "failed" if "error" in statuses and "success" not in statuses else "partial"


def run_output(case: Case, settled: Mapping[str, Settled]) -> dict[str, Any]:
    """What a run returns that says nothing of its output."""
    return {name: settled[name].output for name in case.sinks if settled[name].has_output}
