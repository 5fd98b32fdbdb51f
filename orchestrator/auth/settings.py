"""How to log in to a server, as the table `[servers.NAME.oauth]` says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
SECRETS = ("client_secret", "private_key")


class OAuth(BaseModel):
    """The settings of a login; all of them have defaults that suit most servers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    flow: Literal["login", "client_credentials"] = "login"
    client_id: Text | None = None
    client_secret: Text | None = Field(default=None, repr=False)
    client_auth: Literal["basic", "post"] = "basic"
    client_metadata_url: Text | None = None
    private_key: Text | None = Field(default=None, repr=False)
    signing_algorithm: Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"] = (
        "RS256"
    )
    issuer: Text | None = None
    scopes: list[Text] = Field(default_factory=list)
    redirect_url: Text | None = None

    @property
    def secrets(self) -> Iterator[str]:
        """What no message shows."""
        yield from filter(None, (self.client_secret, self.private_key))


OAUTH_FIELDS = tuple(OAuth.model_fields)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose login, to what.

    Attributes:
        name: The server, as the configuration calls it: two names can be two accounts.
        url: Its URL; a token is for no other.
        settings: How to log in.
    """

    name: str
    url: str
    settings: OAuth = field(default_factory=OAuth)

    @property
    def key(self) -> str:
        """What the login is kept under: with another URL or client, it is another one."""
        oauth = self.settings
        client = oauth.client_id or oauth.client_metadata_url
        told = json.dumps([self.name, self.url, oauth.flow, client, oauth.issuer])
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    @property
    def scope(self) -> str | None:
        """The scopes that are always asked for, as the protocol writes them."""
        return " ".join(self.settings.scopes) or None
