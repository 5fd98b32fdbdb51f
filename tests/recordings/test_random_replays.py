"""Random workflows with random faults, recorded and replayed: both come to the same."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, RunResult, Server, Tool, Workflow
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.events import OnEvent
from orchestrator.recordings.clock import InstantLoop
from orchestrator.recordings.record import RecordingPool
from orchestrator.recordings.recording import Recording
from orchestrator.recordings.replay import ReplayPool
from tests.model import SERVER_TIMEOUT_S, Case
from tests.random_cases import Profile, random_case
from tests.recordings.world import outcome
from tests.stage import FOREVER_S, Stage, as_file, tools_in
from tests.virtual_clock import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]

CASES = int(os.environ.get("RANDOM_CASES", "2"))
FIRST_CASE = int(os.environ.get("FIRST_CASE", "0"))
PROFILES = {
    "plain": Profile(),
    "ends early": Profile(ends=True),
    "limits": Profile(limits=True),
    "cleans": Profile(cleans=True, ends=True),
    "inner": Profile(inner=True, ends=True),
    "policies": Profile(policies=True, inner=True, cleans=True),
    "all": Profile(policies=True, ends=True, limits=True, inner=True),
}


@pytest.fixture
def anyio_backend() -> Backend:
    """A clock that does not wait; on trio, what begins at the same moment has no order."""
    return "asyncio", {"loop_factory": InstantLoop}


class _Staged:
    """The sessions of a server that is a stage."""

    failure = None
    usable = True

    @property
    def offers(self) -> _Staged:
        return self

    async def of(self, kind: str) -> None: ...
    async def complete(self, *_: Any) -> list[str]:
        return []

    def __init__(self, server: Server, stage: Stage) -> None:
        self.server, self._stage = server, stage

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None: ...

    def close(self) -> None: ...

    async def session(self) -> _Staged:
        return self

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        return await self._stage(call, attempt or Attempt())


class _StagePool(RecordingPool):
    """Records the calls of a stage."""

    def __init__(self, case: Case, stage: Stage, workflow: Workflow, path: Path) -> None:
        self._stage = stage
        servers = {
            name: Server(
                timeout_s=SERVER_TIMEOUT_S,
                writes="parallel",
                max_concurrency=case.slots.get(name),
            )
            for name in ("s0", "s1")
        }
        super().__init__(servers, None, path)
        for server in servers:
            names = {each.tool for each in _targets(workflow) if each.server == server}
            tools = {name: Tool(server, name, {}) for name in names}
            tools |= {tool.name: tool for tool in tools_in(case) if tool.server == server}
            self.catalog.replace(server, tools.values())

    async def learn_prompts(self, servers: Iterable[str]) -> None:
        """The prompts of a stage are not known."""

    def _new_supervisors(self) -> Mapping[str, _Staged]:
        return {name: _Staged(server, self._stage) for name, server in self.servers.items()}


def _targets(workflow: Workflow) -> list[Any]:
    return [target for _, target, _ in workflow.plan.calls if target.kind == "tool"]


async def played(pool: Any, case: Case, workflow: Workflow, stage: Stage | None) -> RunResult:
    """Run a case on a pool; what its user does happens in both."""
    async with Orchestrator(pool) as orchestrator:
        observers = [] if stage is None else [stage.observe]
        begun = orchestrator.begin(workflow, observers=observers, estimates=case.estimates)
        with anyio.fail_after(FOREVER_S):
            async with begun as run, anyio.create_task_group() as user:
                if stage is not None:
                    stage.zero_s = anyio.current_time()

                async def cancel_after(seconds: float) -> None:
                    await anyio.sleep(seconds)
                    run.cancel("enough")

                for at_s in (case.cancelled_s, case.cancelled_again_s):
                    if at_s is not None:
                        user.start_soon(cancel_after, at_s)
                result = await run.execute()
                user.cancel_scope.cancel()
    return result


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_replay_of_any_run_comes_to_the_same(
    profile: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "orchestrator")
    for number in range(FIRST_CASE, FIRST_CASE + CASES):
        case = random_case(number, profile)
        case = replace(case, cancelled_tasks={})
        workflow = Workflow.load(as_file(case))
        path, stage = tmp_path / f"{number}.json", Stage(case)
        result = await played(_StagePool(case, stage, workflow, path), case, workflow, stage)
        pool = ReplayPool(Recording.load(path))
        again = await played(pool, case, workflow, None)
        shown = f"case {number}: {json.dumps(as_file(case))}\n{path.read_text()}"
        assert list(pool.missed) == [], shown
        assert outcome(again) == outcome(result), shown
