"""Writes the workflow that does what recorded tool calls did, and proves it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.authoring.loops import Item, Step, find_loops, refs_in
from orchestrator.authoring.origins import Computed, Doubt, Mixed, Ref, find_origins, in_order
from orchestrator.authoring.transcript import Transcript
from orchestrator.client import Orchestrator
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.text import counted, listed, quoted
from orchestrator.schema.coercion import json_type

MAX_INPUT = 200  # characters: longer texts are what the author wrote, no input
_PLAIN = re.compile(r"[a-z_]+")  # such texts name what is done, as in "metric"
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(slots=True)
class Learned:
    """A workflow, and what its reader should know.

    Attributes:
        workflow: The document.
        doubts: What is a guess, in sentences.
        unproved: What was not as recorded when the workflow ran against the recorded answers.
        summary: What was made of the calls, in a sentence.
    """

    workflow: dict[str, Any]
    doubts: list[str]
    unproved: list[str] = field(default_factory=list)
    summary: str = ""


def learn(transcript: Transcript, name: str = "learned") -> Learned:
    """The workflow that does what a transcript did, proved against the recorded answers.

    Values that came from earlier results are references; calls that do the same for each item of a
    list are one `for_each`; literals that look like inputs are inputs, with the recorded value as
    their default. Calls of a server stay in their order where a tool declares that it writes.
    """
    return _Writer(transcript, name).learned()


class _Writer:
    def __init__(self, transcript: Transcript, name: str) -> None:
        self._transcript, self._name = transcript, name
        self._calls = transcript.calls if transcript.is_ordered else in_order(transcript.calls)
        found = find_origins(self._calls)
        self._steps = find_loops(self._calls, found.arguments)
        self._ids = list(_ids(self._calls[step.calls[0]].tool for step in self._steps))
        # By the number of a call: its task, and where its result is in the output of that.
        self._places: dict[int, tuple[str, Path]] = {}
        for id_, step in zip(self._ids, self._steps, strict=True):
            for at, call in enumerate(step.calls):
                self._places[call] = (id_, () if step.each is None else (at,))
        self._inputs: dict[str, Any] = {}
        # A number is the same input only under the same name.
        self._uses = Counter(
            _use(path, value)
            for step in self._steps
            for path, value in _literals(step.arguments, ())
        )
        self._found = found

    def learned(self) -> Learned:
        tasks = [self._task(id_, step) for id_, step in zip(self._ids, self._steps, strict=True)]
        document: dict[str, Any] = {"name": self._name}
        if self._inputs:
            document["inputs"] = {
                name: {"type": json_type(value), "default": value}
                for name, value in self._inputs.items()
            }
        document["tasks"] = tasks
        learned = Learned(document, list(self._doubts()))
        self._prove(learned)
        return learned

    def _task(self, id_: str, step: Step) -> dict[str, Any]:
        task: dict[str, Any] = {"id": id_, "tool": self._calls[step.calls[0]].tool}
        if isinstance(step.each, Ref):
            task["for_each"] = self._reference(step.each)
        elif step.each is not None:
            (path, _), *_ = _holes_of(step.arguments, ())
            task["for_each"] = f"$INPUT.{self._input(_plural(_name_of(path)), step.each)}"
        if arguments := self._written(step.arguments, ()):
            task["arguments"] = arguments
        if after := list(self._order(step)):
            task["depends_on"] = after
        return task

    def _written(self, value: Any, path: Path) -> Any:
        match value:
            case Ref():
                return self._reference(value)
            case Item():
                return f"$ITEM{format_path(value.path)}"
            case Mixed():
                return "".join(
                    _as_text(part) if isinstance(part, str) else self._expression(part)
                    for part in value.parts
                )
            case dict():
                return {name: self._written(each, (*path, name)) for name, each in value.items()}
            case list():
                whole = self._whole(value)
                if whole is not None:
                    return whole
                return [self._written(each, (*path, at)) for at, each in enumerate(value)]
        if self._is_input(path, value):
            return f"$INPUT.{self._input(_name_of(path), value)}"
        return _as_text(value) if isinstance(value, str) else value

    def _whole(self, value: list[Any]) -> str | None:
        """The reference to a for_each whose items are this list, in order."""
        if not value or not all(isinstance(each, Ref) and each.each is None for each in value):
            return None
        step = next(step for step in self._steps if value[0].call in step.calls)
        path = value[0].path
        if step.each is None or value != [Ref(call, path) for call in step.calls]:
            return None
        id_ = self._places[value[0].call][0]
        return f"${{OUTPUT[{id_}][*]{_jmespath(path)}}}" if path else f"$OUTPUT[{id_}]"

    def _reference(self, ref: Ref) -> str:
        if ref.each is not None:
            return self._expression(ref)
        id_, within = self._places[ref.call]
        return f"$OUTPUT[{id_}]{format_path((*within, *ref.path))}"

    def _expression(self, ref: Ref) -> str:
        id_, within = self._places[ref.call]
        each = "" if ref.each is None else f"[*]{_jmespath(ref.each)}"
        return f"${{OUTPUT[{id_}]{_jmespath((*within, *ref.path))}{each}}}"

    def _is_input(self, path: Path, value: Any) -> bool:
        if isinstance(value, str):
            is_short = 0 < len(value) <= MAX_INPUT
            return is_short and (not _PLAIN.fullmatch(value) or self._uses[_use(path, value)] > 1)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self._uses[_use(path, value)] > 1

    def _input(self, name: str, value: Any) -> str:
        """The name of the input with a value; a new one if there is none."""
        for known, default in self._inputs.items():
            if type(default) is type(value) and default == value:
                return known
        number = sum(known == name or known.startswith(f"{name}_") for known in self._inputs)
        name = name if not number else f"{name}_{number + 1}"
        self._inputs[name] = value
        return name

    def _order(self, step: Step) -> Iterator[str]:
        """The tasks that a step has to follow without reading them: a tool of theirs writes."""
        read = {self._places[ref.call][0] for ref in refs_in(step.arguments)}
        if isinstance(step.each, Ref):
            read.add(self._places[step.each.call][0])
        server, own = self._server(step), self._writes(step)
        for id_, earlier in zip(self._ids, self._steps, strict=True):
            if earlier is step:
                return
            is_ordered = server == self._server(earlier) and (own or self._writes(earlier))
            if is_ordered and id_ not in read:
                yield id_

    def _server(self, step: Step) -> str:
        return self._calls[step.calls[0]].tool.partition(":")[0]

    def _declared(self, step: Step) -> bool | None:
        tool = self._calls[step.calls[0]].tool
        read_only: bool | None = self._transcript.annotations.get(tool, {}).get("readOnlyHint")
        return read_only

    def _writes(self, step: Step) -> bool:
        return self._declared(step) is False

    def _doubts(self) -> Iterator[str]:
        yield from dict.fromkeys(map(self._said, self._found.doubts))
        for name, value in self._inputs.items():
            yield f"input {quoted(name)} has the default {value!r}: is it one?"
        for id_, step in zip(self._ids, self._steps, strict=True):
            if step.each is not None:
                yield f"{id_}: {counted(len(step.calls), 'call')} of one tool are one for_each"
        unknown = [
            id_
            for id_, step in zip(self._ids, self._steps, strict=True)
            if self._declared(step) is None
        ]
        if len(unknown) > 1:
            yield (
                f"whether tools write is not known of {listed(unknown, 10)}: where their order "
                "matters, add depends_on"
            )
        if self._transcript.failed:
            failed = listed(self._transcript.failed, 10)
            yield f"calls that failed are left out: {failed}"

    def _said(self, doubt: Doubt | Computed) -> str:
        at = f"{self._places[doubt.call][0]}: argument {_name_of(doubt.path)}"
        if isinstance(doubt, Computed):
            givers = dict.fromkeys(self._places[call][0] for call in doubt.givers)
            return (
                f"{at} was computed from {listed(givers, 5, ' and ')}, and is now the value of then"
            )
        others = listed(dict.fromkeys(map(self._reference, doubt.others)), 5, " and ")
        return f"{at} is taken from {self._reference(doubt.taken)}; {others} is equal"

    def _prove(self, learned: Learned) -> None:
        """Run the workflow against the recorded answers, and compare what it got."""
        result = Orchestrator.replay(self._recording()).run_sync(learned.workflow)
        for id_, step in zip(self._ids, self._steps, strict=True):
            task = result.tasks[id_]
            outputs = [self._calls[call].result for call in step.calls]
            if task.error is not None:
                learned.unproved.append(f"{id_}: {task.error.message}")
            elif task.output != (outputs[0] if step.each is None else outputs):
                learned.unproved.append(f"{id_}: another answer than recorded")
        made = f"{counted(len(self._calls), 'call')}, {counted(len(self._steps), 'task')}"
        deep = counted(len(result.generations), "generation")
        learned.summary = f"{made} in {deep}, {counted(len(self._inputs), 'input')}"

    def _recording(self) -> dict[str, Any]:
        calls: dict[str, Any] = {}
        servers: dict[str, Any] = {}
        for call in self._calls:
            server, _, tool = call.tool.partition(":")
            tools = servers.setdefault(server, {"tools": {}})["tools"]
            tools[tool] = {"inputSchema": {"type": "object"}}
            key = f"{call.tool} {sorted(call.arguments.items())!r}"
            made = {"tool": call.tool, "arguments": dict(call.arguments), "answers": []}
            calls.setdefault(key, made)["answers"].append({"output": call.result})
        return {"version": 1, "servers": servers, "calls": list(calls.values())}


def _ids(tools: Iterator[str]) -> Iterator[str]:
    """An id for each task, from the names of their tools."""
    used = Counter[str]()
    for tool in tools:
        name = re.sub(r"\W+", "_", tool.partition(":")[2], flags=re.ASCII).strip("_") or "task"
        used[name] += 1
        yield name if used[name] == 1 else f"{name}_{used[name]}"


def _literals(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _literals(each, (*path, name))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _literals(each, (*path, at))
    elif isinstance(value, str | int | float):
        yield path, value


def _use(path: Path, value: Any) -> tuple[str, Any]:
    return ("" if isinstance(value, str) else _name_of(path)), value


def _holes_of(value: Any, path: Path) -> Iterator[tuple[Path, Item]]:
    if isinstance(value, Item):
        yield path, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _holes_of(each, (*path, name))


def _name_of(path: Path) -> str:
    """A name for what is at a path: that of the last property."""
    names = [step for step in path if isinstance(step, str)]
    return re.sub(r"\W+", "_", "".join(names[-1:]), flags=re.ASCII).strip("_") or "value"


def _plural(name: str) -> str:
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _as_text(text: str) -> str:
    return text.replace("$", "$$")


def _jmespath(path: Path) -> str:
    return "".join(
        f"[{step}]"
        if isinstance(step, int)
        else f".{step}"
        if _IDENTIFIER.fullmatch(step)
        else '."' + step.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for step in path
    )
