"""Logs in to a server: with a person, or with what the configuration has."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
import httpx2
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull
from mcp.types import LATEST_PROTOCOL_VERSION

from orchestrator.auth import flows
from orchestrator.auth.authorizer import Authorizer
from orchestrator.auth.browser import Browser, PortInUseError, ReadLine
from orchestrator.auth.record import Login
from orchestrator.auth.requests import NewClient, new_client, sent
from orchestrator.auth.settings import Subject
from orchestrator.auth.store import LoginStore, in_thread
from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError

# For a person to log in.
PERSON_S = 600.0
# What issuers say of a client that they do not know, or not any more.
_UNKNOWN = ("invalid_client", "unauthorized_client")
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": LATEST_PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": flows.NAME, "version": "1"},
    },
}
_ACCEPT = "application/json, text/event-stream"


class Person(Protocol):
    """Somebody who logs in.

    Attributes:
        redirect_url: Where the issuer sends their browser afterwards.
    """

    redirect_url: str

    async def open(self, link: str) -> None:
        """Have them follow a link."""

    async def answer(self) -> AuthorizationCodeResult:
        """What their browser came back with.

        Raises:
            NotAuthorizedError: They refused, or brought something else.
        """


async def log_in(
    subject: Subject,
    person: Person | None,
    store: LoginStore | None = None,
    client: NewClient = new_client,
) -> Login:
    """Log in to a server; the login is kept, in place of the one before.

    Args:
        subject: The server.
        person: Who logs in; None for a client that logs in by itself.
        store: Where the login is kept.
        client: Makes a client for requests to the server and its issuer.

    Raises:
        NotAuthorizedError: It failed, and why.
    """
    store = store or LoginStore()
    keeper = _Keeper(subject, store, Authorizer(subject, store, client=client))
    before = await keeper.authorizer.current() or Login(url=subject.url)
    refusal = await _refusal(subject, client)
    known = None if person is None else before.client_for(person.redirect_url, time.time())
    if person is None:
        provider = flows.by_client(subject)
    else:
        afresh = before.model_copy(update={"tokens": None, "client": known})
        asks = person.redirect_url, person.open, person.answer
        provider = flows.by_person(subject, afresh, *asks, keeper.note_client)
    with anyio.move_on_after(PERSON_S):
        try:
            login = await keeper.authorizer.obtained(provider, before, refusal)
        except NotAuthorizedError as error:
            if any(said in str(error) for said in _UNKNOWN):
                client_info = provider.context.client_info
                await keeper.keep(lambda kept: kept.without_client(client_info))
            raise
        return await keeper.keep(
            lambda kept: login.model_copy(
                update={"registered": kept.registered, "account": secrets.token_hex(8)}
            )
        )
    what = f"nobody logged in within {PERSON_S / 60:g} minutes"
    if known is not None:
        forget = f"orchestrator logout {shlex.quote(subject.name)}"
        what += f". If its page did not know the client, run: {forget}"
    raise NotAuthorizedError(what)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Keeps what comes of a login: a registration even if nobody logs in with it."""

    subject: Subject
    store: LoginStore
    authorizer: Authorizer

    async def note_client(self, client: OAuthClientInformationFull) -> None:
        """Keep a registration, to use it again."""
        if client.client_id != self.subject.settings.client_metadata_url:
            await self.keep(lambda kept: kept.with_client(client))

    async def keep(self, change: Callable[[Login], Login]) -> Login:
        """Keep what is made of the login that is kept.

        Raises:
            NotAuthorizedError: It cannot be written.
        """
        async with self.store.locked(self.subject):  # or a renewal could replace it
            try:
                await in_thread(self.store.set_aside, self.subject)
                kept = await self.authorizer.current() or Login(url=self.subject.url)
                login = change(kept)
                await self.authorizer.keep(login)
            except OSError as error:
                what = f"the login cannot be kept in {quoted(self.store.kind, 200)}: {error}"
                raise NotAuthorizedError(what) from None
        return login


async def _refusal(subject: Subject, client: NewClient) -> httpx2.Response:
    """What the server answers to who is not logged in, which says where to log in.

    One that answers as if nothing were missing may still want a login for more.
    """
    headers = {"Accept": _ACCEPT, "MCP-Protocol-Version": LATEST_PROTOCOL_VERSION}
    request = httpx2.Request("POST", subject.url, json=_HELLO, headers=headers)
    async with client() as opened:
        response = await sent(opened, subject.url, request)
    return response if response.status_code == 401 else httpx2.Response(401)


@asynccontextmanager
async def in_browser(
    subject: Subject,
    show: Callable[[str], None],
    store: LoginStore | None = None,
    read: ReadLine | None = None,
) -> AsyncIterator[Browser]:
    """A person with a browser, who comes back to where the last one did, if that is free.

    Args:
        subject: What they log in to.
        show: Receives the link.
        store: Where logins are kept.
        read: The next line of a terminal, for a browser on another machine; None without one.

    Raises:
        PortInUseError: The configuration names a port, and it is not free.
    """
    if (wanted := subject.settings.redirect_url) is None:
        login = await Authorizer(subject, store).current()
        known = () if login is None else filter(None, (*login.registered[:1], login.client))
        for url in [str(url) for client in known for url in (client.redirect_uris or ())[:1]][:1]:
            try:
                async with Browser.listening(url, show, read) as browser:
                    yield browser
                    return
            except PortInUseError:
                break  # an issuer that checks it gets another one
    async with Browser.listening(wanted, show, read) as browser:
        yield browser
