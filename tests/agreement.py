"""How a run that was seen differs from what the model says.

The rule of this file: it compares and gives its complaints as text. No complaint means agreement.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.engine.events import ItemSettled, TaskSettled, TaskStarted
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.workflow.model import Schedule, Workflow
from tests.model import (
    CANCELLED,
    Case,
    Played,
    Settled,
    UndeterminedError,
    clean_up,
    ends_the_run,
    generations,
    run_output,
    run_status,
    settle_all,
    status_after,
)
from tests.rules import Expected, broken_rules, is_exact, outermost, rules_of_any_end
from tests.spent import is_spent, of_a_spent_budget, over_budget
from tests.stage import Stage, as_file, play


async def complaints(case: Case, schedule: Schedule) -> list[str]:
    """Everything that is not as it should be in a run of a case."""
    workflow = Workflow.load(as_file(replace(case, schedule=schedule)))
    try:
        stage, result = await play(case, workflow)
    except TimeoutError:
        return ["the run hangs"]
    try:
        expected = settle_all(case, schedule, not_begun(case, result))
        ready_s = max(settled_at_ms(task.id, stage) for task in case.tasks) / 1000
        seen = {name: as_it_was(task, result[name]) for name, task in expected.items()}
        last = clean_up(case, schedule, seen, ready_s, not_begun(case, result))
    except UndeterminedError:
        return []
    over = list(over_budget(case, stage, result))
    if is_spent(case, stage, result):
        return [
            *over,
            *rules_of_any_end(case, schedule, stage),
            *of_a_spent_budget(case, expected, last, stage, result),
        ]
    return [
        *over,
        *broken_rules(case, schedule, {**expected, **last}, stage),
        *differences(case, schedule, expected, last, stage, result),
        *of_the_clean_up(case, last, stage, result),
    ]


def as_it_was(task: Settled, found: TaskResult) -> Settled:
    """What a task came to, if it may have been cut short."""
    if found.status == task.status:
        return task
    fault = CANCELLED if found.status == "cancelled" else None
    return Settled(found.status, task.ready_s, task.settled_s, fault=fault)


def of_the_clean_up(case: Case, last: Expected, stage: Stage, result: RunResult) -> Iterator[str]:
    """The tasks of `finally`, of which the model knows all but how the others ended."""
    for name, task in last.items():
        if task.status == "cancelled":
            yield from of_an_ended_task(name, task, stage, result[name], {"cancelled"})
        else:
            yield from of_a_task(name, task, stage, result[name], is_exact(case))
    if last and is_exact(case):
        length_s = max(task.settled_s for task in last.values())
        yield from unequal("the run's length with finally", length_s * 1000, result.duration_ms)


def not_begun(case: Case, result: RunResult) -> dict[str, list[int]]:
    """The items that were skipped because another of their task had failed.

    Which those are depends on limits and on chance; that none begins later is a rule of its own.
    """
    skipped: dict[str, list[int]] = {}
    for name, task in result.tasks.items():
        items = task.items or ()
        if case.stops_items(name) and any(item.status == "error" for item in items):
            skipped[name] = [
                x.index for x in items if x.status == "skipped" and not by_condition(x)
            ]
    return skipped


def by_condition(item: Any) -> bool:
    return "its condition is false" in item.to_dict()["reason"]


def differences(
    case: Case,
    schedule: str,
    expected: Expected,
    last: Expected,
    stage: Stage,
    result: RunResult,
) -> Iterator[str]:
    """What differs from the model, as far as the model knows."""
    stop_s = stops_at(case, expected)
    length_s = max(task.settled_s for task in expected.values())
    if stop_s is None or (is_exact(case) and stop_s > length_s):
        yield from of_a_whole_run(case, expected, stage, result)
        statuses = {run_status(expected)}
    elif is_exact(case):
        length_s = stop_s
        statuses = yield from of_an_ended_run(case, schedule, expected, stage, result, stop_s)
    else:
        statuses = yield from of_a_run_that_ended_somewhere(case, expected, stage, result)
    if is_exact(case):
        ended_ms = max(settled_at_ms(name, stage) for name in expected)
        yield from unequal("the run's length", length_s * 1000, ended_ms)
    allowed = {status_after(case, status, last) for status in statuses}
    if result.status not in allowed:
        yield f"the run's status: {result.status} is none of {sorted(allowed)}"


def stops_at(case: Case, expected: Expected) -> float | None:
    """When something ends the run early, by the model's times; None if nothing does."""
    failures = [expected[name].settled_s for name in enders(case, expected)]
    outside = [each for each in (case.timeout_s, case.cancelled_s) if each is not None]
    return min([*failures, *outside], default=None)


def enders(case: Case, expected: Expected) -> list[str]:
    """The tasks that end the run, by failing or by succeeding."""
    return [name for name, task in expected.items() if ends_the_run(case, case.task(name), task)]


def of_a_whole_run(
    case: Case, expected: Expected, stage: Stage, result: RunResult
) -> Iterator[str]:
    """A run that nothing ended."""
    for name, task in expected.items():
        if task.status == "cancelled":
            yield from of_an_ended_task(name, task, stage, result[name], {"cancelled"})
        else:
            yield from of_a_task(name, task, stage, result[name], is_exact(case))
    yield from unequal("the run's output", run_output(case, expected), result.output)
    if is_exact(case) and not case.finally_:
        length_s = max(task.settled_s for task in expected.values())
        yield from unequal("the run's length", length_s * 1000, result.duration_ms)


def of_an_ended_run(
    case: Case,
    schedule: str,
    expected: Expected,
    stage: Stage,
    result: RunResult,
    stop_s: float,
) -> Generator[str, None, set[str]]:
    """A run that ended at a known time, and the statuses that it may have.

    What happens at that very moment may go either way.
    """
    at_once = [x for x in enders(case, expected) if expected[x].settled_s == stop_s]
    from_outside = not at_once
    if not case.finally_:
        yield from unequal("the run's length", stop_s * 1000, result.duration_ms)
    statuses = {"cancelled"}
    if not from_outside:
        statuses = yield from wrongly_ended(case, expected, stage, result)
    for name, task in expected.items():
        allowed = set()
        if task.settled_s <= stop_s:
            allowed.add(task.status)
        if task.ready_s <= stop_s <= task.settled_s:
            allowed.add("cancelled")
        if task.began_s >= stop_s and task.settled_s >= stop_s:
            allowed.add("cancelled" if from_outside else "skipped")
        if len(at_once) == 1 and name in at_once:
            allowed = {task.status}
        if len(at_once) == 1 and comes_after(case, schedule, name, at_once[0]):
            allowed = {"skipped"}
        yield from of_an_ended_task(name, task, stage, result[name], allowed)
    return statuses


def comes_after(case: Case, schedule: str, task: str, other: str) -> bool:
    """Whether a task can only begin when the other has settled."""
    if schedule == "generations":
        found = generations(case.tasks)
        return found[task] > found[other]
    needs = case.task(task).needs
    return other in needs or any(comes_after(case, schedule, need, other) for need in needs)


def of_a_run_that_ended_somewhere(
    case: Case, expected: Expected, stage: Stage, result: RunResult
) -> Generator[str, None, set[str]]:
    """A run under limits that a task ended: which tasks came before it is not known."""
    statuses = yield from wrongly_ended(case, expected, stage, result)
    for name, task in expected.items():
        allowed = {task.status, "cancelled", "skipped"}
        yield from of_an_ended_task(name, task, stage, result[name], allowed)
    return statuses


def wrongly_ended(
    case: Case, expected: Expected, stage: Stage, result: RunResult
) -> Generator[str, None, set[str]]:
    """After that nothing is called; what was called is cancelled, and the rest skipped."""
    might = {name: ends_the_run(case, case.task(name), task) for name, task in expected.items()}
    did = [name for name in might if might[name] and result[name].status == expected[name].status]
    failed = any(result[name].status == "error" for name in expected)
    ended = False
    for entry in (entry for entry in stage.log if outermost(entry.task) in expected):
        ended = ended or (entry.what == "settled" and entry.task in did)
        if ended and entry.what == "start":
            yield f"{entry.task} was called after the run had ended"
    if not ended:
        yield "nothing ended the run"
    called = {name for name, _ in stage.made}
    for name in expected:
        status = result[name].status
        if status == ("skipped" if name in called else "cancelled"):
            yield f"{name} is {status}, and was {'' if name in called else 'not '}called"
    return {"partial" if might[x] == "success" and failed else str(might[x]) for x in did}


def of_an_ended_task(
    name: str, task: Settled, stage: Stage, found: TaskResult, allowed: set[str]
) -> Iterator[str]:
    """A task of a run that was ended: what it would have come to, or cut short."""
    if found.status not in allowed:
        yield f"{name}: {found.status} is none of {sorted(allowed)}"
    elif found.status not in ("cancelled", "skipped"):
        yield from of_a_task(name, task, stage, found, exact=False)
        return
    made = {
        unit: count
        for (called, unit), count in stage.made.items()
        if called == name and not isinstance(unit, str)
    }
    yield from unequal(f"{name}, cut short: attempts", sum(made.values()), found.attempts)
    yield from unequal(f"{name}, cut short: has a reason", True, bool(found.reason))
    if task.status == found.status == "cancelled":
        yield from unequal(f"{name}: settled at", task.settled_s * 1000, settled_at_ms(name, stage))
    for item in found.items or ():
        what = f"{name}[{item.index}], cut short: attempts"
        yield from unequal(what, made.get(item.index, 0), item.attempts)


def of_a_task(
    name: str, task: Settled, stage: Stage, found: TaskResult, exact: bool
) -> Iterator[str]:
    """A task that settled by itself."""
    error = found.error
    yield from unequal(f"{name}: status", task.status, found.status)
    yield from unequal(f"{name}: output", as_text(task.output), as_text(found.output))
    yield from unequal(f"{name}: error", task.failure, error.kind if error else None)
    yield from unequal(f"{name}: recovered", task.recovered, found.recovered)
    yield from unequal(f"{name}: attempts", task.attempts, found.attempts)
    yield from unequal(f"{name}: has a reason", task.status == "skipped", bool(found.reason))
    yield from unequal(f"{name}: items", items_of(task), items_found(found))
    noted = "fallback_error" in error.details if error else False
    yield from unequal(f"{name}: fallback_error", task.fallback_failed, noted)
    yield from of_its_calls(name, task, stage)
    yield from of_the_inside(name, task.units.get(None), found.tasks)
    for number, item in enumerate(found.items or ()):
        yield from of_the_inside(f"{name}[{number}]", task.units.get(number), item.tasks)
    if exact:
        yield from of_its_times(name, task, stage, found)


def of_the_inside(
    name: str, played: Played | None, found: Mapping[str, TaskResult] | None
) -> Iterator[str]:
    """The tasks of a workflow inside, in its last run."""
    for inner, task in (played.inside if played else {}).items():
        seen = found[inner] if found else None
        what = f"{name}/{inner}"
        yield from unequal(f"{what}: status", task.status, seen.status if seen else None)
        if seen is None or seen.status != task.status or task.status == "cancelled":
            continue
        yield from unequal(f"{what}: output", as_text(task.output), as_text(seen.output))
        yield from unequal(f"{what}: error", task.failure, seen.error.kind if seen.error else None)
        yield from unequal(f"{what}: attempts", task.attempts, seen.attempts)
        yield from unequal(f"{what}: items", items_of(task), items_found(seen))
        yield from of_the_inside(what, task.units.get(None), seen.tasks)
        for number, item in enumerate(seen.items or ()):
            yield from of_the_inside(f"{what}[{number}]", task.units.get(number), item.tasks)


def items_of(task: Settled) -> list[tuple[Any, ...]] | None:
    if task.items is None:
        return None
    return [
        (number, item.status, item.output, item.failure, item.recovered, item.attempts)
        for number, item in enumerate(task.items)
    ]


def items_found(found: TaskResult) -> list[tuple[Any, ...]] | None:
    if found.items is None:
        return None
    return [
        (
            x.index,
            x.status,
            x.output,
            x.error.kind if x.error else None,
            x.to_dict().get("recovered", False),
            x.attempts,
        )
        for x in found.items
    ]


def of_its_calls(name: str, task: Settled, stage: Stage) -> Iterator[str]:
    """What its tools were given, and how often."""
    wanted = {unit: played for unit, played in task.units.items() if played.attempts}
    for unit in {unit for task_id, unit in stage.made if task_id == name} - set(wanted):
        yield f"{name}: a call that nobody asked for ({unit})"
    for unit, played in wanted.items():
        what = f"{name}: {'call' if unit is None else unit}"
        yield from unequal(f"{what}, made", played.attempts, stage.made[name, unit])
        if (name, unit) in stage.given:  # not the inputs of a workflow inside
            yield from unequal(f"{what}, with", played.given, stage.given[name, unit])
    settled = Counter(x.item for x in stage.seen if isinstance(x, ItemSettled) and x.task == name)
    yield from unequal(f"{name}: items told", Counter(range(len(task.items or []))), settled)
    started = sum(isinstance(x, TaskStarted) and x.task == name for x in stage.seen)
    yield from unequal(f"{name}: starts told", sum(x.attempts for x in wanted.values()), started)


def of_its_times(name: str, task: Settled, stage: Stage, found: TaskResult) -> Iterator[str]:
    """When it started and settled, in a run where nothing waits."""
    yield from unequal(f"{name}: settled at", task.settled_s * 1000, settled_at_ms(name, stage))
    if task.attempts or not any(played.attempts for played in task.units.values()):
        started_ms = task.began_s * 1000 if task.attempts else None
        took_ms = (task.settled_s - task.began_s) * 1000 if task.attempts else 0
        yield from unequal(f"{name}: started_ms", started_ms, found.started_ms)
        yield from unequal(f"{name}: duration_ms", took_ms, found.duration_ms)
    yield from unequal(f"{name}: waited_ms", 0, found.waited_ms)
    for number, (item, seen) in enumerate(zip(task.items or [], found.items or [], strict=False)):
        if item.attempts or not (item.stand_in and item.stand_in.attempts):
            began_ms = task.began_s * 1000 if item.attempts else None
            yield from unequal(f"{name}[{number}]: started_ms", began_ms, seen.started_ms)
        yield from unequal(
            f"{name}[{number}]: duration_ms", item.settled_s * 1000, seen.duration_ms
        )


def settled_at_ms(task: str, stage: Stage) -> float:
    (at_ms,) = (x.at_ms for x in stage.seen if isinstance(x, TaskSettled) and x.task == task)
    return at_ms


def unequal(what: str, wanted: Any, found: Any) -> Iterator[str]:
    if wanted != found:
        yield f"{what}: {found!r}, not {wanted!r}"


def as_text(value: Any) -> str:
    """A value as JSON, so that 1, 1.0 and true differ; the order of an object means nothing."""
    return json.dumps(value, sort_keys=True)
