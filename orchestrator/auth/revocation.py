"""Tells an issuer that tokens are not needed any more, as RFC 7009 has it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
from mcp.client.auth import OAuthTokenError

from orchestrator.auth import flows
from orchestrator.auth.record import Login
from orchestrator.auth.requests import MAX_SAID, NewClient, new_client, sent
from orchestrator.auth.settings import Subject
from orchestrator.documents.text import cut, quoted
from orchestrator.transport.authorization import NotAuthorizedError

_OTHER_TYPE = "unsupported_token_type"


@dataclass(frozen=True, slots=True)
class Revocation:
    """What became of the tokens of a login that is over.

    Attributes:
        done: Whether the issuer has revoked them.
        said: The same in words.
    """

    done: bool
    said: str


async def revoke(subject: Subject, login: Login, client: NewClient = new_client) -> Revocation:
    """Have an issuer revoke the tokens of a login, if it offers that; it never fails.

    Args:
        subject: What the login was to.
        login: The login, with its tokens.
        client: Makes a client for requests to issuers.
    """
    issuer = quoted(login.issuer, MAX_SAID)
    endpoint = None if login.metadata is None else login.metadata.revocation_endpoint
    if endpoint is None:
        what = f"its issuer {issuer} offers no revocation, so its tokens are good until they expire"
        return Revocation(False, what)
    try:
        async with client() as opened:
            why = await _revoke(subject, login, str(endpoint), opened)
    except (NotAuthorizedError, OAuthTokenError) as error:
        why = cut(str(error), MAX_SAID)
    if why:
        what = f"its issuer {issuer} has not revoked its tokens, which are good until they expire"
        return Revocation(False, f"{what}: {why}")
    return Revocation(True, f"its issuer {issuer} has revoked its tokens")


async def _revoke(subject: Subject, login: Login, endpoint: str, client: httpx2.AsyncClient) -> str:
    """Why tokens were not revoked; empty if they were."""
    context = flows.by_person(subject, login).context
    context.client_info = await context.storage.get_client_info()
    assert login.tokens is not None
    # With the first, issuers usually revoke the second, too; some know only one kind.
    tokens = {"refresh_token": login.tokens.refresh_token, "access_token": login.token}
    done, why = False, ""
    for kind, token in tokens.items():
        if token is None:
            continue
        form = {"token": token, "token_type_hint": kind}
        if context.client_info is not None:
            form["client_id"] = context.client_info.client_id
        form, headers = context.prepare_token_auth(form, {})
        request = httpx2.Request("POST", endpoint, data=form, headers=headers)
        response = await sent(client, subject.url, request)
        if response.status_code == 200:
            done = True
        elif response.status_code != 400 or _OTHER_TYPE not in response.text:
            return f"it answered HTTP {response.status_code}"
        else:
            why = f"it answered {_OTHER_TYPE}"
    return "" if done else why
