"""The thread with which a process asks a database for what it shares: one connection.

All that is asked for while the database works on something goes there together. It says by `NOTIFY`
when something is granted later, so nobody asks twice; the thread wakes by itself once a second, to
say that its process is alive as long as that holds or waits for anything, and when a rate lets the
next call start.
"""

from __future__ import annotations

import json
import os
import platform
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import psycopg

from orchestrator.errors import JournalError
from orchestrator.sharing.asked import Act, Asked
from orchestrator.sharing.tables import GRACE_S, SILENT_S

SILENT = "no heartbeat of this process has reached the database in time"
BEAT_S = 0.5
# Before others may have what it holds; and so long a new connection is tried for.
FENCE_S = 5.5
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.02, 0.5
_KEYS = 1 << 62  # of processes; those of names are above, see `tables`
_CLOSE_S = 2.0
assert BEAT_S < GRACE_S

Raw = psycopg.Connection[tuple[Any, ...]]


def now_s() -> float:
    """The time, seconds: it goes on while a process is stopped, or the machine asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_BOOTTIME else time.monotonic()


_HAS_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")


class Link:
    """The thread and its connection.

    Args:
        connect: Opens a connection to the database, whose tables are there. Raises `JournalError`.

    Attributes:
        confirmed: When the database last heard that this process is alive, as `now_s` says.
        losses: How often what was held was lost.
    """

    def __init__(self, connect: Callable[[], Raw]) -> None:
        self._connect = connect
        self._acts: SimpleQueue[Act | None] = SimpleQueue()
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self.confirmed, self.losses = now_s(), 0
        self._raw: Raw | None = None
        self._keys: list[int] = []  # of its connection, and of those before that may still count
        self._known: dict[int, Asked] = {}
        self._undone: list[Act] = []
        self._looks: dict[str, float] = {}
        self._tries_at = self._beat_at = 0.0
        self._pause_s, self._down_since = _FIRST_PAUSE_S, 0.0
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def put(self, act: Act) -> None:
        """Have something done soon; called in an event loop."""
        self._acts.put(act)
        self._near.send(b".")

    def close(self) -> None:
        """Free what is held, and end the connection."""
        self._acts.put(None)
        self._near.send(b".")
        self._thread.join(_CLOSE_S)  # what it cannot free then, its end does

    def _run(self) -> None:
        while self._wait():
            self._step()
        for asked in self._known.values():
            self._undone.append(Act("free", asked))
        with suppress(psycopg.Error, JournalError):
            if self._raw is not None:
                self._turn()
                self._raw.execute(b"delete from member where process = $1", (self._keys[-1],))
        self._disconnect()
        self._near.close()
        self._far.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; False if it is to end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._far, selectors.EVENT_READ)
            if self._raw is not None and not self._raw.closed:
                selector.register(self._raw.pgconn.socket, selectors.EVENT_READ)
            selector.select(self._timeout_s())
        with suppress(BlockingIOError):
            self._far.recv(4096)
        with suppress(Empty):
            while (act := self._acts.get_nowait()) is not None:
                self._note(act)
            return False
        return True

    def _note(self, act: Act) -> None:
        token = act.asked.token
        if act.what == "ask":
            self._known[token] = act.asked
        elif token not in self._known:
            return  # it was lost
        elif act.what != "look":
            del self._known[token]
            act.asked.is_held = False
        self._undone.append(act)

    def _timeout_s(self) -> float | None:
        if not self._known:
            return None
        next_at = self._tries_at if self._raw is None else self._beat_at
        return max(0.0, min((next_at, *self._looks.values())) - now_s())

    def _step(self) -> None:
        try:
            if self._raw is not None:
                self._raw.pgconn.consume_input()
                self._hear(self._raw)
            elif not self._known:
                self._forget()
            elif now_s() >= self._tries_at:
                self._enter()
            self._look()
            is_beat = bool(self._known) and now_s() >= self._beat_at
            if self._raw is not None and (self._undone or is_beat):
                self._turn()
                if is_beat:
                    self._beat_at = now_s() + BEAT_S
                    self._raw.execute(b"select bury($1)", (SILENT_S,))
                self._hear(self._raw)  # what came with the answers
        except (psycopg.Error, JournalError) as error:
            self._fail(error)
        except Exception as bug:  # the thread must not end: others wait for it
            self._fail(JournalError(f"a bug: {type(bug).__name__}: {bug}"))
        if self._raw is None and now_s() - self.confirmed > FENCE_S:
            self._lose(SILENT)

    def _hear(self, raw: Raw) -> None:
        """Take what the database has said without being asked."""
        while (note := raw.pgconn.notifies()) is not None:
            self._take_note(note.extra.decode())

    def _take_note(self, said: str) -> None:
        what, token, *rest = said.split()
        asked = self._known.get(int(token))
        if asked is None or asked.is_held:
            return
        if what == "granted":
            self._grant(asked)
        else:
            self._looks[asked.name] = now_s() + float(rest[0])

    def _grant(self, asked: Asked) -> None:
        if not asked.is_held:
            asked.is_held, asked.losses = True, self.losses
            asked.post("granted", "")

    def _look(self) -> None:
        """Ask again for what a rate may let start by now."""
        for name in [name for name, at in self._looks.items() if at <= now_s()]:
            del self._looks[name]
            waiting = (each for each in self._known.values() if each.name == name)
            asked = next((each for each in waiting if not each.is_held), None)
            if asked is not None:
                self._undone.append(Act("look", asked))

    def _turn(self) -> None:
        """Say that this process is alive, and what it asks for and frees."""
        assert self._raw is not None
        acts, began = sorted(self._undone, key=lambda act: act.asked.name), now_s()
        values = self._keys[-1], json.dumps([act.document() for act in acts])
        row = self._raw.execute(b"select * from turn($1, $2::json)", values).fetchone()
        assert row is not None
        is_alive, granted, again = row
        if not is_alive:
            self._lose(SILENT)
            self._keys.clear()
            self._begin(self._raw)
            self._ask_again()
            self._turn()
            return
        self.confirmed = began
        self._undone.clear()
        for token in granted:
            if token in self._known:
                self._grant(self._known[token])
        for name, again_s in again.items():
            self._looks[name] = now_s() + again_s
        for act in acts:
            if act.what == "look" and act.asked.is_held:
                act.asked.post("sure", "")
            elif act.what == "ask" and not act.asked.is_held and act.asked.token in self._known:
                act.asked.post("waits", "")

    def _enter(self) -> None:
        """Connect, for the first time or again."""
        if not self._down_since:
            self._down_since = now_s()
        raw = self._connect()
        self._raw = raw
        raw.add_notify_handler(lambda note: self._take_note(note.payload))
        held, began = [each for each in self._known.values() if each.is_held], now_s()
        if began - self.confirmed > FENCE_S:
            self._lose(SILENT)
            held = []
        if self._begin(raw, held):
            self.confirmed = began
        else:
            self._lose("the connection to the database was lost")
        self._ask_again()
        self._down_since, self._pause_s = 0.0, _FIRST_PAUSE_S

    def _begin(self, raw: Raw, held: Iterable[Asked] = ()) -> bool:
        """Be known under a new key; whether what was held before is still held."""
        process, before = random.randrange(1, _KEYS), self._keys[:]  # noqa: S311
        self._keys.append(process)
        raw.execute(b"select pg_advisory_unlock_all()")
        raw.execute(b"unlisten *")
        raw.execute(b"set synchronous_commit to off")
        raw.execute(b"select pg_advisory_lock($1)", (process,))
        raw.execute(f"listen member_{process}".encode())
        rows = json.dumps([Act("ask", each).document() for each in held])
        values = process, before, platform.node(), os.getpid(), rows
        found = raw.execute(b"select enter($1, $2, $3, $4, $5::json)", values).fetchone()
        assert found is not None
        self._keys = [process]
        return bool(found[0])

    def _ask_again(self) -> None:
        """Ask for all that waits: the answer, or the place in the line, may have been lost."""
        done = {act.asked.token for act in self._undone if act.what == "ask"}
        self._undone += [
            Act("ask", each)
            for token, each in self._known.items()
            if not each.is_held and token not in done
        ]

    def _disconnect(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _fail(self, error: Exception) -> None:
        """Try again soon, unless it refuses for good; after a while, have all that waits fail."""
        is_lost = self._raw is None or isinstance(error, psycopg.OperationalError)
        self._disconnect()
        now = now_s()
        self._down_since = self._down_since or now
        if is_lost and now - self._down_since < FENCE_S:
            self._tries_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S)
            return
        self._down_since, self._pause_s, self._tries_at = 0.0, _FIRST_PAUSE_S, now
        if not is_lost:
            self._lose("the database refuses to work")
        for token, asked in list(self._known.items()):
            if not asked.is_held:
                del self._known[token]
                asked.post("failed", str(error).strip().partition("\n")[0])
        if not self._known:
            self._forget()

    def _forget(self) -> None:
        """Leave what a lost connection held to those who find out that it is lost."""
        self._down_since = 0.0
        for each in (self._keys, self._undone, self._looks):
            each.clear()

    def _lose(self, why: str) -> None:
        """Count what is held as lost: others may have been granted it."""
        held = [asked for asked in self._known.values() if asked.is_held]
        self.losses += bool(held)
        for asked in held:
            del self._known[asked.token]
            asked.is_held = False
            asked.post("lost", why)
            self._undone.append(Act("free", asked))
        if held:
            held[-1].post("seen", str(self.losses))
