"""The runs that this process carries for clients, and the results of the latest ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import OrchestratorError
from orchestrator.run_request import RunOptions
from orchestrator.serve.answers import Asked
from orchestrator.serve.inline import size_of
from orchestrator.serve.progress import Progress

MAX_KEPT = 200
MAX_KEPT_BYTES = 32_000_000
MAX_RUN_S = 3600.0

Begin = Callable[[RunOptions], AbstractAsyncContextManager[Run]]


class Carried:
    """Carries runs until they end, and keeps the documents of the latest.

    Args:
        max_run_s: How long a run may take: clients may vanish without a word.

    Attributes:
        active: The runs that have not ended, by id.
    """

    def __init__(self, max_run_s: float = MAX_RUN_S) -> None:
        self.active: dict[str, Run] = {}
        self._max_run_s = max_run_s
        self._ended: OrderedDict[str, tuple[dict[str, Any], int]] = OrderedDict()
        self._bytes = 0

    async def carry(self, begin: Begin, asked: Asked) -> RunResult:
        """Run it to its end. If that is cancelled, so is the run.

        Raises:
            OrchestratorError: What `begin` raises.
        """
        options, progress = RunOptions(), None
        if asked.on_progress is not None:
            progress = Progress(asked.on_progress)
            options["observers"] = [progress.on_event]
        if asked.answer is not None:
            options["answer"] = asked.answer
        outcome: RunResult | OrchestratorError | None = None
        async with anyio.create_task_group() as group:
            if progress is not None:
                group.start_soon(progress.report)
            try:
                outcome = await self._carry(begin(options))
            except OrchestratorError as error:  # raised here, it would leave in a group
                outcome = error
            group.cancel_scope.cancel()
        if isinstance(outcome, OrchestratorError):
            raise outcome
        assert outcome is not None
        return outcome

    async def _carry(self, begun: AbstractAsyncContextManager[Run]) -> RunResult:
        async with begun as run:
            self.active[run.run_id] = run
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._limit, run)
                    result = await run.execute()
                    group.cancel_scope.cancel()
            finally:
                del self.active[run.run_id]
        self.keep(result)
        return result

    async def _limit(self, run: Run) -> None:
        await anyio.sleep(self._max_run_s)
        run.cancel(f"it took longer than {self._max_run_s:g} s, the limit of this server")

    def keep(self, result: RunResult) -> None:
        """Keep the document of a run that has ended."""
        document = result.to_dict()
        self._forget(result.run_id)
        self._ended[result.run_id] = document, size_of(document)
        self._bytes += self._ended[result.run_id][1]
        while len(self._ended) > 1 and (
            len(self._ended) > MAX_KEPT or self._bytes > MAX_KEPT_BYTES
        ):
            self._forget(next(iter(self._ended)))

    def _forget(self, run: str) -> None:
        self._bytes -= self._ended.pop(run, ({}, 0))[1]

    def document(self, run: str) -> dict[str, Any] | None:
        """The result document of a run that has ended here; None if it is not known any more."""
        kept = self._ended.get(run)
        return None if kept is None else kept[0]

    def latest(self, most: int) -> list[dict[str, Any]]:
        """The latest runs that have ended here, the newest first."""
        documents = [document for document, _ in reversed(self._ended.values())][:most]
        names = ("run_id", "workflow", "status")
        return [{name: document[name] for name in names} for document in documents]
