"""What all workers do together: one of them at a time, in the database of the journal."""

from __future__ import annotations

from enum import IntEnum

from orchestrator.journal.store import Database

_LOOK = "look"
# A process that asks while another one asks does not wait. Only a turn is lost in a power cut.
_TURN = """update carrier set beat=now, began=case when began <= now - ? then now else began end,
told=case when told <= now - ? then now else told end
from (select now_s() as now) as clock where run=(select run from carrier
where run=? and beat <= now_s() - ?::double precision for update skip locked)
and set_config('synchronous_commit', 'off', true) is not null returning began=beat, told=beat"""
# On conflict it would wait for who has its turn now.
_FIRST = """insert into carrier(run, owner, began, beat) select ?, '', 0, now_s()
where not exists(select from carrier where run=?) on conflict do nothing"""
_EARLY = 0.9  # of the pause: who asks has paused, and must not miss its turn by a moment


class Turn(IntEnum):
    """What a worker is to do now for all of them; each has all before it."""

    NOTHING = 0
    LOOK = 1  # for what is new
    CHECK = 2  # what is left behind
    SWEEP = 3  # what nobody needs any more


def turn(db: Database, look_s: float, check_s: float, sweep_s: float) -> Turn:
    """What this worker is to do; of all workers one looks so often, checks and sweeps so often.

    The clock of the server counts. A worker that dies in its turn is followed by the next one.
    """
    values = check_s * _EARLY, sweep_s * _EARLY, _LOOK, look_s * _EARLY
    if (found := db.execute(_TURN, values).fetchone()) is not None:
        checks, sweeps = found
        return Turn.SWEEP if sweeps else Turn.CHECK if checks else Turn.LOOK
    return Turn.LOOK if db.execute(_FIRST, (_LOOK, _LOOK)).rowcount else Turn.NOTHING
