"""When a schedule fires: a cron expression in a time zone, read by croniter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError

FIELDS = ("minute", "hour", "day", "month", "weekday")
ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_RANGES = {
    "minute": range(60),
    "hour": range(24),
    "day": range(1, 32),
    "month": range(1, 13),
    "weekday": range(8),
}
_NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "weekday": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_WITHIN = {
    "minute": "0-59",
    "hour": "0-23",
    "day": "1-31",
    "month": "1-12 or jan-dec",
    "weekday": "0-7 or sun-sat",
}
_MORE = {"day": "L (the last one)", "weekday": "N#K (the K-th of the month), LN (its last one)"}
_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/[1-9]\d*)?", re.ASCII)
_SPECIAL = {
    "day": re.compile("l", re.IGNORECASE),
    "weekday": re.compile(r"l([0-7])|(\w+)#[1-5]", re.IGNORECASE | re.ASCII),
}
_NTH = re.compile(r"#|(?:^|,)l", re.IGNORECASE)  # a day of the month, too: one of the two is lost
GRACE_S = 60.0  # so late a time still fires: workers look often, and are restarted
MOST_MISSED = 1000  # are counted one by one
_EXAMPLE = 'such as "0 3 * * *", each day at 3:00'


class Passed(NamedTuple):
    """What of a schedule has passed.

    Attributes:
        last: The last time that has passed, seconds since 1970.
        next: The next one.
        times: How many have passed, at most `MOST_MISSED`.
    """

    last: float
    next: float
    times: int


@dataclass(frozen=True)
class Cron:
    """A cron expression of five fields in a time zone.

    Raises:
        JournalError: It is wrong, or the zone is unknown.
    """

    text: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        fields = self.text.split()
        if self.text.startswith("@"):
            if self.text not in ALIASES:
                hint = did_you_mean(self.text, ALIASES) or f" (there are {', '.join(ALIASES)})"
                raise JournalError(f"unknown cron expression {quoted(self.text)}{hint}")
        elif len(fields) != len(FIELDS):
            expected = f"expected 5 fields ({' '.join(FIELDS)}), got {len(fields)}"
            raise JournalError(f"cron {quoted(self.text)}: {expected}; {_EXAMPLE}")
        for name, field in zip(FIELDS, fields, strict=False):
            if not self.text.startswith("@"):
                self._check(name, field)
        if len(fields) == len(FIELDS) and fields[2] != "*" and _NTH.search(fields[4]):
            why = f"{quoted(fields[4])} cannot stand beside the day {quoted(fields[2])}: make it *"
            raise JournalError(f"cron {quoted(self.text)}: weekday {why}")
        self._in_zone(0.0)
        try:
            self.next(datetime.now().timestamp())
        except CroniterBadDateError:
            raise JournalError(f"cron {quoted(self.text)}: no such day ever comes") from None
        except CroniterError as error:  # what fields do not allow together
            why = str(error).partition("  ")[0]
            raise JournalError(f"cron {quoted(self.text)}: {why}") from None

    def _check(self, name: str, field: str) -> None:
        """Check a field by itself, so that the error names it."""
        for item in field.split(","):
            if reason := _wrong(name, item):
                of = "" if item == field else f" of {quoted(field)}"
                raise JournalError(f"cron {quoted(self.text)}: {name} {quoted(item)}{of} {reason}")

    def next(self, after_s: float) -> float:
        """The first time after a moment, seconds since 1970."""
        return float(croniter(self.text, self._in_zone(after_s)).get_next(float))

    def passed(self, due_s: float, now_s: float) -> Passed:
        """What has passed of the times since `due_s`, which is one that has."""
        last, times = due_s, 1
        found = croniter(self.text, self._in_zone(due_s))
        while times < MOST_MISSED and (after := float(found.get_next(float))) <= now_s:
            last, times = after, times + 1
        if times == MOST_MISSED:
            last = float(croniter(self.text, self._in_zone(now_s)).get_prev(float))
        return Passed(last, self.next(now_s), times)

    def at(self, moment_s: float) -> str:
        """A moment as the clock of the zone shows it."""
        return self._in_zone(moment_s).isoformat(timespec="seconds")

    def _in_zone(self, moment_s: float) -> datetime:
        try:
            return datetime.fromtimestamp(moment_s, ZoneInfo(self.zone))
        except (KeyError, ValueError, OSError):
            from zoneinfo import available_timezones

            hint = did_you_mean(self.zone, available_timezones()) or "; one is Europe/Berlin"
            raise JournalError(f"unknown time zone {quoted(self.zone)}{hint}") from None


def _wrong(name: str, item: str) -> str:
    """What is wrong with an item of a field; empty if nothing is."""
    special = _SPECIAL.get(name)
    found = (special and special.fullmatch(item)) or _ITEM.fullmatch(item)
    words = [word.lower() for word in (found.groups() if found else ()) if word]
    numbers = [number for word in words if (number := _number(name, word)) is not None]
    if found is None or len(numbers) < len(words):
        more = f", {_MORE[name]}" if name in _MORE else ""
        forms = f"*, N, N-M, */STEP, N-M/STEP{more} and lists of these"
        return f"is none of {forms} within {_WITHIN[name]}"
    if len(words) < 2:
        return ""
    first, last = words
    if first == last:  # which croniter takes for all
        return f'is a range of one: write "{first}"'
    if numbers[0] > numbers[1] and (name, last) != ("weekday", "sun"):
        least, *_, most = _NAMES[name] if first.isalpha() else [str(n) for n in _RANGES[name]]
        parts = (_range(first, most), _range(least, last))
        return f'is reversed, {first} is after {last}: write "{",".join(parts)}"'
    return ""


def _number(name: str, word: str) -> int | None:
    """The number that an item of a field names; None if it is none of the field."""
    if word.isdecimal():
        return int(word) if int(word) in _RANGES[name] else None
    names = _NAMES.get(name, [])
    return _RANGES[name][names.index(word)] if word in names else None


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"
