"""The tables and functions of a database in which processes share limits, rates and locks.

Each process has a row in `member`, and a row in `claim` for each thing that it waits for, holds, or
has started under a rate. The tables are unlogged, so a crash of the server empties them; the
processes that still run then report what they hold before anything new is granted (`era`).

A process changes the claims of a name under the lock of that name; it takes several in order,
after the row of the process. `settle` grants what fits, in order of arrival.
"""

from __future__ import annotations

# Without a heartbeat for so long, a process counts as frozen or cut off; its claims are released.
SILENT_S = 6.5
# The connection of a process may be lost for so long before it counts as dead, and a process
# says more often than that that it is alive.
GRACE_S = 0.9
# So long after its start a server grants nothing: processes come back meanwhile.
QUIET_S = 2.0

TABLES = r"""
create unlogged table member(
    process bigint primary key,
    host text not null,
    pid integer not null,
    beat double precision not null,
    gone double precision
);
-- Of amounts, 0 is a share, and -1 is all. A claim waits ('w'), is granted ('g'), or is a start
-- under a rate that counts for per_s seconds ('s').
create unlogged table claim(
    number bigint generated always as identity primary key,
    name text collate "C" not null,
    process bigint not null,
    token bigint not null,
    amount integer not null,
    capacity integer not null,
    per_s double precision,
    state "char" not null default 'w',
    since double precision not null,
    run text,
    task text
);
create index claim_by_name on claim(name, state, number);
create index claim_by_process on claim(process, token);
create unlogged table era(began timestamptz not null, quiet_until double precision not null);
insert into era values(pg_postmaster_start_time(), 0);
create function lock_name(n text) returns void language sql volatile
as $$ select pg_advisory_xact_lock(hashtextextended(n, 0) >> 2 | (1::bigint << 62)) $$;
create function settle(n text, me bigint, is_new boolean,
    out granted bigint[], out again_s double precision) language plpgsql as $$
declare
    c record;
    now_ double precision := now_s();
    used bigint; has_all boolean; has_share boolean; fits boolean; starts integer; missing integer;
begin
    granted := '{}';
    select quiet_until - now_ into again_s from era where quiet_until > now_;
    if found then return; end if;
    delete from claim where name = n and state = 's' and since <= now_ - per_s;
    select coalesce(sum(amount) filter (where amount > 0), 0),
        coalesce(bool_or(amount = -1), false), coalesce(bool_or(amount = 0), false),
        count(*) filter (where state = 's')
    into used, has_all, has_share, starts from claim where name = n and state in ('g', 's');
    for c in select * from claim where name = n and state = 'w' order by number loop
        fits := case c.amount
            when -1 then used = 0 and not has_all and not has_share
            when 0 then used = 0 and not has_all
            else used + c.amount <= c.capacity and not has_all and not has_share end;
        if not fits then
            if starts > 0 then
                -- The clock of the server may have been set back since.
                update claim set since = now_ where name = n and state = 's' and since > now_;
                missing := greatest(used + c.amount - c.capacity, 1);
                if c.process = me or is_new or starts = missing then
                    select since + per_s - now_ into again_s from claim
                    where name = n and state = 's' order by since offset missing - 1 limit 1;
                    if again_s is not null and c.process <> me then
                        perform pg_notify(
                            'member_' || c.process, 'again ' || c.token || ' ' || again_s);
                        again_s := null;
                    end if;
                end if;
            end if;
            return;
        end if;
        update claim set state = 'g', since = now_ where number = c.number;
        if c.process = me then granted := granted || c.token;
        else perform pg_notify('member_' || c.process, 'granted ' || c.token); end if;
        is_new := true;
        used := used + greatest(c.amount, 0);
        has_all := has_all or c.amount = -1;
        has_share := has_share or c.amount = 0;
    end loop;
end $$;
-- What a process asks for, starts and frees, as [what, name, token, ...] in order of the names.
create function turn(me bigint, acts json,
    out is_alive boolean, out granted bigint[], out again json) language plpgsql as $$
declare
    act json; n text; last text; t bigint; is_new boolean := false; settled record;
    looks jsonb := '{}';
begin
    granted := '{}';
    update member set beat = now_s(), gone = null where process = me;
    is_alive := found;
    if not is_alive then return; end if;
    for act in select value from json_array_elements(acts) union all select null loop
        n := act ->> 1;
        if last is not null and n is distinct from last then
            select * into settled from settle(last, me, is_new);
            granted := granted || settled.granted;
            if settled.again_s is not null then
                looks := looks || jsonb_build_object(last, settled.again_s);
            end if;
            is_new := false;
        end if;
        exit when act is null;
        if n is distinct from last then perform lock_name(n); end if;
        last := n;
        t := (act ->> 2)::bigint;
        case act ->> 0
        when 'ask' then
            is_new := true;
            insert into claim(name, process, token, amount, capacity, per_s, since, run, task)
            select n, me, t, (act ->> 3)::integer, (act ->> 4)::integer,
                (act ->> 5)::double precision, now_s(), act ->> 6, act ->> 7
            where not exists(select from claim where process = me and token = t);
            if not found then
                granted := granted || array(
                    select token from claim where process = me and token = t and state = 'g');
            end if;
        when 'free' then
            is_new := true;
            delete from claim where process = me and token = t and state <> 's';
        when 'start' then
            update claim set state = 's', since = now_s()
            where process = me and token = t and state = 'g';
        else is_new := true;
        end case;
    end loop;
    again := looks::json;
end $$;
-- Begin under a key, or go on under a new one after one of those before, of which it may not be
-- known whether the database has heard of them: whether what was held before is still held.
create function enter(me bigint, before bigint[], host_ text, pid_ integer, held json)
returns boolean language plpgsql as $$
declare is_quiet boolean;
begin
    perform pg_advisory_xact_lock(1::bigint << 62);
    delete from era where began <> pg_postmaster_start_time();
    if found then
        insert into era values(pg_postmaster_start_time(),
            extract(epoch from pg_postmaster_start_time()) + {quiet_s});
    elsif not exists(select from era) then  -- it has crashed
        insert into era values(pg_postmaster_start_time(), now_s() + {quiet_s});
    end if;
    update member set process = me, beat = now_s(), gone = null where process = any(before);
    if found then
        update claim set process = me where process = any(before);
        return true;
    end if;
    insert into member(process, host, pid, beat) values(me, host_, pid_, now_s());
    is_quiet := exists(select from era where quiet_until > now_s());
    if is_quiet then
        insert into claim(name, process, token, amount, capacity, per_s, state, since, run, task)
        select h ->> 1, me, (h ->> 2)::bigint, (h ->> 3)::integer, (h ->> 4)::integer,
            (h ->> 5)::double precision, 'g', now_s(), h ->> 6, h ->> 7
        from json_array_elements(held) as h;
    end if;
    return is_quiet;
end $$;
-- Free what dead processes held: those without a connection, and those that do not beat.
create function bury(silent_s double precision) returns void language plpgsql as $$
declare dead bigint[]; n text; now_ double precision := now_s();
begin
    if exists(select from era where quiet_until > now_)
        or not pg_try_advisory_xact_lock((1::bigint << 62) + 1) then return; end if;
    update member set gone = now_ where gone is null and not is_alive(process, now_, silent_s);
    dead := array(select process from member
        where beat < now_ - silent_s or gone < now_ - {grace_s} for update skip locked);
    for n in select distinct name from claim
        where process = any(dead) and state <> 's' order by name loop
        perform lock_name(n);
        delete from claim where name = n and process = any(dead)
            and (state = 'w' or state = 'g' and per_s is null);
        update claim set state = 's', since = now_
            where name = n and process = any(dead) and state = 'g';
        perform settle(n, 0, true);
    end loop;
    delete from member where process = any(dead);
    if random() < 0.02 then
        delete from claim where state = 's' and since <= now_ - per_s;
    end if;
end $$
""".replace("{quiet_s}", f"{QUIET_S:g}").replace("{grace_s}", f"{GRACE_S:g}")
