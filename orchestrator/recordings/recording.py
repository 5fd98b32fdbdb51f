"""A recording: the tools that servers listed, each call and its answers; read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from orchestrator.documents.encode import folded_json
from orchestrator.documents.files import check_writable, read_text, write_text
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, malformed, parse_json, whole_characters
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted, visible
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.recordings.form import (
    FIELDS,
    SETTINGS,
    Document,
    Key,
    RecordedCall,
    RecordedRun,
    RecordedServer,
    Replied,
)
from orchestrator.schema.tool import Tool, tool_of
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.source_map import located

VERSION = 1
WIDTH = 100  # of a line, where a value can be folded
NEWER = "upgrade: a newer mcp-orchestrator wrote this file"


@dataclass(frozen=True)
class Recording:
    """Calls and their answers.

    Attributes:
        servers: What was known of each server, by name.
        tools: The tools that each server listed, by its name.
        calls: The calls by what they are found by.
        replies: What people replied.
        run: The run that was recorded; None if that is not known.
        source: The file, as messages name it.
    """

    servers: Mapping[str, RecordedServer]
    tools: Mapping[str, list[Tool]]
    calls: Mapping[Key, RecordedCall]
    replies: Sequence[Replied]
    run: RecordedRun | None
    source: str

    def __repr__(self) -> str:
        return f"Recording({self.source!r}, {len(self.calls)} calls)"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recording.

        Raises:
            WorkflowError: It cannot be read, or is wrong; with every mistake and its place.
        """
        path = Path(path)
        text = read_text(path, hint="record one with: orchestrator run FILE --record FILE")
        try:
            data = parse_json(text)
        except DocumentError as failure:
            raise WorkflowError(str(path), [malformed(failure)]) from None
        try:
            return cls.of(data, str(path))
        except WorkflowError as error:
            raise WorkflowError(str(path), located(error.problems, path)) from None

    @classmethod
    def of(cls, data: Any, source: str = "the recording") -> Self:
        """The recording that a document is.

        Raises:
            WorkflowError: It is wrong; with every mistake.
        """
        if problems := problems_in(data):
            raise WorkflowError(source, problems)
        document = Document.model_validate(data)
        tools = {
            server: [
                tool_of(server, *each) for each in data["servers"][server].get("tools", {}).items()
            ]
            for server in document.servers
        }
        calls = {call.key: call for call in document.calls}
        return cls(document.servers, tools, calls, document.replies, document.run, source)

    def inputs_of(self, workflow: Workflow) -> dict[str, Any]:
        """The inputs of the run that was recorded, as far as the workflow still has them."""
        inputs = self.run.inputs if self.run is not None else {}
        return {name: value for name, value in inputs.items() if name in workflow.inputs}

    def changes(self, lock: Lockfile) -> Iterator[str]:
        """How the tools that were called differ from those of a lock file, in sentences."""
        called = {each.target for each in self.calls.values() if each.kind == "tool"}
        known = [tool for tools in self.tools.values() for tool in tools if tool.target in called]
        recorded = Lockfile.made_of(known)
        for tool in known:
            now = lock.of(tool.server).get(tool.name)
            what = f"{self.source} has tool {quoted(tool.target)} as it was"
            if now is None and tool.server in lock:
                yield f"{what}, and {lock.source} has it no more. {self.anew}"
            elif now is not None and (change := recorded.difference(now)) is not None:
                yield f"{what}, and {lock.source} differs: {change}. {self.anew}"

    @property
    def anew(self) -> str:
        """How to make the recording anew, as a sentence without a period."""
        return f"Record it anew: orchestrator run FILE --record {self.source}"

    def table(self) -> ServerTable:
        """The servers as they were configured, without what would start them."""
        made = ServerTable({name: self._server(name) for name in self.servers})
        made.others = f"{self.source} has no other servers"
        return made

    def _server(self, name: str) -> Server:
        settings = self.servers[name].settings
        return Server(name=name, **{field: getattr(settings, field) for field in SETTINGS})


def problems_in(data: Any) -> list[Problem]:
    """What is wrong with the document of a recording."""
    version = data.get("version", VERSION) if isinstance(data, dict) else VERSION
    if version != VERSION or isinstance(version, bool):
        is_newer = isinstance(version, int) and version > VERSION
        message = f"expected version {VERSION}, got {describe(version)}"
        hint = NEWER if is_newer else ""
        return [Problem("wrong_value", message, "/version", hint=hint)]
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        # Renaming a property is a fix for workflows; here nobody applies it.
        return [replace(each, replacement=()) for each in problems_of(error, data, FIELDS)]
    return list(_doubled(document.calls))


def _doubled(calls: Iterable[RecordedCall]) -> Iterable[Problem]:
    places: dict[Key, int] = {}
    for place, call in enumerate(calls):
        first = places.setdefault(call.key, place)
        if first != place:
            message = f"the call is at {pointer('calls', first)} already"
            hint = "put all its answers into one list, in the order of the calls"
            yield Problem("wrong_value", message, pointer("calls", place), hint=hint)


def check_replaceable(path: Path) -> None:
    """Raise a WorkflowError if a file cannot be written, or is something else than a recording."""
    check_writable(path)
    if not path.exists() or not path.stat().st_size:
        return
    try:
        data = parse_json(read_text(path))
    except (DocumentError, WorkflowError):
        data = None
    if not isinstance(data, dict) or not {"version", "calls"} <= data.keys():
        message = "there is a file that is no recording"
        problem = Problem("unwritable_file", message, hint="name another one, or remove it")
        raise WorkflowError(str(path), [problem])


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write the document of a recording, as a whole or not at all; raises an OSError."""
    text = visible(whole_characters(folded_json(document, WIDTH)), keep="\n")
    write_text(path, f"{text}\n")
