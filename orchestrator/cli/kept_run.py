"""A run of the journal that a command names, with what is kept of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.cli.history import configured, path_of
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.errors import JournalError
from orchestrator.journal import history
from orchestrator.journal.history import KnownRun
from orchestrator.journal.kept import KeptDocuments, documents_of, results_of
from orchestrator.journal.location import Location
from orchestrator.workflow.model import Workflow


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What another process has kept of a run that it carried."""

    not_kept: str = ""
    is_kept: bool = True


@dataclass(frozen=True)
class NamedRun:
    """A run that a command names.

    Attributes:
        run: Which run.
        kept: What is kept of it.
        journal: Where that is.
    """

    run: KnownRun
    kept: KeptDocuments
    journal: Location

    @cached_property
    def workflow(self) -> Workflow:
        """Its workflow."""
        from orchestrator.durable import workflow_of

        return workflow_of(self.kept.request["workflow"])

    @cached_property
    def tasks(self) -> Mapping[str, TaskResult]:
        """Its tasks that have settled, in the order of the file; of a paused run all."""
        if self.run.status != history.PAUSED:  # the workflow is not read
            return self.kept.tasks
        return results_of(self.kept, self.workflow.plan, self.run.status)

    @property
    def result(self) -> RunResult:
        """Its result, with what its calls waited for.

        Raises:
            JournalError: It has not ended.
        """
        document = self.kept.result
        if document is None:
            shows = f'"orchestrator show {self.run.id}" has what has settled'
            why = f"run {self.run.id} has not ended (status {self.run.status})"
            raise JournalError(f"{why}; {shows}")
        return replace(RunResult.from_dict(document | {"tasks": {}}), tasks=self.tasks)


def named_run(options: argparse.Namespace) -> NamedRun:
    """The run that `options.run` names. Raises `JournalError`."""
    path = path_of(options, configured(options))
    run = history.find(path, options.run)
    return NamedRun(run, documents_of(path, run.id), path)
