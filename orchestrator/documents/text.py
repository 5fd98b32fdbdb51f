"""Formats names, values, counts and times for messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

MAX_NAME = 200

# Shown as nothing (default-ignorable in Unicode), but printable for Python.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def cut(text: str, limit: int) -> str:
    """The text, cut to at most `limit` characters; ends in `...` if it was longer."""
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."


def quoted(text: str, limit: int = 80) -> str:
    """A name or string as messages show it: in double quotes, cut, with every character visible."""
    return visible(json.dumps(cut(text, limit), ensure_ascii=False))


def counted(number: int, what: str) -> str:
    """A count with its noun: `1 task`, `2,000 tasks`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int, between: str = ", ") -> str:
    """The first `most` names on one line, and how many more there are."""
    all_names = list(names)
    more = f" and {len(all_names) - most:,} more" if len(all_names) > most else ""
    return between.join(all_names[:most]) + more


def alternatives(names: Iterable[str]) -> str:
    """Names of which one applies: `a`, `a or b`, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def duration(milliseconds: float) -> str:
    """A duration: `1.2 ms`, `12 ms`, `1.20 s`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    return f"{milliseconds / 1000:.2f} s"


def seconds(elapsed_s: float) -> str:
    """How long something goes on, to watch: `3.2 s`, `2:05`, `1:02:05`."""
    if elapsed_s < 60:
        return f"{elapsed_s:.1f} s"
    minutes, rest = divmod(int(elapsed_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def approximately(left_s: float) -> str:
    """A time that is foreseen: `7 s`, `2 min`, `1.5 h`; one that is over is `1 s`."""
    if left_s < 100:
        return f"{max(1, round(left_s))} s"
    return f"{left_s / 60:.0f} min" if left_s < 6000 else f"{left_s / 3600:.1f} h"


def visible(text: str, keep: str = "", instead: Callable[[str], str] | None = None) -> str:
    """The text with each invisible character written as a JSON escape, such as `\\u200b`.

    Invisible are characters that Unicode calls not printable, and those that are shown as nothing:
    a terminal obeys the ones, and a model reads the others. Those in `keep` stay. `instead` makes
    something else of a character than its escape.
    """
    shown = instead or escaped

    def replaced(found: re.Match[str]) -> str:
        run = found[0]
        if run.isprintable() and not _UNSEEN.search(run):
            return run
        return "".join(c if c.isprintable() and not _UNSEEN.match(c) else shown(c) for c in run)

    return _not_ascii(keep).sub(replaced, text)


@lru_cache(16)
def _not_ascii(keep: str) -> re.Pattern[str]:
    # Printable ASCII is passed over at the speed of C: documents can have many megabytes.
    return re.compile(f"[^ -~{re.escape(keep)}]+")


def name_of(text: str) -> str:
    """A name as tables and pictures show it: visible, and cut to `MAX_NAME` characters."""
    return visible(cut(text, MAX_NAME))


def escaped(character: str) -> str:
    """A character as JSON escapes it by its number, even where a short escape exists."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def joined(text: str) -> str:
    """The text with each surrogate pair as one character; a lone one is a UnicodeDecodeError."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
