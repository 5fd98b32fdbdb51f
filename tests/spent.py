"""What a run may have called that has an operator's budget, and when such a budget ends it.

The rule of this file: it counts what was seen, call by call, and gives its complaints as text.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.events import TaskSettled
from orchestrator.engine.result import RunResult
from tests.model import Case, Played, Settled, fallback_of
from tests.rules import Expected
from tests.stage import Entry, Stage


def is_last(case: Case, path: str) -> bool:
    """Whether a task is one of `finally`, or inside of one."""
    name, _, rest = path.partition("/")
    task = case.task(name.partition("[")[0])
    if task in case.finally_:
        return True
    return bool(rest) and task.inner is not None and is_last(task.inner, rest)


def calls_of(case: Case, stage: Stage, *, last: bool) -> list[Entry]:
    """The calls of all `finally`, or all others, as they began."""
    begun = (each for each in stage.log if each.what == "start")
    return [each for each in begun if is_last(case, each.task) == last]


def is_spent(case: Case, stage: Stage, result: RunResult) -> bool:
    """Whether the budget has ended something, or may have."""
    if case.calls is None:
        return False
    cleaned = len(calls_of(case, stage, last=True))
    return result.reason == "budget" or cleaned == case.calls


def over_budget(case: Case, stage: Stage, result: RunResult) -> Iterator[str]:
    """`finally` may make as many calls as the rest; none is refused that a budget has."""
    if case.calls is None:
        return
    made = {last: len(calls_of(case, stage, last=last)) for last in (False, True)}
    for last, count in made.items():
        if count > case.calls:
            yield f"{count} calls of a budget of {case.calls} (finally: {last})"
    if result.reason == "budget":
        if case.calls not in made.values():
            yield f"the budget of {case.calls} was spent after {made}"
        if result.status != "failed":
            yield f"the budget was spent, and the run is a {result.status}"


def of_a_spent_budget(
    case: Case, expected: Expected, last: Expected, stage: Stage, result: RunResult
) -> Iterator[str]:
    """What becomes of the tasks when the budget is spent: what would have become, or nothing."""
    for name, task in {**expected, **last}.items():
        allowed = {task.status, "cancelled", "skipped"}
        if (found := result[name]).status not in allowed:
            yield f"{name}: {found.status} is none of {sorted(allowed)}"
        if found.status != task.status and not found.reason:
            yield f"{name} was ended without a reason"
    if is_simple(case) and len(calls_of(case, stage, last=True)) != case.calls:
        yield from ended_otherwise(case, expected, stage)


def is_simple(case: Case) -> bool:
    """Whether nothing but the budget could end the run, and it is known when each call begins."""
    ends = case.fail_fast or any(task.critical or task.end_run for task in case.tasks)
    is_limited = case.max_concurrency or case.slots or case.cancelled_tasks
    outside = (case.timeout_s, case.cancelled_s)
    has_inner = any(task.inner or task.deadline_s for task in case.tasks)
    return not (ends or is_limited or has_inner) and outside == (None, None)


def ended_otherwise(case: Case, expected: Expected, stage: Stage) -> Iterator[str]:
    """The run ends when it needs one more call, and those that are under way have ended."""
    assert case.calls is not None
    needed = sorted(call for task in expected.values() for call in calls_in(task))
    if len(needed) <= case.calls:
        yield f"the budget of {case.calls} was spent, and {len(needed)} calls are needed"
        return
    one_more_s, _ = needed[case.calls]
    before = [call for call in needed if call[0] < one_more_s]
    begun = [each.at_s for each in calls_of(case, stage, last=False) if each.at_s < one_more_s]
    if sorted(begun) != [at_s for at_s, _ in before]:
        yield f"calls began at {sorted(begun)}, and {before} were needed"
    seen_ms = max(x.at_ms for x in stage.seen if isinstance(x, TaskSettled) and x.task in expected)
    # Which of the calls that begin at that very moment is one too many is not known.
    same = [end_s for begin_s, end_s in needed if begin_s == one_more_s]
    until_s = max([one_more_s, *(end_s for _, end_s in before)])
    if seen_ms not in {max(until_s, end_s) * 1000 for end_s in (one_more_s, *same)}:
        yield f"the tasks ended at {seen_ms}, not {until_s * 1000} or later with {same}"


def calls_in(task: Settled) -> Iterator[tuple[float, float]]:
    """When each call of a task begins and ends, if nothing ends the run."""
    for unit, played in task.units.items():
        zero_s = task.began_s
        if unit == fallback_of(None):
            zero_s = task.settled_s - played.took_s
        elif isinstance(unit, str):
            zero_s += played_before(task, unit).took_s
        later = zip(played.began_s[1:], played.waits, strict=True)
        ends = [*(next_s - longest_s for next_s, (_, longest_s) in later), played.took_s]
        for begin_s, end_s in zip(played.began_s, ends, strict=bool(played.began_s)):
            yield zero_s + begin_s, zero_s + end_s


def played_before(task: Settled, stand_in: str) -> Played:
    """The item that a fallback stands in for."""
    return next(each for x, each in task.units.items() if fallback_of(x) == stand_in)
