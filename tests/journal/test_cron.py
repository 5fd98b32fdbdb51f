"""Cron expressions: what they say, and what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator import JournalError
from orchestrator.journal import cron
from orchestrator.journal.cron import Cron


def s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("0 3 * * *", "2026-01-31T03:00", "2026-02-01T03:00:00+00:00"),
        ("*/15 9-17 * * mon-fri", "2026-01-30T17:50", "2026-02-02T09:00:00+00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00:00+00:00"),
        ("@daily", "2026-01-31T03:00", "2026-02-01T00:00:00+00:00"),
        ("0 0 L * *", "2026-02-01T00:00", "2026-02-28T00:00:00+00:00"),
        ("0 0 * * fri#2", "2026-01-31T00:00", "2026-02-13T00:00:00+00:00"),
        ("0 0 * * L5", "2026-01-31T00:00", "2026-02-27T00:00:00+00:00"),
        ("0 0 * * Sat-Sun", "2026-01-31T00:00", "2026-02-01T00:00:00+00:00"),
        ("5/20 * * * *", "2026-01-31T00:05", "2026-01-31T00:25:00+00:00"),
        ("0 12 * mar thu", "2026-03-20T00:00", "2026-03-26T12:00:00+00:00"),
    ],
)
def test_the_next_time(text: str, after: str, expected: str) -> None:
    found = Cron(text)
    assert found.at(found.next(s(after))) == expected


def test_the_clock_of_the_zone_counts_also_when_it_is_changed() -> None:
    found = Cron("30 2 * * *", "Europe/Berlin")
    moment = s("2026-03-27T12:00")
    times = []
    for _ in range(3):
        moment = found.next(moment)
        times.append(found.at(moment))
    assert times[0] == "2026-03-28T02:30:00+01:00"
    assert times[2] == "2026-03-30T02:30:00+02:00"
    assert times[1].startswith("2026-03-29T0")  # there is no 2:30 on that day


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("0 3 * *", "UTC", "expected 5 fields (minute hour day month weekday), got 4"),
        ("0 0 3 * * *", "UTC", "got 6"),
        (
            "61 * * * *",
            "UTC",
            'minute "61" is none of *, N, N-M, */STEP, N-M/STEP and lists of these within 0-59',
        ),
        ("0 3 * * fryday", "UTC", 'weekday "fryday" is none of'),
        ("0 R * * *", "UTC", 'hour "R" is none of'),
        ("*/0 * * * *", "UTC", 'minute "*/0" is none of'),
        ("5-1 * * * *", "UTC", 'minute "5-1" is reversed, 5 is after 1: write "5-59,0-1"'),
        (
            "0 0 * * fri-mon",
            "UTC",
            'weekday "fri-mon" is reversed, fri is after mon: write "fri-sa',
        ),
        ("0 22-3/2 * * *", "UTC", 'write "22-23,0-3"'),
        ("0 23-0 * * *", "UTC", 'write "23,0"'),
        ("1-1 * * * *", "UTC", 'minute "1-1" is a range of one: write "1"'),
        ("1,99 * * * *", "UTC", 'minute "99" of "1,99" is none of'),
        ("0 L * * *", "UTC", 'hour "L" is none of'),
        (
            "0 0 15W * *",
            "UTC",
            'day "15W" is none of *, N, N-M, */STEP, N-M/STEP, L (the last one)',
        ),
        ("0 0 * * mon,fri#2", "UTC", "does not support mixing"),
        ("0 0 31 2 *", "UTC", "no such day ever comes"),
        ("0 0 30 * L5", "UTC", 'weekday "L5" cannot stand beside the day "30": make it *'),
        ("0 0 L * mon,fri#2", "UTC", 'weekday "mon,fri#2" cannot stand beside the day "L"'),
        ("@dayly", "UTC", 'unknown cron expression "@dayly". Did you mean "@daily"'),
        ("@reboot", "UTC", "(there are @hourly, "),
        ("0 3 * * *", "Europe/Berlyn", 'zone "Europe/Berlyn". Did you mean "Europe/Berlin"'),
        ("0 3 * * *", "/etc", 'unknown time zone "/etc"'),
    ],
)
def test_what_is_wrong_is_said(text: str, zone: str, expected: str) -> None:
    with pytest.raises(JournalError) as raised:
        Cron(text, zone)
    assert expected in str(raised.value)


def test_times_that_have_passed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found, due = Cron("0 * * * *"), s("2026-01-31T03:00")
    assert found.passed(due, due + 1) == (due, due + 3600, 1)
    assert found.passed(due, due + 7300) == (due + 7200, due + 10_800, 3)
    monkeypatch.setattr(cron, "MOST_MISSED", 5)
    assert found.passed(due, due + 36_001) == (due + 36_000, due + 39_600, 5)
