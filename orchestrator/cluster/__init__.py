"""Whole runs on several machines: a queue hands them to workers, which carry them as any process.

Rule: a run is carried by the engine and kept in the journal as everywhere; the queue knows only
its id. Nothing else imports DBOS.

- `worker` carries the runs that are submitted to a journal, and takes over those of workers that
  are gone; `carried` is one of them, `lookout` finds what there is to do.
- `offers` is what workers offer, without the servers that do not start there, which `outages`
  knows; `release` chooses which runs are handed out now and to whom, and `waiting` says why one
  waits.
- `needs` is what a run needs of its worker; `guard` keeps what goes wrong with one run from others.
- `firing` submits what schedules say.
- `memory` ends a worker that has none left, or stands still.
- `dispatch` is the queue, DBOS on PostgreSQL; `queue_tables` is how its tables are reached, and who
  may use them.
- `turns` has one worker at a time do what is to be done once for all of them.
"""

from __future__ import annotations

__all__ = ["dispatch", "lookout", "turns", "waiting", "worker"]
