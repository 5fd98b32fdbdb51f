"""`orchestrator run --stream`: runs a plan while it is still being written."""

from __future__ import annotations

import argparse
import codecs
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.cli.run import CancellableRun, carry_out
from orchestrator.cli.streams import json_text
from orchestrator.cli.values import inputs_of
from orchestrator.client import Orchestrator
from orchestrator.documents.files import STDIN, read_text
from orchestrator.documents.text import listed, quoted
from orchestrator.errors import Problem, TaskError, WorkflowError
from orchestrator.growing import GrowingRun
from orchestrator.workflow.header import without_tasks
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import task_of
from orchestrator.workflow.plan_reader import Piece, PlanReader

logger = logging.getLogger("orchestrator")

_PIECE = 65536
MAX_NAMED = 8
_CLOSED = "it came after the plan was closed"
_HEADER = Workflow.model_fields.keys() - {"tasks"}


def run_stream(options: argparse.Namespace, orchestrator: Orchestrator) -> int:
    """Run the tasks that come, write the result, and return the exit code."""
    path = options.file
    # A pipe is not opened to find out: its writer would see that close.
    if path != STDIN and (path.is_dir() or not os.access(path, os.R_OK)):
        read_text(path)  # which says why not
    return carry_out(_Streamed, options, without_tasks({}), {}, orchestrator)


@dataclass
class _Streamed(CancellableRun):
    """A run whose tasks are read one after the other."""

    refused: dict[str | None, None] = field(default_factory=dict)  # and did not come again
    is_cut: bool = False

    async def run(self) -> int:
        reader = PlanReader()
        pieces = self._pieces(reader)
        first: Piece | None = None
        header: dict[str, Any] = {}
        with self.preparing:  # a signal ends the wait for the first line
            async for first in pieces:
                if first.problem is None:
                    break
                self._tell(None, [first.problem])
                first = None
        if first is not None and not first.value.keys() & {"id", "close"}:
            header, first = first.value, None
        asking = self.asking(self.observers, reads_stdin=self.options.file == STDIN)
        self.options.files, self.options.file = [], None  # a stream is read by nobody else
        inputs = inputs_of(self.options, header.get("inputs", {}).get)
        settings = {
            name: getattr(self.options, name)
            for name in ("schedule", "max_concurrency", "max_run_mb")
        }
        async with self.orchestrator.open(
            header,
            inputs,
            hold=self.options.hold,
            **settings,
            **asking,
        ) as growing:
            self.current = growing.run
            self._note_refused()
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, growing, first, pieces)
                await growing.wait()
                group.cancel_scope.cancel()
        assert growing.result is not None
        self.workflow = growing.run.workflow
        return self.finish(growing.run, growing.result)

    async def _read(
        self, growing: GrowingRun, first: Piece | None, pieces: AsyncIterator[Piece]
    ) -> None:
        async with anyio.create_task_group() as adding:
            if first is None or self._take(growing, first, adding):
                async for each in pieces:
                    if not self._take(growing, each, adding):
                        break
        if self.is_cut:
            growing.lose("the stream ended in the middle of an object")
            return
        async with anyio.create_task_group() as closing:
            closing.start_soon(self._refuse, pieces)
            try:
                await growing.close()
            except WorkflowError as error:
                self._tell(None, error.problems)
                growing.lose("the whole plan is wrong")

    async def _refuse(self, pieces: AsyncIterator[Piece]) -> None:
        """Answer what comes after the end of the plan, until the run has ended."""
        async for piece in pieces:
            name = None if piece.problem else task_of(piece.value)
            late = Problem("usage", _CLOSED, "", name, hint='write it before {"close": true}')
            self._tell(name, [piece.problem] if piece.problem else piece.located([late]))

    def _take(self, growing: GrowingRun, piece: Piece, adding: TaskGroup) -> bool:
        """Add a task, or answer what is wrong with it; whether more may come."""
        if piece.problem is not None:
            self._tell(None, [piece.problem])
        elif not piece.value.keys() - _HEADER:
            late = [
                Problem(
                    "usage",
                    f"{quoted(name)} came after the tasks had begun",
                    f"/{name}",
                    hint="write it in the first line",
                )
                for name in piece.value
            ]
            self._tell(None, piece.located(late))
        elif piece.value.get("close") is True and "id" not in piece.value:
            return False
        elif "tasks" in piece.value:  # the document is complete: its tasks came one by one
            try:
                growing.complete_with(piece.value)
            except WorkflowError as error:
                self._tell(None, piece.located(error.problems))
        else:
            adding.start_soon(self._add, growing, piece)  # others do not wait for its server
        return True

    async def _add(self, growing: GrowingRun, piece: Piece) -> None:
        name = piece.value.get("id")
        try:
            await growing.add(piece.value)
            self.refused.pop(name, None)
            self._note_refused()
        except WorkflowError as error:
            self._tell(name, piece.located(error.problems))
        except RuntimeError as error:
            logger.debug("a task came too late: %s", error)

    def _tell(self, task: Any, found: Iterable[Problem]) -> None:
        """Answer a wrong task with its findings, a line of JSON on stderr."""
        self.refused[task if isinstance(task, str) else None] = None
        self._note_refused()
        problems = [problem.to_dict(whole=False) for problem in found]
        answer = {"valid": False, "task": task, "problems": problems}
        print(json_text(answer, indent=None), file=sys.stderr, flush=True)

    def _note_refused(self) -> None:
        """Have the result say what is missing in the plan."""
        if self.current is not None:
            self.current.lacks = _lacking(self.refused) if self.refused else None

    async def _pieces(self, reader: PlanReader) -> AsyncIterator[Piece]:
        """Each object of the stream, but for the head of a document that a line before it was."""
        is_first = True
        async for text in _texts(self.options.file):
            for piece in reader.feed(text):
                if not piece.is_head or is_first:
                    yield piece
                is_first = is_first and piece.problem is not None
        self.is_cut = reader.is_open


def _lacking(refused: Iterable[str | None]) -> TaskError:
    """What the result says of tasks that were refused, and of what was no task."""
    names = [each for each in refused if each is not None]
    what = [f"task {listed(map(quoted, names), MAX_NAMED)}"] if names else []
    what += [] if len(names) == len([*refused]) else ["something that is no task"]
    message = f"{' and '.join(what)} was refused, and did not come again: see stderr"
    return TaskError("invalid_arguments", message, False, {"refused": names})


async def _texts(path: Path) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    file = sys.stdin.fileno() if path == STDIN else os.open(path, os.O_RDONLY)
    try:
        while True:
            try:
                await anyio.wait_readable(file)
            except OSError:  # a plain file, which is always readable
                await anyio.lowlevel.checkpoint()
            if not (read := os.read(file, _PIECE)):
                return
            yield decoder.decode(read)
    finally:
        if path != STDIN:
            os.close(file)
