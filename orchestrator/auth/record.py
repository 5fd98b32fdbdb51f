"""A login as it is kept."""

from __future__ import annotations

from typing import Literal, Self

from mcp.client.auth.oauth2 import OAuthContext
from mcp.client.auth.utils import issuers_match
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.auth.settings import Subject

# A token is renewed before it expires, so that it does not on its way: by that long, or by a tenth
# of what it is good for.
EARLY_S = 30.0


# Of what is kept: a login of another version is neither used nor overwritten.
VERSION = 1
# Registrations that are kept.
MAX_CLIENTS = 4


class Login(BaseModel):
    """What is known of a login. Its `repr` shows nothing of it.

    Attributes:
        url: That of the server.
        issuer: Who gave the tokens; empty before the first.
        client: Who we are to the issuer.
        tokens: None if nobody is logged in.
        expires_at: When the access token expires, seconds since 1970; None if it is unknown.
        lifetime_s: How long it was good for when it was given.
        metadata: What the issuer says of itself; `resource`: what the server says of its issuers.
        wanted: The scopes that the server asked for last, as the protocol writes them.
        described_at: Where the server says that `resource` is; empty for where it usually is.
        ended: Why nobody is logged in any more; empty otherwise.
        registered: Clients that were registered for logins, also for those that failed: the last
            one first. Each has its issuer and where it sends a browser.
        account: A random name for whose it is, as nothing tells whether the next login is somebody
            else's; empty before the first.
        version: Of what is kept.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    issuer: str = ""
    client: OAuthClientInformationFull | None = Field(default=None, repr=False)
    tokens: OAuthToken | None = Field(default=None, repr=False)
    expires_at: float | None = None
    lifetime_s: float | None = None
    metadata: OAuthMetadata | None = Field(default=None, repr=False)
    resource: ProtectedResourceMetadata | None = Field(default=None, repr=False)
    wanted: str = ""
    described_at: str = ""
    ended: str = ""
    registered: tuple[OAuthClientInformationFull, ...] = Field(default=(), repr=False)
    account: str = ""
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return f"Login({self.url!r})"

    __str__ = __repr__

    @property
    def token(self) -> str | None:
        """The access token."""
        return None if self.tokens is None else self.tokens.access_token

    @property
    def refreshes(self) -> bool:
        """Whether there is a token to get another one with."""
        return self.tokens is not None and self.tokens.refresh_token is not None

    def is_stale(self, now: float, *, renews: bool = True) -> bool:
        """Whether its token is of no use, or is about to be and can be renewed."""
        if self.expires_at is None:
            return False
        early_s = EARLY_S if self.lifetime_s is None else min(EARLY_S, self.lifetime_s / 10)
        return now >= self.expires_at - (early_s if renews else 0.0)

    def fits(self, subject: Subject) -> bool:
        """Whether it is for this URL, and of the issuer that the configuration names."""
        wanted = subject.settings.issuer
        of_issuer = not (wanted and self.issuer) or issuers_match(self.issuer, wanted)
        return self.url == subject.url and of_issuer

    def client_for(self, redirect_url: str, now: float) -> OAuthClientInformationFull | None:
        """The client that is registered with a URL, as issuers want it; None if there is none."""
        for client in (*self.registered, *filter(None, [self.client])):
            is_known = redirect_url in map(str, client.redirect_uris or ())
            if is_known and now < (client.client_secret_expires_at or float("inf")):
                return client
        return None

    def with_client(self, client: OAuthClientInformationFull) -> Self:
        """The same with a registration; that of the tokens stays, too."""
        registered = (client, *self.without_client(client).registered)[:MAX_CLIENTS]
        return self.model_copy(update={"registered": registered})

    def without_client(self, client: OAuthClientInformationFull | None) -> Self:
        """The same without a registration that the issuer does not know any more."""
        unknown = None if client is None else client.client_id
        rest = tuple(each for each in self.registered if each.client_id != unknown)
        of_tokens = self.client
        if self.tokens is None and of_tokens is not None and of_tokens.client_id == unknown:
            of_tokens = None
        return self.model_copy(update={"registered": rest, "client": of_tokens})

    def over(self, why: str) -> Self:
        """The same without tokens: what is left of it makes the next login shorter."""
        return self.model_copy(update={"tokens": None, "expires_at": None, "ended": why})

    def after(self, context: OAuthContext, now: float) -> Self:
        """The login with what a provider has got."""
        tokens, metadata = context.current_tokens, context.oauth_metadata
        assert tokens is not None
        lifetime_s = None if tokens.expires_in is None else float(tokens.expires_in)
        return self.model_copy(
            update={
                "issuer": issuer_of(context),
                "client": context.client_info,
                "tokens": tokens,
                "expires_at": None if lifetime_s is None else now + lifetime_s,
                "lifetime_s": lifetime_s,
                "metadata": metadata,
                "resource": context.protected_resource_metadata,
                "wanted": "",
                "ended": "",
            }
        )


def issuer_of(context: OAuthContext) -> str:
    """Who gives the tokens, as far as a provider has found out: at last the origin of the server,
    as servers before 2025-06-18 have it."""
    if context.oauth_metadata is not None:
        return str(context.oauth_metadata.issuer)
    return context.auth_server_url or context.get_authorization_base_url(context.server_url)
