"""The tables of a journal in PostgreSQL, and its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError
from orchestrator.journal.location import Address
from orchestrator.sharing import tables

SCHEMA = "orchestrator"
VERSION = 4
_LOCK = 0x4F524348  # "ORCH": one process at a time brings a database up to date

# Who is connected acts as the owner of the schema, if it may: what it makes belongs to that user.
AS_OWNER = """select set_config('role', rolname, ?) from pg_roles
where rolname <> current_user and case when current_setting('server_version_num')::integer < 160000
then pg_has_role(oid, 'MEMBER') else pg_has_role(oid, 'SET') end and oid = """
_AS_OWNER = f"""{AS_OWNER.replace("?", "true")}
(select nspowner from pg_namespace where nspname = '{SCHEMA}')"""
# Texts are compared by their bytes, as in SQLite.
_TABLES = r"""
create table version(number integer not null);
insert into version values(0);
create sequence moment;
create table run(
    id text collate "C" primary key,
    workflow text collate "C" not null,
    status text not null,
    kind text not null,
    origin text,
    epoch integer not null,
    resumed integer not null,
    started double precision not null,
    ended double precision,
    duration_ms double precision,
    request text not null,
    result text
);
create index run_by_start on run(started);
create index run_by_workflow on run(workflow, status, id);
create table record(
    run text collate "C" not null references run(id) on delete cascade,
    kind text collate "C" not null,
    path text collate "C" not null,
    item integer not null,
    fallback boolean not null,
    number integer not null,
    at double precision not null,
    payload text,
    moment bigint not null default nextval('moment'),
    primary key(run, kind, path, item, fallback, number)
);
create index record_by_moment on record(run, moment);
create table memo(
    key text collate "C" primary key,
    at double precision not null,
    expires double precision not null,
    payload text
);
create index memo_by_expiry on memo(expires);
create table carrier(
    run text collate "C" primary key,
    process bigint,
    owner text not null,
    began double precision not null,
    beat double precision not null,
    asked boolean not null default false,
    watched double precision not null default 0,
    told double precision not null default 0,
    live text
);
create index carrier_by_process on carrier(process);
create function now_s() returns double precision language sql volatile
as $$ select extract(epoch from clock_timestamp())::double precision $$;
create function instr(whole text, part text) returns integer language sql immutable
as $$ select strpos(whole, part) $$;
-- What JSON text may have in it and no text of PostgreSQL can.
create function said(payload text) returns json language sql immutable
as $$ select case
    when strpos(payload, '\u0000') + strpos(payload, '\ud') = 0 then payload
    else regexp_replace(payload, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\ufffd', 'g') end::json $$;
-- A process is alive as long as it has its lock and beats: one that is killed loses the lock at
-- once, one that is frozen or cut off stops to beat.
create function is_alive(process bigint, beat double precision, silent_s double precision)
returns boolean language sql volatile
as $$ select process is not null and beat > now_s() - silent_s and exists(
    select from pg_locks where locktype = 'advisory' and objsubid = 1 and granted
    and database = (select oid from pg_database where datname = current_database())
    and (classid::bigint << 32 | objid::bigint) = process) $$
"""
# A row for each run that was submitted. It waits until it has a queue of workers that may carry it,
# is put into that (`handed`), and is nothing to wait for as soon as it has begun.
_QUEUED = """
create table queued(
    run text collate "C" primary key references run(id) on delete cascade,
    workflow text collate "C" not null,
    key text collate "C" unique,
    priority integer not null default 0,
    due double precision not null default 0,
    max_runs integer,
    labels text not null default '[]',
    servers text not null default '[]',
    queue text,
    handed boolean not null default false,
    begun boolean not null default false
);
create index queued_waiting on queued(priority desc, run) where queue is null and not begun;
create index queued_ahead on queued(queue) where queue is not null and not begun;
create index run_under_way on run(workflow) where status = 'running';
insert into queued(run, workflow) select id, workflow from run where status = 'queued';
"""
_SCHEDULE = """
create table schedule(
    name text collate "C" primary key,
    workflow text not null,
    cron text not null,
    zone text not null,
    catch_up boolean not null,
    priority integer not null,
    max_runs integer,
    labels text not null,
    servers text not null,
    request text not null,
    next double precision not null,
    last double precision,
    run text,
    missed integer not null default 0
);
create index schedule_by_next on schedule(next);
"""
# Whether there are tables of ours, or what else there is.
_FOUND = f"""select is_ours, case when not is_ours then (select min(relname) from pg_class
    where relnamespace = to_regnamespace('{SCHEMA}') and relkind in ('r', 'p', 'v', 'm', 'f')) end
from (select to_regclass('{SCHEMA}.version') is not null
    and to_regclass('{SCHEMA}.run') is not null
    and to_regclass('{SCHEMA}.record') is not null as is_ours) as found"""
_MIGRATIONS: Mapping[int, str] = {1: _TABLES, 2: _QUEUED, 3: _SCHEDULE, 4: tables.TABLES}


def version_of(address: Address, raw: psycopg.Connection[tuple[Any, ...]]) -> int:
    """The version of the tables; 0 if there are none.

    Raises:
        JournalError: It is a later one than this program knows, or they are another program's.
    """
    is_ours, other = raw.execute(_FOUND.encode()).fetchone() or (False, None)
    if not is_ours and other is None:
        return 0
    try:
        query = f"select number from {SCHEMA}.version" if is_ours else "select where false"
        row = raw.execute(query.encode()).fetchone()
    except psycopg.errors.UndefinedColumn:
        row = None
    if row is None:
        has = f" (it has the table {quoted(other)})" if other is not None else ""
        why = f"its schema {SCHEMA} is another program's{has}: name another database"
        raise JournalError(f"the journal {address} cannot be used: {why}")
    if (version := int(row[0])) > VERSION:
        fix = "install that version, or name another one with --journal"
        why = f"was written by a later version of orchestrator (format {version}, not {VERSION})"
        raise JournalError(f"the journal {quoted(str(address))} {why}: {fix}")
    return version


def migrate(address: Address, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Bring a database up to date, in one transaction; do nothing if it is."""
    if version_of(address, raw) == VERSION:
        return
    if (encoding := raw.info.parameter_status("server_encoding")) != "UTF8":
        why = f"the database has the encoding {encoding}: create one with the encoding UTF8"
        raise JournalError(f"the journal {address} cannot be used: {why}")
    with raw.transaction():
        raw.execute(f"select pg_advisory_xact_lock({_LOCK})".encode())
        # Who may not create one can use one that an administrator has made. The table knows what
        # another process has created since this one waits; to_regnamespace has it from before.
        there = f"select from pg_namespace where nspname='{SCHEMA}'"
        if raw.execute(there.encode()).fetchone() is None:
            raw.execute(f"create schema {SCHEMA}".encode())
        raw.execute(_AS_OWNER.encode())  # all who may use the schema can use what is made
        for version in range(version_of(address, raw) + 1, VERSION + 1):
            raw.execute(_MIGRATIONS[version].encode())
            raw.execute(f"update version set number={version}".encode())
