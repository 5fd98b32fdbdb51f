"""What a run needs of its worker, as its row has it."""

from __future__ import annotations

import json

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut
from orchestrator.journal.store import Database

_MOST = 100  # characters that are shown
_WAIT = "select run, labels, servers from queued where queue is null and not begun"
_MEND = "update queued set labels=?, servers=? where run=?"


def names(text: str) -> list[str]:
    """The names in a list in JSON; of what is none, one name that nobody has and that says so."""
    found = _read(text)
    if found is None:
        return [f"{cut(text, _MOST)} (expected a list of names in JSON)"]
    return found


def _read(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    is_list = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return found if is_list else None


def needs_of(db: Database, run: str) -> tuple[list[str], list[str]]:
    """The labels and the servers that a worker has to have that carries a run."""
    row = db.execute("select labels, servers from queued where run=?", (run,)).fetchone()
    labels, servers = map(names, row or ("[]", "[]"))
    return labels, servers


def mend(db: Database) -> bool:
    """Have the runs that wait need what `names` finds; whether that changes any."""
    rows = db.execute(_WAIT).fetchall()
    wrong = [row for row in rows if None in map(_read, row[1:])]
    for run, *texts in wrong:
        db.execute(_MEND, (*(to_json(names(text)) for text in texts), run))
    return bool(wrong)
