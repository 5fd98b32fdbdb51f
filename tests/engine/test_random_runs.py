"""Random workflows with random faults come to what the naive model says, under both schedules.

`RANDOM_CASES=5000 pytest tests/engine/test_random_runs.py` makes more; `FIRST_CASE=1000` others.
"""

from __future__ import annotations

import json
import logging
import os

import pytest

from orchestrator.errors import WorkflowError
from orchestrator.workflow.model import Schedule
from tests.agreement import complaints
from tests.model import Case
from tests.random_cases import Profile, random_case, simplest
from tests.stage import as_file

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

CASES = int(os.environ.get("RANDOM_CASES", "20"))
FIRST = int(os.environ.get("FIRST_CASE", "0"))
FEW = range(FIRST, FIRST + CASES)
MORE = range(FEW.stop, FEW.stop + 2 * CASES)
SCHEDULES: tuple[Schedule, ...] = ("generations", "dataflow")


PROFILES = {
    "unlimited runs take exactly the time of the model": Profile(budget=True),
    "runs that end early stop at the very moment": Profile(ends=True),
    "runs in which single tasks are cancelled": Profile(cancels=True),
    "runs under limits": Profile(limits=True),
    "runs with random waits": Profile(jitter=True),
    "runs under limits that end early": Profile(ends=True, limits=True, jitter=True),
    "runs that clean up": Profile(cleans=True, ends=True, budget=True),
    "runs under limits that clean up": Profile(
        cleans=True, ends=True, limits=True, policies=True, budget=True
    ),
    "runs with workflows inside": Profile(inner=True),
    "runs with workflows inside under limits": Profile(inner=True, limits=True, ends=True),
    "runs with policies and workflows inside": Profile(inner=True, policies=True, ends=True),
    "runs with workflows inside that clean up": Profile(
        inner=True, cleans=True, policies=True, budget=True
    ),
    "runs with policies": Profile(policies=True),
    "runs with policies that end early": Profile(policies=True, ends=True),
    "runs with policies under limits": Profile(policies=True, ends=True, limits=True, jitter=True),
}


@pytest.mark.untraced
@pytest.mark.parametrize(
    "numbers", [FEW, pytest.param(MORE, marks=pytest.mark.slow)], ids=["few", "more"]
)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_every_random_run_agrees_with_the_model(
    profile: Profile, schedule: Schedule, numbers: range, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "orchestrator")
    for number in numbers:
        case = random_case(number, profile)
        if await complaints(case, schedule):

            async def shows(simpler: Case) -> bool:
                try:
                    return bool(await complaints(simpler, schedule))
                except WorkflowError:  # what was left out made the file wrong
                    return False

            least = await simplest(case, shows)
            pytest.fail(report(number, least, await complaints(least, schedule)))


def report(number: int, case: Case, found: list[str]) -> str:
    """A disagreement, as somebody wants to see it who has to find out who is wrong."""
    lines = [f"case {number}, in its simplest form:", json.dumps(as_file(case), indent=1)]
    lines.append(f"the operator grants {case.calls} calls")
    lines.append(f"cancelled: the run at {case.cancelled_s} and {case.cancelled_again_s}")
    lines.append(f"cancelled: tasks at {case.cancelled_tasks}")
    for task in case.all_tasks:
        lines.append(f"{task.id} answers {task.rows}, its fallback {task.fallback_rows}")
    return "\n".join([*lines, *found])
