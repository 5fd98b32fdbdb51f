"""What holds in every run, whatever becomes of its tasks: order, limits, locks, waits.

The rule of this file: plain functions over what `tests.stage` wrote down, which give their
complaints as text. No complaint means that all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

from orchestrator.engine.events import RunSettled, TaskSettled
from tests.model import Case, Settled, Task, Unit, generations, turn
from tests.stage import Entry, Stage

Expected = Mapping[str, Settled]


def broken_rules(case: Case, schedule: str, expected: Expected, stage: Stage) -> Iterator[str]:
    """Everything that is not as it has to be in any run."""
    yield from rules_of_any_end(case, schedule, stage)
    log = [entry for entry in stage.log if "/" not in entry.task]
    yield from begun_after_a_failure(case, expected, log)
    yield from locks_broken(expected, log)
    yield from locks_inside_broken(stage)
    yield from wrong_waits(case, expected, log)
    if not any(task.inner for task in case.all_tasks):  # whose calls take slots and turns, too
        yield from idle(case, schedule, expected, log)
        yield from out_of_turn(case, schedule, expected, log)


def rules_of_any_end(case: Case, schedule: str, stage: Stage) -> Iterator[str]:
    """The same for a run that may have ended anywhere."""
    yield from not_settled_once(case, stage)
    yield from too_early(case, schedule, stage.log)
    yield from over_limits(case, stage)


def not_settled_once(case: Case, stage: Stage) -> Iterator[str]:
    """Each task settles once, and the run after all of them."""
    counted = Counter(event.task for event in stage.seen if isinstance(event, TaskSettled))
    for task in case.all_tasks:
        if counted[task.id] != 1:
            yield f"{task.id} settled {counted[task.id]} times"
    ends = [number for number, event in enumerate(stage.seen, 1) if isinstance(event, RunSettled)]
    if ends != [len(stage.seen)]:
        yield f"the run settled at {ends} of {len(stage.seen)} events"


def too_early(case: Case, schedule: str, log: list[Entry]) -> Iterator[str]:
    """Nothing starts before what it needs has settled, nor goes on when it has settled itself."""
    settled: set[str] = set()
    for entry in log:
        if entry.what == "settled":
            settled.add(entry.task)
            continue
        task = outermost(entry.task)
        for name in sorted(must_settle_before(case, schedule, task) - settled):
            yield f"{entry.task} began before {name} had settled"
        if task in settled:
            yield f"{entry.task} had settled, and its call went on ({entry.what})"


def outermost(path: str) -> str:
    """The task of the run itself in which a call is made."""
    return path.partition("/")[0].partition("[")[0] if "/" in path else path


def begun_after_a_failure(case: Case, expected: Expected, log: list[Entry]) -> Iterator[str]:
    """Where it stops the others, no item begins once one of its task has failed for good."""
    attempts: Counter[tuple[str, Unit]] = Counter()
    failed: dict[str, Unit] = {}
    for entry in log:
        stops = entry.what != "settled" and case.stops_items(entry.task)
        played = expected[entry.task].units.get(entry.unit)
        if not stops or played is None or not isinstance(entry.unit, int):
            continue
        if entry.what == "start":
            attempts[entry.task, entry.unit] += 1
            if attempts[entry.task, entry.unit] == 1 and entry.task in failed:
                yield f"{entry.task}[{entry.unit}] began after [{failed[entry.task]}] had failed"
        elif played.status == "success" or played.stand_in:
            continue
        elif attempts[entry.task, entry.unit] == played.attempts > len(played.waits):
            failed.setdefault(entry.task, entry.unit)


def over_limits(case: Case, stage: Stage) -> Iterator[str]:
    """No limit is exceeded by the calls in flight."""
    running: Counter[str] = Counter()
    for entry in stage.log:
        if entry.what == "settled":
            continue
        task = stage.task_at(entry.task)
        for name in ("all", task.server, entry.task):
            running[name] += {"start": 1, "end": -1}[entry.what]
        if case.max_concurrency and running["all"] > case.max_concurrency:
            yield f"{running['all']} calls at once"
        if task.server in case.slots and running[task.server] > case.slots[task.server]:
            yield f"{running[task.server]} calls at once on {task.server}"
        if task.max_parallel and running[entry.task] > task.max_parallel:
            yield f"{running[entry.task]} items of {task.id} at once"


def locks_broken(expected: Expected, log: list[Entry]) -> Iterator[str]:
    """From the start of a call's first attempt to the end of its last nobody else has its lock."""
    spans: dict[tuple[str, Unit], list[int]] = {}
    for moment, entry in enumerate(log):
        if entry.what != "settled":
            spans.setdefault((entry.task, entry.unit), []).append(moment)
    holders: dict[str, list[tuple[str, Unit]]] = {}
    for task, unit in spans:
        for name in dict.fromkeys(name for name, _ in locks_of(expected, task, unit)):
            holders.setdefault(name, []).append((task, unit))
    for name, units in holders.items():
        for one, other in combinations(units, 2):
            if spans[one][-1] < spans[other][0] or spans[other][-1] < spans[one][0]:
                continue
            if (name, False) in locks_of(expected, *one) + locks_of(expected, *other):
                yield f"{one} and {other} hold {name!r} at once"


def locks_inside_broken(stage: Stage) -> Iterator[str]:
    """The same with workflows inside: what a task holds, only those inside it hold, one by one."""
    under_way: dict[str, list[int]] = {}
    spans: list[tuple[str, list[int]]] = []
    for moment, entry in enumerate(stage.log):
        if entry.what == "settled":
            ended = [x for x in under_way if x == entry.task or is_inside(x, entry.task)]
            spans += [(name, under_way.pop(name)) for name in ended]
        elif not isinstance(entry.unit, str):
            steps = entry.task.split("/")
            around = ["/".join(steps[:depth]) for depth in range(1, len(steps))]
            own = entry.task if entry.unit is None else f"{entry.task}[{entry.unit}]"
            for name in (*around, own):
                under_way.setdefault(name, [moment, moment])[1] = moment
    held = [(*span, literal_locks(stage, span[0])) for span in spans]
    for (one, its, mine), (other, theirs, yours) in combinations(held, 2):
        apart = its[1] < theirs[0] or theirs[1] < its[0]
        if apart or is_inside(one, other) or is_inside(other, one):
            continue
        for name in mine.keys() & yours.keys():
            if not (mine[name] and yours[name]):
                yield f"{one} and {other} hold {name!r} at once"


def is_inside(path: str, outer: str) -> bool:
    return path.startswith((f"{outer}/", f"{outer}["))


def literal_locks(stage: Stage, path: str) -> dict[str, bool]:
    """The locks of a task or an item whose names stand in the file, and whether only shared."""
    *above, last = path.split("/")
    task = stage.task_at("/".join([*above, last.partition("[")[0]]))
    found: dict[str, bool] = {}
    for lock in (lock for lock in task.locks if lock.is_literal):
        found[str(lock.name.text)] = lock.shared and found.get(str(lock.name.text), True)
    return found


def locks_of(expected: Expected, task: str, unit: Unit) -> list[tuple[str, bool]]:
    played = expected[task].units.get(unit)
    return played.locks if played else []


def wrong_waits(case: Case, expected: Expected, log: list[Entry]) -> Iterator[str]:
    """Between two attempts lies what the policy says; more only where calls wait for others."""
    ended: dict[tuple[str, Unit], float] = {}
    tried: Counter[tuple[str, Unit]] = Counter()
    free = is_free(case)
    rounding = 0.0 if is_exact(case) else 1e-6  # a random wait is no sum of powers of two
    for entry in log:
        unit = (entry.task, entry.unit)
        if entry.what == "end":
            ended[unit] = entry.at_s
        if entry.what != "start":
            continue
        tried[unit] += 1
        played = expected[entry.task].units.get(entry.unit)
        if played is None or tried[unit] > len(played.waits) + 1:
            yield f"{unit} was tried {tried[unit]} times"
        elif tried[unit] > 1:
            low, high = played.waits[tried[unit] - 2]
            waited = entry.at_s - ended[unit]
            if waited < low - rounding or (free and waited > high + rounding):
                yield f"{unit} waited {waited} s, not {low} to {high}, before {tried[unit]}"


@dataclass(frozen=True)
class Wait:
    """From when an attempt could have begun until it did."""

    task: Task
    asked_s: float
    began_s: float
    unit: Unit = None


def idle(case: Case, schedule: str, expected: Expected, log: list[Entry]) -> Iterator[str]:
    """No call waits while there is room for it: a backoff holds no slot, and nobody hoards."""
    waits = [wait for wait in waits_of(case, schedule, expected, log) if may_be_judged(wait.task)]
    running: Counter[str] = Counter()
    for entry, following in pairwise(log):
        for name in ("all", case.task(entry.task).server):
            running[name] += {"start": 1, "end": -1, "settled": 0}[entry.what]
        if entry.at_s == following.at_s or running["all"] == case.max_concurrency > 0:
            continue
        for wait in waits:
            waiting = wait.asked_s <= entry.at_s and following.at_s <= wait.began_s
            if waiting and running[wait.task.server] < case.slots.get(wait.task.server, 1000):
                yield f"{wait.task.id} waited for nothing from {entry.at_s} to {following.at_s}"


def out_of_turn(case: Case, schedule: str, expected: Expected, log: list[Entry]) -> Iterator[str]:
    """No call that waits for a slot is passed over by one whose turn is later.

    Calls that wait for anything else besides are not judged: their place in the queue is not known.
    """
    turns = {task.id: turn(case, schedule, task.id) for task in case.all_tasks}
    waits = [wait for wait in waits_of(case, schedule, expected, log) if may_be_judged(wait.task)]
    for entry in (entry for entry in log if entry.what == "start"):
        mine = (*turns[entry.task], *place_of(entry.unit))
        for wait in waits:
            waited = wait.asked_s < entry.at_s < wait.began_s
            if not waited or not wait_for_the_same(case, wait.task, case.task(entry.task)):
                continue
            if (*turns[wait.task.id], *place_of(wait.unit)) < mine:
                yield f"{wait.task.id} waited at {entry.at_s}, and {entry.task} went first"


def wait_for_the_same(case: Case, one: Task, other: Task) -> bool:
    """Whether a task waits for a single limit, which the other one has to pass too."""
    if case.max_concurrency:
        return one.server not in case.slots
    return one.server == other.server and one.server in case.slots


def place_of(unit: Unit) -> tuple[int, ...]:
    """The place of an item among those of its task."""
    return (unit,) if isinstance(unit, int) else ()


def may_be_judged(task: Task) -> bool:
    """Whether it only ever waits for slots."""
    return not (task.locks or task.max_parallel or (task.retry and task.retry.jitter))


def waits_of(case: Case, schedule: str, expected: Expected, log: list[Entry]) -> Iterator[Wait]:
    """How long each attempt waited before it began, but for those of fallbacks."""
    asked: dict[tuple[str, Unit], float] = {}
    tried: Counter[tuple[str, Unit]] = Counter()
    settled: dict[str, float] = {}
    for entry in log:
        unit = (entry.task, entry.unit)
        played = expected[entry.task].units.get(entry.unit)
        if entry.what == "settled":
            settled[entry.task] = entry.at_s
        elif isinstance(entry.unit, str) or played is None:
            continue
        elif entry.what == "start":
            before = must_settle_before(case, schedule, entry.task)
            ready_s = max((settled[name] for name in before), default=0.0)
            asked_s = asked.get(unit, ready_s + (case.task(entry.task).delay_s or 0.0))
            yield Wait(case.task(entry.task), asked_s, entry.at_s, entry.unit)
        elif tried[unit] < len(played.waits):
            asked[unit] = entry.at_s + played.waits[tried[unit]][1]
            tried[unit] += 1


def must_settle_before(case: Case, schedule: str, task: str) -> set[str]:
    """The tasks that have settled when one begins."""
    others = {other.id for other in case.tasks} if case.task(task) in case.finally_ else set()
    if schedule == "dataflow":
        return others | case.task(task).needs
    generation = generations(case.among(task))
    return others | {name for name in generation if generation[name] < generation[task]}


def is_free(case: Case) -> bool:
    """Whether no call ever waits for another."""
    exclusive = any(not lock.shared for task in case.all_tasks for lock in task.locks)
    parallel = any(task.max_parallel for task in case.all_tasks)
    inner = all(is_free(task.inner) for task in case.all_tasks if task.inner)
    return inner and not (case.max_concurrency or case.slots or exclusive or parallel)


def is_exact(case: Case) -> bool:
    """Whether all times are known beforehand."""
    return is_free(case) and not any(task.retry and task.retry.jitter for task in case.all_tasks)
