"""Drives the SDK's providers: they say what to send, and read what is answered.

A provider is meant to stand around every request to a server, of which it lets one pass at a time.
Here it only gets the answer that asked for a token, and is left as soon as it has one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.utils import issuers_match
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from orchestrator.auth.record import Login, issuer_of
from orchestrator.auth.requests import Send
from orchestrator.auth.settings import Subject
from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError, within

OnLink = Callable[[str], Awaitable[None]]
OnClient = Callable[[OAuthClientInformationFull], Awaitable[None]]
OnAnswer = Callable[[], Awaitable[AuthorizationCodeResult]]

NAME = "orchestrator"
# The error of RFC 6749 for a client that is not registered, or not any more.
_UNKNOWN = "invalid_client"
# Those that say that there is nothing to renew; GitHub has one of its own.
_ENDED = (
    _UNKNOWN,
    "invalid_grant",
    "invalid_token",
    "unauthorized_client",
    "unsupported_grant_type",
    "bad_refresh_token",
)
# In the past, as the SDK reads it.
EXPIRED = 1.0

# What it logs is in the error that it raises, and there it is without secrets.
logging.getLogger("mcp.client.auth.oauth2").addFilter(lambda _: False)


class Kept:
    """What a provider reads at first, and gives back: no token is stored before the end."""

    def __init__(
        self,
        tokens: OAuthToken | None,
        client: OAuthClientInformationFull | None,
        on_client: OnClient | None = None,
    ) -> None:
        self.tokens, self.client, self._on_client = tokens, client, on_client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info
        if self._on_client is not None:
            await self._on_client(client_info)


def by_person(
    subject: Subject,
    login: Login | None,
    redirect_url: str | None = None,
    on_link: OnLink | None = None,
    on_answer: OnAnswer | None = None,
    on_client: OnClient | None = None,
) -> OAuthClientProvider:
    """A provider for a login by a person; without one, it can only refresh.

    Args:
        subject: To what.
        login: That of before.
        redirect_url: Where the browser is to come back to.
        on_link: Has a person follow a link.
        on_answer: What their browser came back with.
        on_client: Receives a client that was registered, or that describes itself.
    """
    oauth = subject.settings
    redirects = [AnyUrl(redirect_url or "http://127.0.0.1/callback")]
    client = None if login is None else login.client
    if oauth.client_id is not None:
        method = None if oauth.client_secret is None else f"client_secret_{oauth.client_auth}"
        client = OAuthClientInformationFull(
            client_id=oauth.client_id,
            client_secret=oauth.client_secret,
            token_endpoint_auth_method=method or "none",
            redirect_uris=redirects,
            issuer=oauth.issuer,
        )
    return OAuthClientProvider(
        subject.url,
        OAuthClientMetadata(client_name=NAME, redirect_uris=redirects, scope=subject.scope),
        Kept(None if login is None else login.tokens, client, on_client),
        on_link,
        on_answer,
        oauth.client_metadata_url,
    )


def by_client(subject: Subject) -> OAuthClientProvider:
    """A provider that logs in without a person."""
    from jwt import PyJWTError
    from mcp.client.auth.extensions import client_credentials

    oauth = subject.settings
    if oauth.client_id is None or oauth.issuer is None:  # given in Python
        raise NotAuthorizedError("a client without a person needs a client_id and an issuer")
    if oauth.private_key is None:
        if oauth.client_secret is None:
            raise NotAuthorizedError("it needs a client_secret or a private_key")
        return client_credentials.ClientCredentialsOAuthProvider(
            subject.url,
            Kept(None, None),
            oauth.client_id,
            oauth.client_secret,
            "client_secret_basic" if oauth.client_auth == "basic" else "client_secret_post",
            subject.scope,
            oauth.issuer,
        )
    signed = client_credentials.SignedJWTParameters(
        issuer=oauth.client_id,
        subject=oauth.client_id,
        signing_key=oauth.private_key,
        signing_algorithm=oauth.signing_algorithm,
    )
    sign = signed.create_assertion_provider()

    async def assertion(audience: str) -> str:
        try:
            return await sign(audience)
        except (PyJWTError, ValueError, TypeError) as error:  # whose message may show the key
            what = f"its private_key cannot sign with {oauth.signing_algorithm}"
            raise NotAuthorizedError(f"{what} ({type(error).__name__})") from None

    kept = Kept(None, None)
    return client_credentials.PrivateKeyJWTOAuthProvider(
        subject.url, kept, oauth.client_id, assertion, subject.scope, oauth.issuer
    )


async def obtain(
    provider: OAuthClientProvider, refusal: httpx2.Response, send: Send, issuer: str | None
) -> None:
    """Get a token, as an answer of the server asks for it.

    Args:
        provider: Says how; its `context` has the token afterwards.
        refusal: The answer that asks for a token.
        send: Sends the requests of the provider.
        issuer: The only one that may be told anything; None: the one that the server names.

    Raises:
        OAuthFlowError: It was refused, or an answer is not what it has to be.
        NotAuthorizedError: As `send` raises it.
    """
    await _drive(provider, refusal, send, issuer)


async def refresh(provider: OAuthClientProvider, login: Login, send: Send) -> bool:
    """Get a new token with the one that is for that; whether the issuer has given it.

    If the issuer does not know the client any more, the `context` has none afterwards.

    Raises:
        NotAuthorizedError: As `send` raises it; or what answers does not say that it has ended.
    """
    context = provider.context
    context.oauth_metadata, context.protected_resource_metadata = login.metadata, login.resource
    context.token_expiry_time = EXPIRED
    is_unknown = False

    async def send_and_judge(request: httpx2.Request) -> httpx2.Response:
        nonlocal is_unknown
        response, follow = await send(request), None
        if response.next_request is not None and within(response.next_request.url, request.url):
            follow = response.next_request  # which the provider follows, unless there are too many
        if follow is None:
            is_unknown = _ending(response, login.issuer) == _UNKNOWN
        return response

    await _drive(provider, None, send_and_judge, login.issuer)
    if is_unknown:
        context.client_info = None
    return context.is_token_valid()


def _ending(response: httpx2.Response, issuer: str) -> str:
    """The error with which an issuer says that a login has ended; empty if it has renewed it.

    Raises:
        NotAuthorizedError: It says neither: something between us may be to blame, and it stays.
    """
    status = response.status_code
    said = _object_in(response) if status in (200, 400, 401) else {}
    if status == 200 and "access_token" in said:
        return ""
    error = said.get("error")
    if isinstance(error, str) and error in _ENDED:
        return error
    what = f"the issuer {quoted(issuer, 200)} answered HTTP {status}"
    if isinstance(error, str):
        what += f" {quoted(error, 200)}"
    what += " when its login was to be renewed"
    is_refusal = status in (400, 401)
    raise NotAuthorizedError(what, needs_login=is_refusal, retryable=not is_refusal)


def _object_in(response: httpx2.Response) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(said := json.loads(response.content), dict):
            return said
    return {}


async def _drive(
    provider: OAuthClientProvider, refusal: httpx2.Response | None, send: Send, issuer: str | None
) -> None:
    request = httpx2.Request("POST", provider.context.server_url)
    answer = refusal
    async with aclosing(provider.async_auth_flow(request)) as flow:
        outgoing = await anext(flow)
        while True:
            if outgoing is not request:
                if outgoing.method == "POST":
                    _check_issuer(provider, issuer)
                response = await send(outgoing)
            elif answer is not None:
                response, answer = answer, None
            else:
                return
            outgoing = await flow.asend(response)


def _check_issuer(provider: OAuthClientProvider, issuer: str | None) -> None:
    """Refuse to tell another issuer who we are."""
    found = issuer_of(provider.context)
    if issuer is not None and not issuers_match(found, issuer):
        what = (
            f"the server now names the issuer {quoted(found, 200)}, and not {quoted(issuer, 200)}"
        )
        raise OAuthFlowError(what)
