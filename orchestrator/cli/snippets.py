"""Findings as a compiler prints them: the message, the place, the line of the file and a caret.

Lines may be long, wide or hostile: they are cut to the width of the screen, and control characters
are replaced.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from orchestrator.documents.encode import to_json
from orchestrator.documents.pointer import steps
from orchestrator.documents.text import counted, quoted
from orchestrator.errors import MAX_SHOWN, Problem
from orchestrator.workflow.source_map import LineSpan, Source

WIDE = 120
"""Columns, where no terminal sets a width."""
NARROW = 40
MAX_KINDS = 10
TAB = "    "
CUT = "..."
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
SEVERITIES = tuple(STYLES)
_EDGE = "blue"
# Control characters, and those that change the direction of text: a terminal would obey them.
_UNSEEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def print_findings(file: str, findings: Sequence[Problem], so_far: str, *, verbose: bool) -> None:
    """Print findings on stderr, and how many there are; see `diagnostics.show`."""
    console = Console(stderr=True, highlight=False)
    width = console.width if console.is_terminal else WIDE
    for line in rendered(file, findings, so_far, max(width, NARROW), verbose=verbose):
        in_one_piece = bool(line.no_wrap) or not console.is_terminal
        console.print(line, soft_wrap=in_one_piece, crop=False)


def rendered(
    file: str, findings: Sequence[Problem], so_far: str, width: int, *, verbose: bool
) -> Iterator[Text]:
    """The lines that `print_findings` prints on a screen of `width` columns."""
    single = [finding for finding in findings if verbose or finding.severity != "note"]
    shown = _most_severe(single)
    page = _Page(file, Source.read(Path(file)) if shown else None, width)
    for finding in shown:
        yield from page.finding(finding)
        yield Text()
    if more := len(single) - len(shown):
        yield Text(f"and {more:,} more (--json has all)")
        yield Text()
    if not verbose:
        yield from _notes([finding for finding in findings if finding.severity == "note"])
    is_wrong = any(finding.severity == "error" for finding in findings)
    yield Text(f"{visible(file)}: {_numbers(findings)}{f', {so_far}' if is_wrong else ''}")


def _most_severe(findings: Sequence[Problem]) -> list[Problem]:
    """The first `MAX_SHOWN` findings by severity, in their own order."""
    order = sorted(
        range(len(findings)), key=lambda index: SEVERITIES.index(findings[index].severity)
    )
    return [findings[index] for index in sorted(order[:MAX_SHOWN])]


def _numbers(findings: Sequence[Problem]) -> str:
    numbers = Counter[str](finding.severity for finding in findings)
    return ", ".join(counted(numbers[name], name) for name in SEVERITIES if numbers[name])


def _notes(notes: Sequence[Problem]) -> Iterator[Text]:
    """A line for each kind of note: there may be a note for every reference."""
    kinds: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for note in notes:
        kinds[note.code, note.message.removeprefix(f"{note.text}: ")].append(note)
    for (_, why), alike in islice(kinds.items(), MAX_KINDS):
        yield _head(alike[0], f"{why} ({len(alike):,} times)" if len(alike) > 1 else why)
    if (more := len(kinds) - MAX_KINDS) > 0:
        yield Text(f"and {counted(more, 'more kind')} of note")
    if any(note.code != "tools_not_checked" for note in notes):
        yield Text("  = help: --verbose shows each note with its line")
    if notes:
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
        """One finding: the message, the place, the line, what helps."""
        place = self._source.place(finding) if self._source else None
        edge = " " * (len(str(place.line)) if place else 1)
        yield _head(finding, finding.sentence)
        if place or finding.path:
            where = visible(self._where(finding, place))
            # Terminals make the place a link only if it is not wrapped.
            yield Text.assemble((f"{edge}--> ", _EDGE), where, no_wrap=True)
        if place and self._source:
            yield from self._snippet(finding, self._source.line(place.line), place)
        if finding.hint and not (finding.code == "wrong_type" and finding.replacement):
            yield self._help(edge, "help", finding.hint)
        for operation in finding.replacement:
            what, value = _fix(operation)
            yield self._help(edge, what, _first(value, self._width))

    def _help(self, edge: str, what: str, how: str) -> Text:
        return Text.assemble((f"{edge} = ", _EDGE), (what, "bold"), f": {visible(how)}")

    def _where(self, finding: Problem, place: LineSpan | None) -> str:
        at = f":{place.line}:{place.column}" if place else ""
        task = f"task {quoted(finding.task)}" if finding.task is not None else ""
        inside = ", ".join(filter(None, (task, "" if place else finding.path)))
        return f"{self._file}{at}{f' ({inside})' if inside else ''}"

    def _snippet(self, finding: Problem, line: str, place: LineSpan) -> Iterator[Text]:
        number = str(place.line)
        edge = " " * len(number)
        shown, before, below = excerpt(line, place, self._width - len(number) - len(" | "))
        carets = ("^" * below, STYLES[finding.severity])
        yield Text(f"{edge} |", _EDGE)
        yield Text.assemble((f"{number} | ", _EDGE), shown)
        yield Text.assemble((f"{edge} | ", _EDGE), " " * before, carets)


def _fix(operation: Mapping[str, Any]) -> tuple[str, str]:
    """An operation of a JSON Patch in words, and its value as the file would have it."""
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
    """A text in which one visible character stands for each that a terminal would obey."""
    return _UNSEEN.sub(_symbol, text)


def _symbol(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def excerpt(line: str, place: LineSpan, room: int) -> tuple[str, int, int]:
    """As much of a line as fits, with what is to be underlined.

    Args:
        line: The line.
        place: What is to be underlined.
        room: The number of columns.

    Returns:
        The line, how many columns are before what is to be underlined, and how many it takes.
    """
    start, end = place.column - 1, place.column - 1 + place.length
    before, marked, after = line[:start], line[start:end], line[end:]
    if len(line) > room or _cells(line) > room:
        before = _last(before, room // 3)
        shortened = _first(marked, room - _cells(before) - len(CUT))
        fits = shortened == marked
        after = _first(after, room - _cells(before) - _cells(marked)) if fits else ""
        marked = shortened
    before, marked, after = map(_drawn, (before, marked, after))
    return f"{before}{marked}{after}".rstrip(), cell_len(before), max(1, cell_len(marked))


def _drawn(text: str) -> str:
    return visible(text).replace("\t", TAB)


def _cells(text: str) -> int:
    return cell_len(_drawn(text))


def _first(text: str, room: int) -> str:
    """The beginning of a text, cut to a number of columns."""
    if len(text) <= room and _cells(text) <= room:
        return text
    kept = text[: max(room - len(CUT), 0)]
    while kept and _cells(kept) > room - len(CUT):
        kept = kept[:-1]
    return kept + CUT


def _last(text: str, room: int) -> str:
    """The end of a text, cut to a number of columns."""
    return _first(text[::-1], room)[::-1]
