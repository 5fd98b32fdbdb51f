"""Grants what all processes share that have the same journal in PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from itertools import count
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token

from orchestrator.calls.grants import Claim, OnWait, nothing
from orchestrator.errors import CallError
from orchestrator.sharing.asked import Act, News
from orchestrator.sharing.link import BEAT_S, FENCE_S, Link, Raw, now_s

_MAX_NAME = 500  # characters; an index has no room for more


class Cluster:
    """Grants what all processes share that have the same journal, in the order in which they ask.

    It is a `Granter`. Nothing is opened before the first claim.

    Args:
        connect: Opens a connection to the database, in a thread. Raises `JournalError`.
    """

    def __init__(self, connect: Callable[[], Raw]) -> None:
        self._connect = connect
        self._known: Link | None = None
        self._tokens = count(1)
        self._held: dict[int, Granted] = {}
        self._waiting: Counter[str] = Counter()
        self._seen = 0  # losses that were told to those who held something

    @property
    def _link(self) -> Link:
        if self._known is None:
            self._known, self._seen = Link(self._connect), 0
        return self._known

    def close(self) -> None:
        """Close what is open, until it is used again."""
        if self._known is not None:
            self._known.close()
            self._known = None

    def is_free(self, claim: Claim) -> bool:
        """Whether it would be granted at once, as far as is known."""
        return not self._waiting[_key(claim)]

    async def grant(self, claim: Claim, on_wait: OnWait) -> Granted:
        """Wait until it is granted; `on_wait` is called once if that is not at once."""
        granted = Granted(self, self._link, next(self._tokens), claim)
        self._waiting[granted.name] += 1
        self._link.put(Act("ask", granted))
        try:
            await granted.changed.wait()
            while not granted.is_settled:  # it is asked again after the connection was lost
                granted.changed = anyio.Event()
                on_wait()
                await granted.changed.wait()
        except BaseException:
            granted.release()
            raise
        finally:
            self._waiting[granted.name] -= 1
        if granted.error:
            raise CallError("server_unavailable", f'scope = "cluster": {granted.error}')
        return await self.grant(claim, on_wait) if granted.is_lost else granted

    @property
    def is_sure(self) -> bool:
        """Whether what is held is certainly held."""
        link = self._known
        if link is None or (not self._held and link.losses == self._seen):
            return True
        return link.losses == self._seen and now_s() - link.confirmed < FENCE_S

    async def confirm(self) -> None:
        """Wait until what is held is certainly held, and who has lost something knows it."""
        while not self.is_sure:
            with anyio.move_on_after(BEAT_S):  # one that is released meanwhile hears nothing more
                for granted in self._held.values():
                    granted.changed = anyio.Event()
                    self._link.put(Act("look", granted))
                    await granted.changed.wait()
                    break
            await checkpoint()

    def check(self, losses: int) -> None:
        """Raise a CallError if what was granted after so many losses is lost."""
        if self._known is not None and self._known.losses != losses:
            message = "its slot was lost before it left, and others may have it"
            raise CallError("server_unavailable", f'scope = "cluster": {message}')

    def take(self, granted: Granted, news: News, why: str) -> None:
        """Take news of the database, in the event loop of the waiters."""
        if news == "seen":
            self._seen = int(why)
            return
        if granted.is_over:
            return
        if news == "granted":
            self._held[granted.token] = granted
        elif news == "failed":
            granted.error = why
        elif news == "lost" and self._held.pop(granted.token, None) is not None:
            granted.is_lost = True
            granted.on_lost(why)
        granted.is_settled = news != "waits"
        granted.changed.set()

    def drop(self, granted: Granted) -> None:
        """Forget what is not held any more."""
        self._held.pop(granted.token, None)


class Granted:
    """A claim, and what it stands for once it is granted."""

    def __init__(self, cluster: Cluster, link: Link, token: int, claim: Claim) -> None:
        hold = claim.hold
        self.token, self.name, self.is_held = token, _key(claim), False
        amount = 0 if hold.shared else hold.number or -1
        of_call = _plain(claim.run) or None, _plain(claim.task) or None
        self.row = amount, claim.capacity, claim.per_s or None, *of_call
        self.losses = 0
        self.changed, self.is_settled, self.is_lost, self.error = anyio.Event(), False, False, ""
        self.on_lost: Callable[[str], None] = nothing
        self.is_over = False  # it was released or started
        self._cluster, self._link, self._loop = cluster, link, current_token()

    def release(self) -> None:
        """Let others have it."""
        self._end("free")

    def note_start(self) -> None:
        """Count a start under a rate that happens now, in place of it."""
        self._end("start")

    def _end(self, what: Any) -> None:
        self.is_over = True
        self._cluster.drop(self)
        if not self.is_lost and not self.error:
            with suppress(OSError):  # it is closed, which frees all
                self._link.put(Act(what, self))

    def post(self, news: News, why: str) -> None:
        """Tell the event loop, from another thread."""
        loop: Any = self._loop.native_token
        soon = loop.run_sync_soon if hasattr(loop, "run_sync_soon") else loop.call_soon_threadsafe
        with suppress(RuntimeError):  # the event loop is gone
            soon(self._cluster.take, self, news, why)


def _key(claim: Claim) -> str:
    """The name as the database knows it; of another rate the starts are others."""
    rate = f"{claim.capacity} in {claim.per_s:g} s " if claim.per_s else ""
    name = rate + _plain(claim.hold.name)
    digest = sha256(name.encode()).hexdigest()[:20]
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]} {digest}"


def _plain(text: str) -> str:
    """A text without what PostgreSQL stores in none."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
