"""Runs the tests of workflows: a replay each, compared with what is expected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio

from orchestrator.client import Orchestrator
from orchestrator.documents.differences import NOTHING, Difference, differences
from orchestrator.documents.jsonpath import format_path
from orchestrator.documents.text import quoted
from orchestrator.engine.result import RunResult
from orchestrator.errors import Problem, WorkflowError
from orchestrator.recordings.case import SUFFIX, Case, WrongCaseError
from orchestrator.recordings.clock import INSTANT
from orchestrator.recordings.expect import part_at, projected, snapshot
from orchestrator.recordings.replay import ReplayPool
from orchestrator.servers.lockfile import Lockfile

_NOT_OURS = ("node_modules", "__pycache__")
NO_EXPECT = 'missing field "expect": what is expected of the run'


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test has shown.

    Attributes:
        file: Its file.
        status: `passed`; `failed`: it differs; `broken`: it could not be run; `updated`: what it
            expects was replaced by what came.
        differences: Where the result differs from what is expected.
        missed: The calls that are not in the recording.
        errors: What is wrong with the test, its workflow or its recording.
        warnings: What makes the recording doubtful.
        result: The result of the run, if there was one.
    """

    file: Path
    status: Literal["passed", "failed", "broken", "updated"]
    differences: list[Difference] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    errors: list[WorkflowError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    result: RunResult | None = None

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return self.status in ("passed", "updated")

    def lines(self) -> Iterator[str]:
        """Each difference, missing call and mistake, on a line or more."""
        yield from (self._line(each) for each in self.differences)
        yield from self.missed
        yield from map(str, self.errors)
        for question in () if self.result is None or self.passed else self.result.questions:
            yield f'task {quoted(question.where)} waits for a reply: give it in "answers"'

    def _line(self, difference: Difference) -> str:
        text = difference.message()
        match difference.path:
            case ("tasks", str() as task, *rest) if difference.got in ("error", "cancelled") and (
                not rest or rest == ["status"]
            ):
                part = None if self.result is None else part_at(self.result, task)
                if part is not None and part.error is not None:
                    return f"{text} ({part.error.kind}: {part.error.message})"
        return text

    def __str__(self) -> str:
        return "\n  ".join([f"{self.file}: {self.status}", *self.lines()])

    def to_dict(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return {
            "file": str(self.file),
            "status": self.status,
            "differences": [_as_dict(each) for each in self.differences],
            "missed": self.missed,
            "problems": [
                {"file": error.source, **problem.to_dict()}
                for error in self.errors
                for problem in error.problems
            ],
            "warnings": self.warnings,
        }


def _as_dict(difference: Difference) -> dict[str, Any]:
    values = {"expected": difference.expected, "got": difference.got}
    given = {name: value for name, value in values.items() if value is not NOTHING}
    return {"path": format_path(difference.path), **given}


def find_tests(paths: Iterable[Path]) -> list[Path]:
    """The files of tests: those that are named, and those in the folders that are, sorted."""
    found: dict[Path, None] = {}
    for path in paths:
        found.update(dict.fromkeys(sorted(_in_folder(path)) if path.is_dir() else (path,)))
    return list(found)


def _in_folder(path: Path) -> Iterator[Path]:
    for folder, inside, names in os.walk(path):
        inside[:] = [name for name in inside if name[0] != "." and name not in _NOT_OURS]
        yield from (Path(folder) / name for name in names if name.endswith(SUFFIX))


def run_test(path: str | Path, *, update: bool = False) -> Verdict:
    """Run the test of a workflow where there is no event loop; no server is started.

    Args:
        path: Its file.
        update: Whether to replace what it expects by what comes.
    """
    (verdict,) = run_tests([Path(path)], update=update)
    return verdict


def run_tests(
    paths: Iterable[Path], *, update: bool = False, lock: Lockfile | None = None
) -> Iterator[Verdict]:
    """Run tests, one after the other; a recording that differs from the lock is a warning."""
    for path in paths:
        yield anyio.run(_verdict, path, update, lock, **INSTANT)


async def _verdict(path: Path, update: bool, lock: Lockfile | None) -> Verdict:
    try:
        case = Case.load(path)
        if case.expect is None and not update:
            hint = f"write it: orchestrator test --update {path}"
            problem = Problem("missing_field", NO_EXPECT, "/expect", hint=hint)
            raise WorkflowError(str(path), [problem])
        pool = ReplayPool(case.recording, case.replies)
        async with Orchestrator(pool) as orchestrator:
            result = await orchestrator.run(case.workflow, case.inputs, schedule=case.schedule)
        expect = case.expect
        got = snapshot(result) if expect is None else projected(expect, result, pool.made)
        found = list(differences(case.expect or {}, got))
        # With calls that failed for the recording, nothing that came is to be expected.
        writes = update and bool(found) and not pool.missed
        if writes:
            case.save(_without_nothing(got))
    except WrongCaseError as error:
        return Verdict(path, "broken", errors=error.errors)
    except WorkflowError as error:
        return Verdict(path, "broken", errors=[error])
    except OSError as error:
        problem = Problem("unwritable_file", f"cannot be written: {error.strerror or error}")
        return Verdict(path, "broken", errors=[WorkflowError(str(path), [problem])])
    warnings = [] if lock is None else list(case.recording.changes(lock))
    if writes:
        return Verdict(path, "updated", warnings=warnings, result=result)
    status: Literal["passed", "failed"] = "failed" if found or pool.missed else "passed"
    return Verdict(path, status, found, list(pool.missed), warnings=warnings, result=result)


def _without_nothing(got: dict[str, Any]) -> dict[str, Any]:
    if "tasks" in got:
        kept = {task: each for task, each in got["tasks"].items() if each is not NOTHING}
        return got | {"tasks": kept}
    return got
