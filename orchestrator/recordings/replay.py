"""A pool that answers calls from a recording and starts no server."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.calls.middleware import no_jitter
from orchestrator.documents.differences import Difference, differences
from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import format_path
from orchestrator.documents.text import counted, listed, quoted
from orchestrator.engine.events import OnEvent, ServerFailed, ServerReady, ServerStarting
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import CallError, TaskError
from orchestrator.recordings.clock import INSTANT
from orchestrator.recordings.form import (
    Answer,
    Key,
    RecordedCall,
    RecordedRun,
    Replied,
    arguments_of,
    key_of_call,
)
from orchestrator.recordings.people import People
from orchestrator.recordings.recording import Recording
from orchestrator.schema.violations import check_output
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool

if TYPE_CHECKING:
    from orchestrator.servers.offers import Entry, Kind

MAX_SHOWN = 5  # differences in a message
MAX_NAMED = 5  # other calls in a message
MAX_COMPARED = 500  # calls, to find the nearest
MAX_SEARCHES = 20  # for the nearest: nobody reads more of them
RUN = RecordedRun(id="run", started_at="1970-01-01T00:00:00Z")  # of one that is not known


class ReplayPool(ServerPool):
    """The servers of a recording: each call gets the answer that it got then.

    `replies` are in place of those of the recording to the same questions.

    Attributes:
        recording: The recording.
        missed: The message of each call that is not in it, in order.
        made: How often each target was called, attempts included.
    """

    loop = INSTANT
    is_live = uses_memo = False

    def __init__(self, recording: Recording, replies: Sequence[Replied] = ()) -> None:
        self.recording = recording
        self._tape = _Tape(recording)
        self.missed, self.made = self._tape.missed, self._tape.made
        super().__init__(recording.table())
        for name, tools in recording.tools.items():
            if recording.servers[name].failure is None:
                self.catalog.replace(name, tools)
        self._people = People(recording.replies, replies)

    def settings_of(self, settings: RunSettings) -> RunSettings:
        """The settings of a run, with the moment and the replies of the one that was recorded."""
        run = self.recording.run or RUN
        return replace(
            settings,
            run_id=run.id,
            started_at=run.started_at,
            random=no_jitter,
            answer=self._people.answering(settings.answer),
        )

    def _new_supervisors(self) -> Mapping[str, _Player]:
        return {
            name: _Player(server, self._tape, self.catalog) for name, server in self.servers.items()
        }


class _Tape:
    """The answers of a recording, each given once."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.missed: list[str] = []
        self.made = Counter[str]()
        self._by_target: dict[tuple[str, str], list[RecordedCall]] = {}
        for (kind, target, _), each in recording.calls.items():
            self._by_target.setdefault((kind, target), []).append(each)
        # What is left of the answers to each call, by the task that they are for.
        self._left: dict[Key, dict[str | None, deque[Answer]]] = {}

    def next_answer(self, call: Call) -> Answer:
        """The next answer to a call; raises the CallError of one that is not there."""
        self.made[call.target] += 1
        key = key_of_call(call)
        if (recorded := self.recording.calls.get(key)) is None:
            raise self._missing(call, *self._nearest(call))
        if key not in self._left:
            self._left[key] = _by_task(recorded.answers)
        left, caller = self._left[key], call.where
        if left:
            task = caller if caller in left else next(iter(left))
            answer = left[task].popleft()
            if not left[task]:
                del left[task]
            return answer
        if recorded.repeat:
            return recorded.answers[-1]
        answers = counted(len(recorded.answers), "answer")
        what = f"has {answers} to this call of {quoted(call.target)}, and it is made once more"
        raise self._missing(call, what, {"answers": len(recorded.answers)})

    def _nearest(self, call: Call) -> tuple[str, dict[str, Any]]:
        """How a call differs from the nearest one, in words and as details."""
        same = self._by_target.get((call.kind, call.target), [])
        what = {"tool": "call", "read": "read", "prompt": "get"}[call.kind]
        if not same:
            others = [quoted(target) for kind, target in self._by_target if kind == call.kind]
            has = f" (it has: {listed(others, MAX_NAMED)})" if others else ""
            return f"has no {what} of {quoted(call.target)}{has}", {}
        if len(self.missed) >= MAX_SEARCHES:
            return f"has no call of {quoted(call.target)} with these arguments", {}
        compared = [(each, _differing(each, call)) for each in same[:MAX_COMPARED]]
        nearest, differing = min(compared, key=lambda pair: len(pair[1]))
        shown = [each.message("recorded", "called with") for each in differing]
        text = f"has no call of {quoted(call.target)} with these arguments. The nearest one has "
        return text + f"other arguments at {listed(shown, MAX_SHOWN, '; ')}", {
            "nearest": nearest.arguments,
            "differences": [format_path(each.path) for each in differing],
        }

    def _missing(self, call: Call, what: str, details: dict[str, Any]) -> CallError:
        source = self.recording.source
        message = f"{source} {what}. {self.recording.anew}"
        self.missed.append(message)
        told = {call.kind: call.target, "arguments": call.arguments, **details}
        return CallError("not_recorded", message, **told)


def _differing(recorded: RecordedCall, call: Call) -> list[Difference]:
    return list(differences(recorded.arguments, arguments_of(call)))


def _by_task(answers: Iterable[Answer]) -> dict[str | None, deque[Answer]]:
    found: dict[str | None, deque[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.task, deque()).append(answer)
    return found


class _Player:
    """The only session of a server that is not there."""

    def __init__(self, server: Server, tape: _Tape, catalog: Catalog) -> None:
        self.server = server
        self._tape, self._catalog = tape, catalog
        self._recorded = tape.recording.servers[server.name]

    @property
    def failure(self) -> TaskError | None:
        """Why the server did not start then."""
        failure = self._recorded.failure
        return None if failure is None else failure.as_error()

    @property
    def usable(self) -> bool:
        """Whether it had started."""
        return self._recorded.failure is None

    @property
    def offers(self) -> _Player:
        """Itself: it lists what the server had listed."""
        return self

    async def of(self, kind: Kind) -> list[Entry] | None:
        """What the server had listed of a kind; raises a CallError if that is not recorded."""
        if kind != "prompts" or self._recorded.prompts is None:
            raise CallError("not_recorded", f"the recording has no list of {kind}")
        return self._recorded.prompts

    async def complete(self, *_: Any) -> list[str]:
        """Nothing: values that a server proposes are not recorded."""
        return []

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None:  # noqa: ARG002
        """Say that it is ready, or why it is not."""
        name, tools = self.server.name, len(self._catalog.tools(self.server.name))
        failure = self.failure
        announce(ServerStarting(0.0, name))
        is_ready = ServerReady(0.0, name, "recorded", tools, 0.0)
        announce(is_ready if failure is None else ServerFailed(0.0, name, failure))

    def close(self) -> None:
        """Nothing is closed."""

    async def session(self) -> _Player:
        """Itself; raises what the start of the server had failed with."""
        if (failure := self.failure) is not None:
            raise CallError.of(failure)
        return self

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """The recorded answer to a call, checked as if its server had sent it now.

        Raises:
            CallError: The recorded one; a `not_recorded` if there is none; an `output_invalid`.
        """
        answer = self._tape.next_answer(call)
        await anyio.sleep(answer.after_s)
        if answer.no_answer:  # until the timeout of the attempt, or what had cancelled it
            await anyio.sleep_forever()
        if answer.error is not None:
            raise CallError.of(answer.error.as_error())
        attempt = attempt or Attempt()
        attempt.wrapped = answer.wrapped
        attempt.note_answer(len(to_json(answer.output)))
        tool = self._catalog.listed(call.server).get(call.tool) if call.kind == "tool" else None
        if tool is not None and not answer.wrapped:
            check_output(tool, answer.output)
        return answer.output
