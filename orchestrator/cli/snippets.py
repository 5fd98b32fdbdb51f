"""Findings as a compiler prints them: the message, where it is, that line and a caret.

Lines may be long, wide or hostile: they are cut to the width of the screen, and characters that
cannot be seen are escaped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from orchestrator.cli.diagnostics import ServersFileProblem
from orchestrator.cli.streams import shown
from orchestrator.documents.encode import to_json
from orchestrator.documents.pointer import steps
from orchestrator.documents.text import MAX_NAME, counted, cut, quoted, visible
from orchestrator.errors import MAX_SHOWN, Problem
from orchestrator.servers.config_source import ConfigSource
from orchestrator.workflow.source_map import LineSpan, Source

WIDE = 120  # columns, where no terminal sets a width
NARROW = 40
MAX_KINDS = 10
CUT = "..."
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
SEVERITIES = tuple(STYLES)
_EDGE = "blue"


def print_findings(
    file: str,
    findings: Sequence[Problem],
    so_far: str,
    *,
    verbose: bool,
    kind: type[Source] = Source,
) -> None:
    """Print findings on stderr with their lines, and how many there are; see `diagnostics.show`."""
    console = Console(stderr=True, highlight=False)
    width = console.width if console.is_terminal else WIDE
    width = max(width, NARROW)
    for line in rendered(file, findings, so_far, width, verbose=verbose, kind=kind):
        in_one_piece = bool(line.no_wrap) or not console.is_terminal
        console.print(line, soft_wrap=in_one_piece, crop=False)


def rendered(
    file: str,
    findings: Sequence[Problem],
    so_far: str,
    width: int,
    *,
    verbose: bool,
    kind: type[Source] = Source,
) -> Iterator[Text]:
    """The lines that `print_findings` prints on a screen of `width` columns."""
    single = [finding for finding in findings if verbose or finding.severity != "note"]
    # The most severe ones, in their own order.
    ranks = [SEVERITIES.index(finding.severity) for finding in single]
    most_severe = nsmallest(MAX_SHOWN, range(len(single)), key=ranks.__getitem__)
    shown = [single[index] for index in sorted(most_severe)]
    page = _Page(file, kind.read(Path(file)) if shown else None, width)
    others = {each.file for each in shown if isinstance(each, ServersFileProblem)}
    pages = {other: _Page(other, ConfigSource.read(Path(other)), width) for other in others}
    for finding in shown:
        if isinstance(finding, ServersFileProblem) and finding.there.line is not None:
            yield from pages[finding.file].finding(finding.there)
        else:
            yield from page.finding(finding)
        yield Text()
    if more := len(single) - len(shown):
        yield Text(f"and {more:,} more (--json has all)")
        yield Text()
    if not verbose:
        yield from _notes([finding for finding in findings if finding.severity == "note"])
    numbers = Counter[str](finding.severity for finding in findings)
    counts = [counted(numbers[name], name) for name in SEVERITIES if numbers[name]]
    if numbers["error"]:
        counts.append(so_far)
    yield Text(f"{_drawn(file)}: {', '.join(counts)}")


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
    return Text.assemble((name, STYLES[finding.severity]), (f": {_drawn(sentence)}", "bold"))


@dataclass(frozen=True, slots=True)
class _Page:
    file: str
    source: Source | None
    width: int

    def finding(self, finding: Problem) -> Iterator[Text]:
        """One finding: the message, where it is, that line of the file, and what helps."""
        span = self.source.place(finding) if self.source else None
        edge = " " * (len(str(span.line)) if span else 1)
        yield _head(finding, finding.sentence)
        if span or finding.path:
            where = _drawn(self._where(finding, span))
            # Terminals make it a link only if it is not wrapped.
            yield Text.assemble((f"{edge}--> ", _EDGE), where, no_wrap=True)
        if span and self.source:
            yield from self._snippet(finding, *self.source.shown(span))
        if finding.hint and not (finding.code == "wrong_type" and finding.replacement):
            yield self._help(edge, "help", finding.hint)
        for operation in finding.replacement:
            what, value = _fix(operation)
            yield self._help(edge, what, _first(value, self.width))

    def _help(self, edge: str, what: str, how: str) -> Text:
        return Text.assemble((f"{edge} = ", _EDGE), (what, "bold"), f": {_drawn(how)}")

    def _where(self, finding: Problem, span: LineSpan | None) -> str:
        at = f":{span.line}:{span.column}" if span else ""
        task = f"task {quoted(finding.task)}" if finding.task is not None else ""
        inside = ", ".join(filter(None, (task, "" if span else cut(finding.path, MAX_NAME))))
        return f"{self.file}{at}{f' ({inside})' if inside else ''}"

    def _snippet(self, finding: Problem, line: str, span: LineSpan) -> Iterator[Text]:
        number = str(span.line)
        edge = " " * len(number)
        shown, before, below = excerpt(line, span, self.width - len(number) - len(" | "))
        carets = ("^" * below, STYLES[finding.severity])
        yield Text(f"{edge} |", _EDGE)
        yield Text.assemble((f"{number} | ", _EDGE), shown)
        yield Text.assemble((f"{edge} | ", _EDGE), " " * before, carets)


def _fix(operation: Mapping[str, Any]) -> tuple[str, str]:
    """An operation of a JSON Patch in words, and its value as the file would have it."""
    name, value = to_json(["", *steps(operation["path"])][-1]), to_json(operation.get("value"))
    fixes = {
        "replace": ("replace with", value),
        "move": ("rename to", name),
        "add": ("add", f"{name}: {value}"),
    }
    return fixes.get(operation["op"], (str(operation["op"]), "it"))


def excerpt(line: str, span: LineSpan, room: int) -> tuple[str, int, int]:
    """As much of a line as fits into `room` columns, with the span that is to be underlined.

    Returns:
        The line, how many columns are before the span, and how many it takes.
    """
    start, end = span.column - 1, span.column - 1 + span.length
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
    # A line break of others' text is escaped, too: what follows it would pass for a finding.
    return visible(shown(text.replace("\t", "    ")))


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
    return _first(text[::-1], room)[::-1]
