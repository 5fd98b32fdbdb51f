"""What all workers do together: one of them at a time, in the database of the journal."""

from __future__ import annotations

from orchestrator.journal.store import Database

_LOOK = "look"
_TURN = "update carrier set beat=now_s() where run=? and beat <= now_s() - ?::double precision"
_FIRST = """insert into carrier(run, owner, began, beat) values(?, '', now_s(), now_s())
on conflict do nothing"""
_EARLY = 0.9  # of the pause: who asks has paused, and must not miss its turn by a moment


def is_turn(db: Database, every_s: float) -> bool:
    """Whether this worker is the one that looks now; of all workers one is, so often.

    The clock of the server counts. A worker that dies in its turn is followed by the next one.
    """
    if db.execute(_TURN, (_LOOK, every_s * _EARLY)).rowcount:
        return True
    return db.execute(_FIRST, (_LOOK,)).rowcount > 0
