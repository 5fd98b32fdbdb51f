"""A plan that runs while a model still writes it: the arguments of a call of `parallel_execute`."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

import anyio

from orchestrator.client import Orchestrator
from orchestrator.engine.question import AnswerCallback
from orchestrator.engine.result import RunResult
from orchestrator.errors import OrchestratorError
from orchestrator.workflow.plan_reader import Piece, Place, PlanReader

logger = logging.getLogger("orchestrator")

_NOWHERE = Place(1, 1)  # of what is no text


class StreamedPlan:
    """The text of a plan as it comes; `run` runs its tasks.

    Tools that may write are called when the call is made: until then the plan may turn out to be
    wrong, or a person may refuse it.

    Args:
        engine: Runs it.
        inlined: Gives a plan with the saved workflows that it names.
        answer: Answers the questions of the run.
        max_run_s: How long it may take, seconds.
    """

    def __init__(
        self,
        engine: Orchestrator,
        inlined: Callable[[Mapping[str, Any]], dict[str, Any]],
        answer: AnswerCallback | None,
        max_run_s: float,
    ) -> None:
        self._engine, self._inlined = engine, inlined
        self._answer, self._max_run_s = answer, max_run_s
        self._texts: list[str] = []
        self._send, self._receive = anyio.create_memory_object_stream[str | Mapping[str, Any]](
            math.inf
        )
        self._is_made, self._ended = False, anyio.Event()
        self._result: RunResult | None = None

    def write(self, text: str) -> None:
        """Take more of its text."""
        self._texts.append(text)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it has ended
            self._send.send_nowait(text)

    def is_of(self, arguments: Any) -> bool:
        """Whether its text says these arguments."""
        try:
            written = json.loads("".join(self._texts))
        except ValueError:
            return False
        return bool(written == arguments)

    def may_become(self, arguments: Any) -> bool:
        """Whether its text says a part of these arguments, and not all of it has come."""
        tasks = arguments.get("tasks") if isinstance(arguments, Mapping) else None
        reader = PlanReader()
        pieces = reader.feed("".join(self._texts))
        written = [piece.value for piece in pieces if piece.is_task]
        is_part = isinstance(tasks, list) and tasks[: len(written)] == written
        is_open = reader.is_open or not self._texts
        return is_part and is_open and not any(piece.problem for piece in pieces)

    def fill(self, arguments: Mapping[str, Any]) -> None:
        """Take the rest from the call itself: more of the text would come too late."""
        self._send.send_nowait(arguments)

    async def finish(self) -> RunResult | None:
        """The call is made: run the rest. None if the plan is wrong; nothing was written then."""
        self._is_made = True
        self._send.close()
        await self._ended.wait()
        return self._result

    def lose(self) -> None:
        """The call will never be made: what runs is finished, and nothing new begins."""
        self._send.close()

    async def run(self) -> None:
        """Run its tasks as they come, until `finish` or `lose`."""
        try:
            with anyio.move_on_after(self._max_run_s):
                async with aclosing(self._pieces()) as pieces:
                    await self._follow(pieces)
        except OrchestratorError as error:  # the call says it to the model
            logger.debug("a plan that was being written is wrong: %s", error)
        finally:
            self._send.close()
            self._ended.set()

    async def _follow(self, pieces: AsyncGenerator[Piece, None]) -> None:
        head = await anext(pieces, None)
        if head is None or not head.is_head:
            return
        header = {"name": "plan", **head.value}
        async with self._engine.open(header, hold="writes", answer=self._answer) as growing:
            async for piece in pieces:
                if piece.problem is not None:
                    return
                if piece.is_task:
                    plan = self._inlined({"tasks": [piece.value]})
                    await growing.add(plan["tasks"][0])
                else:
                    growing.complete_with(self._inlined(piece.value))
            if self._is_made:
                self._result = await growing.close()

    async def _pieces(self) -> AsyncGenerator[Piece, None]:
        reader, given = PlanReader(), list[Piece]()
        with self._receive:
            async for more in self._receive:
                pieces = reader.feed(more) if isinstance(more, str) else _rest(more, given)
                for piece in pieces:
                    given.append(piece)
                    yield piece


def _rest(arguments: Mapping[str, Any], given: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces of arguments that have not been given yet."""
    if not any(piece.is_head for piece in given):
        header = {name: value for name, value in arguments.items() if name != "tasks"}
        yield Piece(header, False, "", _NOWHERE, is_head=True)
    for task in arguments["tasks"][sum(piece.is_task for piece in given) :]:
        yield Piece(task, True, "", _NOWHERE)
    yield Piece(arguments, False, "", _NOWHERE)
