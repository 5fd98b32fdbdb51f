"""Runs that survive their process: what a run has come to, in a SQLite file or in PostgreSQL.

Rule: what was acknowledged is never lost, each outcome is kept once, and one thread of a process
writes.

- `journal` begins runs, and takes up those whose process ended; `kept_run` is one that this process
  carries: its claim and its end; `taking_up` is one that it is about to carry, and `losses` are the
  processes that failed with it.
- `recorder` is what the engine tells what happens; `records` is what was kept, as `documents` has
  it, and the results that can be made of it; `kept` reads it, and `history` lists, finds and
  deletes runs.
- `part` is some items of a task that this process carries for another one; `parts` are those that
  others carry for this one.
- `statistics` is what calls took in earlier runs; `totals` what the runs have in common.
- `glance` is what a run has come to so far, without what may be large; `live` what it does now, for
  those who watch it; `following` makes events of both.
- `hiding` keeps secrets out of the file: it has their names, and gets them back.
- `orders` is what is asked of the queue for a run that is submitted, and `asked` says it in words;
  `schedules` has workflows that
  are submitted again and again, and `cron` their times.
- `workers` is what the workers that live offer.
- `answers` answers the questions of a run that another process carries, or none; `memo` has answers
  of calls for other runs.
- `writer` is the thread that writes, many records in each commit.
- `store` is what all of these need of the place where the journal is, and `location` finds it.
- `file_store` is a SQLite file and says who carries a run, `file_session` writes to it, `database`
  opens it and brings it up to date.
- `postgres_store` is a database, `postgres_claim` says who carries a run, `postgres_session`
  writes, `postgres` connects, `postgres_errors` says what errors mean, `postgres_schema` has its
  tables and versions. Only these import psycopg, and the queue of workers, with the last three.
"""

from __future__ import annotations

__all__ = [
    "answers",
    "asked",
    "cron",
    "database",
    "following",
    "glance",
    "hiding",
    "history",
    "journal",
    "kept",
    "kept_run",
    "live",
    "location",
    "losses",
    "orders",
    "part",
    "parts",
    "postgres",
    "postgres_errors",
    "postgres_schema",
    "recorder",
    "records",
    "schedules",
    "statistics",
    "store",
    "totals",
    "workers",
]
