"""Findings as compilers show them: what, where, the line of the file, and a caret below it.

The rule of this file: it shows what it is given, however long, wide or hostile the line is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from orchestrator.documents.encode import to_json
from orchestrator.documents.pointer import steps
from orchestrator.documents.text import counted
from orchestrator.errors import MAX_SHOWN, Problem
from orchestrator.workflow.source_map import LineSpan, Source

WIDE = 120  # cells, where no terminal says otherwise
NARROW = 40
MAX_KINDS = 10
TAB = "    "
CUT = "..."
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_EDGE = "blue"
# Control characters, and those that turn the direction of a text: a terminal would obey them.
_UNSEEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def print_findings(file: str, findings: Sequence[Problem], so_far: str, *, verbose: bool) -> None:
    """Print findings on stderr, and how many they are.

    Args:
        file: The file, as the user knows it.
        findings: What was found in it, in the order of the file.
        so_far: What was called.
        verbose: Whether each note is shown, and not each kind of note.
    """
    console = Console(stderr=True, highlight=False)
    width = console.width if console.is_terminal else WIDE
    for line in rendered(file, findings, so_far, max(width, NARROW), verbose=verbose):
        in_one_piece = bool(line.no_wrap) or not console.is_terminal
        console.print(line, soft_wrap=in_one_piece, crop=False)


def rendered(
    file: str, findings: Sequence[Problem], so_far: str, width: int, *, verbose: bool
) -> Iterator[Text]:
    """The lines of it all; see `print_findings`. `width` is that of the screen, in cells."""
    single = [finding for finding in findings if verbose or finding.severity != "note"]
    shown = _most_severe(single)
    page = _Page(file, Source.read(Path(file)) if shown else None, width)
    for finding in shown:
        yield from page.finding(finding)
        yield Text()
    if more := len(single) - len(shown):
        yield Text(f"and {more:,} more; as JSON there are all of them")
        yield Text()
    if not verbose:
        yield from _notes([finding for finding in findings if finding.severity == "note"])
    wrong = any(finding.severity == "error" for finding in findings)
    yield Text(f"{visible(file)}: {count(findings)}{f', {so_far}' if wrong else ''}")


def _most_severe(findings: Sequence[Problem]) -> list[Problem]:
    """The first errors, and the first of the others as far as there is room, as they came."""
    ranks = {"error": 0, "warning": 1, "note": 2}
    order = sorted(range(len(findings)), key=lambda index: ranks[findings[index].severity])
    return [findings[index] for index in sorted(order[:MAX_SHOWN])]


def count(findings: Sequence[Problem]) -> str:
    """How many there are of each severity, in words."""
    numbers: dict[str, int] = defaultdict(int)
    for finding in findings:
        numbers[finding.severity] += 1
    return ", ".join(
        counted(numbers[severity], severity) for severity in STYLES if numbers[severity]
    )


def _notes(notes: Sequence[Problem]) -> Iterator[Text]:
    """A line for each kind of note: there may be one for every reference."""
    kinds: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for note in notes:
        kinds[note.code, note.message.removeprefix(f"{note.text}: ")].append(note)
    for (_, why), alike in islice(kinds.items(), MAX_KINDS):
        yield _head(alike[0], f"{why} ({len(alike):,} times)" if len(alike) > 1 else why)
    if (more := len(kinds) - MAX_KINDS) > 0:
        yield Text(f"and {more:,} more kinds of note")
    if notes:
        yield Text("  = help: --verbose shows where")
        yield Text()


def _head(finding: Problem, sentence: str) -> Text:
    name = f"{finding.severity}[{finding.code}]"
    return Text.assemble((name, STYLES[finding.severity]), (f": {visible(sentence)}", "bold"))


class _Page:
    def __init__(self, file: str, source: Source | None, width: int) -> None:
        self._file = file
        self._source = source
        self._width = width

    def finding(self, finding: Problem) -> Iterator[Text]:
        """One finding: what, where, the line, what helps."""
        place = self._source.place(finding) if self._source else None
        edge = " " * (len(str(place.line)) if place else 1)
        yield _head(finding, finding.sentence)
        if place or finding.path:
            where = visible(self._where(finding, place))  # in one piece, to be clicked on
            yield Text.assemble((f"{edge}--> ", _EDGE), where, no_wrap=True)
        if place and self._source:
            yield from self._snippet(finding, self._source.line(place.line), place)
        mended = finding.code == "wrong_type" and finding.replacement  # which says it better
        if finding.hint and not mended:
            yield self._help(edge, "help", finding.hint)
        for operation in finding.replacement:
            what, value = _mend(operation)
            yield self._help(edge, what, _first(value, self._width))

    def _help(self, edge: str, what: str, how: str) -> Text:
        return Text.assemble((f"{edge} = ", _EDGE), (what, "bold"), f": {visible(how)}")

    def _where(self, finding: Problem, place: LineSpan | None) -> str:
        at = f":{place.line}:{place.column}" if place else ""
        task = f"task {finding.task!r}" if finding.task is not None else ""
        path = "" if place else finding.path
        inside = ", ".join(filter(None, (task, path)))
        return f"{self._file}{at}{f' ({inside})' if inside else ''}"

    def _snippet(self, finding: Problem, line: str, place: LineSpan) -> Iterator[Text]:
        number = str(place.line)
        edge = " " * len(number)
        shown, before, below = excerpt(line, place, self._width - len(number) - len(" | "))
        carets = ("^" * below, STYLES[finding.severity])
        yield Text(f"{edge} |", _EDGE)
        yield Text.assemble((f"{number} | ", _EDGE), shown)
        yield Text.assemble((f"{edge} | ", _EDGE), " " * before, carets)


def _mend(operation: Mapping[str, Any]) -> tuple[str, str]:
    """What an operation of a replacement does, and with what, as the file would have it."""
    match operation["op"]:
        case "replace":
            return "replace with", to_json(operation["value"])
        case "move":
            return "rename to", to_json(steps(operation["path"])[-1])
        case "add":
            name = to_json(steps(operation["path"])[-1])
            return "add", f"{name}: {to_json(operation['value'])}"
        case other:
            return str(other), "it"


def visible(text: str) -> str:
    """A text without what a terminal would obey instead of showing it, character for character."""
    return _UNSEEN.sub(_symbol, text)


def _symbol(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def excerpt(line: str, place: LineSpan, room: int) -> tuple[str, int, int]:
    """As much of a line as fits, what is to be underlined in it in any case.

    Args:
        line: The line.
        place: What is to be underlined.
        room: How many cells there are.

    Returns:
        The line, and how many cells stand before what is to be underlined, and how many it takes.
    """
    start, end = place.column - 1, place.column - 1 + place.length
    before, meant, after = line[:start], line[start:end], line[end:]
    if len(line) > room or _cells(line) > room:
        before = _last(before, room // 3)
        shortened = _first(meant, room - _cells(before) - len(CUT))
        after = _first(after, room - _cells(before) - _cells(meant)) if shortened == meant else ""
        meant = shortened
    before, meant, after = map(_drawn, (before, meant, after))
    return f"{before}{meant}{after}".rstrip(), cell_len(before), max(1, cell_len(meant))


def _drawn(text: str) -> str:
    return visible(text).replace("\t", TAB)


def _cells(text: str) -> int:
    return cell_len(_drawn(text))


def _first(text: str, room: int) -> str:
    """As much of the beginning of a text as fits, with dots if that is not all."""
    if len(text) <= room and _cells(text) <= room:
        return text
    kept = text[: max(room - len(CUT), 0)]
    while kept and _cells(kept) > room - len(CUT):
        kept = kept[:-1]
    return kept + CUT


def _last(text: str, room: int) -> str:
    """As much of the end of a text as fits, with dots if that is not all."""
    if len(text) <= room and _cells(text) <= room:
        return text
    kept = text[-max(room - len(CUT), 1) :]
    while kept and _cells(kept) > room - len(CUT):
        kept = kept[1:]
    return CUT + kept
