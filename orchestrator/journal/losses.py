"""The processes that failed while they carried a run, most by their end: it may be its doing.

Kept when another process takes the run over, in a database only, where nobody has to ask for that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.documents.encode import to_json
from orchestrator.journal.store import Database

MOST = 3  # processes of workers, while nothing of the run settles
_NOTE = """insert into record(run, kind, path, item, fallback, number, at, payload)
select ?, 'lost', '', -1, false, count(*), ?::double precision, ? from record
where run=? and kind='lost'"""
# What is kept of the items of a part is with its run.
_SETTLED = """select max(moment) from record as r
where (r.run=? and (kind in ('task', 'item', 'answer') or kind like 'failure %'
or kind like 'reply %')) or (kind='item' and r.run=(
select origin from run where id=? and kind='part'))"""
_SINCE = """select payload from record where run=? and kind='lost' and moment > ?::bigint
order by moment"""


class Losses(NamedTuple):
    """The processes that failed with a run since anything of it settled.

    Attributes:
        owners: What they were, and where.
        most: How many end the run; None: it goes on.
    """

    owners: Sequence[str] = ()
    most: int | None = None

    @property
    def is_end(self) -> bool:
        """Whether the run ends with that; the tasks of its `finally` run."""
        return self.most is not None and len(self.owners) >= self.most

    @property
    def is_bare(self) -> bool:
        """Whether that was lost, too: nothing of it is even read."""
        return self.most is not None and len(self.owners) > self.most


def note(db: Database, run: str, owner: str) -> None:
    """Keep that a process was lost with a run."""
    db.execute(_NOTE, (run, time.time(), to_json({"owner": owner}), run))


def since_settled(db: Database, run: str) -> list[str]:
    """The processes that were lost since anything of the run settled."""
    (last,) = db.execute(_SETTLED, (run, run)).fetchone()
    rows = db.execute(_SINCE, (run, last or 0)).fetchall()
    return [json.loads(payload)["owner"] for (payload,) in rows]
