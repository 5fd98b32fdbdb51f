"""Has the tokens of one server, and renews them: once for all calls, sessions and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import AnyStr

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.utils import (
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    union_scopes,
)

from orchestrator.auth import flows
from orchestrator.auth.checks import SCOPE
from orchestrator.auth.record import Login
from orchestrator.auth.requests import NewClient, new_client, sent
from orchestrator.auth.settings import Subject
from orchestrator.auth.store import LoginStore, in_thread
from orchestrator.auth.vaults import UnusableLoginError
from orchestrator.documents.text import cut, visible
from orchestrator.transport.authorization import NotAuthorizedError

HIDDEN = "***"
# A renewal is not broken off by a call that gives up: a token that was used up for an answer that
# nobody has read would be the end of the login. So it has a bound of its own.
RENEWAL_S = 30.0
MAX_SAID = 500
# Tokens of before may still come back in what a server sends.
REMEMBERED = 4

Forms = Callable[[Iterable[str]], Iterable[str]]


class Authorizer:
    """The tokens of a server.

    Args:
        subject: The server.
        store: Where its login is kept.
        forms: All forms in which a text could come back from the server.
        learn: Receives each token, in all its forms, to keep it out of logs.
        client: Makes a client for requests to issuers.
    """

    def __init__(
        self,
        subject: Subject,
        store: LoginStore | None = None,
        forms: Forms = tuple,
        learn: Callable[[Iterable[str]], None] = lambda _: None,
        client: NewClient = new_client,
    ) -> None:
        self.subject = subject
        self._store = store or LoginStore()
        self._forms, self._learn, self._client = forms, learn, client
        self._login: Login | None = None
        self._unusable = ""  # why the login that is kept is none
        self._changes = -1  # of the login, when it was read; before that, none
        self._known: dict[str, tuple[str, ...]] = {}  # the forms of each token
        self._turn = anyio.Lock()

    def __repr__(self) -> str:
        return f"Authorizer({self.subject.name!r})"

    async def token(self) -> str | None:
        """The token to send: a new one if that of before is about to expire.

        Raises:
            NotAuthorizedError: There is none any more.
        """
        if self._changes != self._store.changes(self.subject):  # as after a logout elsewhere
            await self._load()
        login = self._login
        if login is None or login.tokens is None or not self._is_stale(login):
            return None if login is None else login.token
        return await self._renewed(login.token, None)

    async def renewed(self, sent: str | None, refusal: httpx2.Response) -> str:
        """A token in place of one that the server has refused.

        Raises:
            NotAuthorizedError: There is none.
        """
        return await self._renewed(sent, refusal)

    def hide(self, said: AnyStr) -> AnyStr:
        """What the server has sent, without the tokens that were sent to it."""
        for forms in self._known.values():
            for form in forms:
                if isinstance(said, bytes):
                    said = said.replace(form.encode(), HIDDEN.encode())
                else:
                    said = said.replace(form, HIDDEN)
        return said

    async def _renewed(self, sent: str | None, refusal: httpx2.Response | None) -> str:
        async with self._turn, self._store.locked(self.subject):
            await self._load()  # another call or process may have been first
            login = self._login
            if login is not None and login.token not in (None, sent):
                assert login.token is not None
                if not self._is_stale(login):
                    return login.token
            with anyio.CancelScope(shield=True), anyio.move_on_after(RENEWAL_S):
                with suppress(OSError):  # which was said where it was to be locked
                    await self._renew(login or Login(url=self.subject.url), refusal)
                assert self._login is not None
                assert self._login.token is not None
                return self._login.token
        what = f"its login was not renewed within {RENEWAL_S:g} s"
        raise NotAuthorizedError(what, retryable=True)

    def _is_stale(self, login: Login) -> bool:
        renews = login.refreshes or self.subject.settings.flow == "client_credentials"
        return login.is_stale(time.time(), renews=renews)

    async def _renew(self, login: Login, refusal: httpx2.Response | None) -> None:
        """Renew a login, in which nobody takes part.

        Raises:
            NotAuthorizedError: A person has to, or it failed.
        """
        if self.subject.settings.flow == "client_credentials":
            await self._renew_by_client(login, refusal)
            return
        lacks = refusal is not None and refusal.status_code == 403
        unusable = f"its login cannot be used: {self._unusable}" if self._unusable else ""
        why, keeps = login.ended or unusable or "it wants a login", lacks
        if lacks:
            why = "it wants more rights than its login has"
        elif login.refreshes:
            provider = flows.by_person(self.subject, login)
            async with self._client() as client:
                if await flows.refresh(provider, login, partial(sent, client, self.subject.url)):
                    await self.keep(login.after(provider.context, time.time()))
                    return
            why = "its login has ended, and cannot be renewed"
            if provider.context.client_info is None:
                login = login.over(why).without_client(login.client)
        elif login.tokens is not None:
            keeps = refusal is not None and not _is_invalid(refusal)
            why = "it refuses its login, which is kept" if keeps else "its login has ended"
        if not keeps:
            login = login.over(why if login.tokens is not None else login.ended)
        with suppress(OSError):
            await self.keep(noting(login, refusal))
        raise NotAuthorizedError(why, needs_login=True)

    async def _renew_by_client(self, login: Login, refusal: httpx2.Response | None) -> None:
        if self._unusable:  # nobody else's, and the next one needs no person
            with suppress(OSError):  # then it is kept in memory
                await in_thread(self._store.set_aside, self.subject)
            await self._load()
        provider = flows.by_client(self.subject)
        await self.keep(await self.obtained(provider, login, refusal or httpx2.Response(401)))

    async def obtained(
        self, provider: OAuthClientProvider, login: Login, refusal: httpx2.Response
    ) -> Login:
        """A login with its first token, or one with more rights; it is not kept yet.

        Raises:
            NotAuthorizedError: There is none, and why.
        """
        asked = asking(self.subject, login, refusal)
        issuer = self.subject.settings.issuer
        try:
            async with self._client() as client:
                send = partial(sent, client, self.subject.url)
                await flows.obtain(provider, asked, send, issuer)
        except OAuthFlowError as error:
            raise NotAuthorizedError(self._said(error)) from None
        return login.after(provider.context, time.time())

    def _said(self, error: Exception) -> str:
        """What a provider or an issuer says, without secrets."""
        text = str(error)
        for form in self._forms(self.subject.settings.secrets):
            text = text.replace(form, HIDDEN)
        return visible(cut(self.hide(text), MAX_SAID))

    async def current(self) -> Login | None:
        """The login as it is kept now."""
        await self._load()
        return self._login

    async def _load(self) -> None:
        changes, login = self._store.changes(self.subject), None
        self._unusable = ""
        try:
            login = await in_thread(self._store.read, self.subject)
        except UnusableLoginError as error:
            self._unusable = str(error)
        self._take(login)
        self._changes = changes

    async def keep(self, login: Login) -> None:
        """Keep a login in place of the one before, by who has the lock of the store.

        One that cannot be used is left as it is.

        Raises:
            OSError: It cannot be written; it is used in this process all the same.
        """
        if login != self._login:
            self._take(login)
            if not self._unusable:
                await in_thread(self._store.write, self.subject, login)

    def _take(self, login: Login | None) -> None:
        self._login = login
        if login is None or login.tokens is None:
            return
        for token in filter(None, (login.tokens.access_token, login.tokens.refresh_token)):
            if token not in self._known:
                self._known[token] = tuple(self._forms([token]))
                self._learn(self._known[token])
        for old in list(self._known)[:-REMEMBERED]:
            del self._known[old]


def _is_invalid(refusal: httpx2.Response) -> bool:
    """Whether a server says that the token has expired or is wrong, and not only that it is not
    taken: behind a proxy that is ill, a good one is refused, too."""
    return extract_field_from_www_auth(refusal, "error") == "invalid_token"


def noting(login: Login, refusal: httpx2.Response | None) -> Login:
    """The login, with what the server asks for: the next one asks the issuer for that."""
    if refusal is None:
        return login
    given = (extract_scope_from_www_auth(refusal) or "").split()
    scope = " ".join(each for each in given if SCOPE.fullmatch(each))
    if refusal.status_code == 403:
        scope = union_scopes(login.wanted or _granted(login), scope) or ""
    where = extract_resource_metadata_from_www_auth(refusal) or login.described_at
    update = {"wanted": scope or login.wanted, "described_at": where}
    return login.model_copy(update=update)


def asking(subject: Subject, login: Login, refusal: httpx2.Response) -> httpx2.Response:
    """The answer of a server as a provider is to see it: it asks for all scopes that are wanted.

    A provider adds to scopes only if it is the one that had asked for the others.
    """
    noted = noting(login, refusal)
    scope = union_scopes(union_scopes(login.wanted, noted.wanted), subject.scope)
    parts = [f'scope="{scope}"'] if scope else []
    if noted.described_at:
        parts.append(f'resource_metadata="{noted.described_at}"')
    return httpx2.Response(401, headers={"www-authenticate": f"Bearer {', '.join(parts)}"})


def _granted(login: Login) -> str | None:
    return None if login.tokens is None else login.tokens.scope
