"""The workers that live, and what each has said that it offers."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.journal.store import Database
from orchestrator.sharing.tables import SILENT_S

WORKER = "worker "  # before the name of a worker, among what processes carry
_HEARD = f"""select substr(run, {len(WORKER) + 1}) from carrier where run like '{WORKER}%'
and process is not null and beat > now_s() - ?::double precision"""
_LIVE = f"""select live from carrier where run like '{WORKER}%' and process is not null
and live is not null and beat > now_s() - {SILENT_S} and run <> ? order by run"""


def offered(db: Database, but: str = "") -> list[dict[str, Any]]:
    """What each worker offers, apart from one; one that is gone counts for a moment as well."""
    rows = db.execute(_LIVE, (f"{WORKER}{but}",)).fetchall()
    found = []
    for (text,) in rows:
        with suppress(ValueError):  # what cannot be read offers nothing
            found.append(json.loads(text))
    return [each for each in found if isinstance(each, dict) and _has_places(each)]


def _has_places(offer: dict[str, Any]) -> bool:
    at_once = offer.get("at_once")
    return type(at_once) is int and at_once > 0


def heard(db: Database, within_s: float) -> list[str]:
    """The names of those that were heard so lately, seconds."""
    return [name for (name,) in db.execute(_HEARD, (within_s,)).fetchall()]


def places(journal: Location) -> int:
    """How many runs all of them can carry at a time. Raises `JournalError`."""
    with reading(journal) as db:
        return sum(each["at_once"] for each in offered(db))
