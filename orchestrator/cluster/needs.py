"""What a run needs of its worker, as its row has it."""

from __future__ import annotations

from orchestrator.documents.encode import to_json
from orchestrator.journal.orders import names_of, read_names
from orchestrator.journal.store import Database

_WAIT = "select run, labels, servers from queued where queue is null and not begun"
_REPAIR = "update queued set labels=?, servers=? where run=?"


def needs_of(db: Database, run: str) -> tuple[list[str], list[str]]:
    """The labels and the servers that a worker has to have that carries a run."""
    row = db.execute("select labels, servers from queued where run=?", (run,)).fetchone()
    labels, servers = (list(names_of(text)) for text in row or ("[]", "[]"))
    return labels, servers


def repair(db: Database) -> bool:
    """Have the runs that wait need what `names_of` finds; whether that changes any."""
    rows = db.execute(_WAIT).fetchall()
    wrong = [row for row in rows if None in map(read_names, row[1:])]
    for run, *texts in wrong:
        db.execute(_REPAIR, (*(to_json(names_of(text)) for text in texts), run))
    return bool(wrong)
