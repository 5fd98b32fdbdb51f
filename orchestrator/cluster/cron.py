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
_NAMES = re.compile(
    "sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec", re.IGNORECASE
)
_RANDOM = re.compile("[hr?]", re.IGNORECASE)  # a time that croniter would choose
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
        self._in_zone(0.0)
        try:
            self.next(datetime.now().timestamp())
        except CroniterBadDateError:
            raise JournalError(f"cron {quoted(self.text)}: no such day ever comes") from None

    def _check(self, name: str, field: str) -> None:
        """Check a field by itself, so that the error names it."""
        alone = " ".join(field if other == name else "*" for other in FIELDS)
        try:
            if not _RANDOM.search(_NAMES.sub("", field)):
                croniter(alone)
                return
        except CroniterError:
            pass
        ranges = {"minute": "0-59", "hour": "0-23", "day": "1-31", "month": "1-12 or jan-dec"}
        within = ranges.get(name, "0-7 or sun-sat")
        forms = "*, N, N-M, */N and lists of these"
        why = f"{name} {quoted(field)} is none of {forms} within {within}"
        raise JournalError(f"cron {quoted(self.text)}: {why}")

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
