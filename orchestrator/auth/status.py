"""What people and programs may see of a login: nothing secret."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from orchestrator.auth.record import Login
from orchestrator.auth.settings import Subject

State = Literal["logged_in", "expired", "logged_out"]


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """A login, as far as it may be shown.

    Attributes:
        state: `logged_in`: there is a token, or one can be got without a person; `expired`: there
            is one that is of no use any more; `logged_out`: there is none.
        issuer: Who gave it; empty if nobody did.
        scopes: What it is good for, as far as the issuer has said.
        expires_at: When its token expires, seconds since 1970; None if that is unknown.
        renews: Whether another token follows without a person.
        reason: Why nobody is logged in any more; empty otherwise.
    """

    state: State
    issuer: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    renews: bool = False
    reason: str = ""

    @classmethod
    def of(cls, subject: Subject, login: Login | None, now: float | None = None) -> LoginStatus:
        """What may be shown of a login to a server."""
        by_itself = subject.settings.flow == "client_credentials"
        if login is None or login.tokens is None:
            state: State = "logged_in" if by_itself else "logged_out"
            return cls(state, renews=by_itself, reason="" if login is None else login.ended)
        now = time.time() if now is None else now
        renews = by_itself or login.refreshes
        over = login.expires_at is not None and now >= login.expires_at and not renews
        scopes = tuple((login.tokens.scope or "").split())
        state = "expired" if over else "logged_in"
        return cls(state, login.issuer, scopes, login.expires_at, renews)

    @property
    def until(self) -> str:
        """The login in a few words, with the local time."""
        if self.state == "logged_out":
            return "logged out"
        if self.expires_at is None:
            return "by itself" if not self.issuer else "logged in"
        when = datetime.fromtimestamp(self.expires_at).astimezone()  # as the clock on the wall
        today = datetime.now().astimezone().date()
        shown = when.strftime("%H:%M" if when.date() == today else "%Y-%m-%d %H:%M")
        if self.state == "expired":
            return f"expired {shown}"
        return f"renews {shown}" if self.renews else f"until {shown}"

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        at = None
        if self.expires_at is not None:
            at = datetime.fromtimestamp(self.expires_at, UTC).isoformat(timespec="seconds")
        return {
            "state": self.state,
            "issuer": self.issuer or None,
            "scopes": list(self.scopes),
            "expires_at": at,
            "renews": self.renews,
            "reason": self.reason or None,
        }
