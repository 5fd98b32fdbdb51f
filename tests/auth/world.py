"""A server that wants a login, its issuer, and a person with a browser, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from anyio.abc import SocketStream
from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.auth.browser import result_of
from orchestrator.auth.requests import new_client
from orchestrator.auth.settings import OAuth, Subject
from orchestrator.auth.store import LoginStore
from tests.http_server import BROKEN, LEGACY_PROTOCOL, listening, received_text

Json = dict[str, Any]
Answer = tuple[int, Any, dict[str, str]]
# What no log, journal, error or output may contain.
SECRET = "hUsHhUsH"


@dataclass
class Request:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def query(self) -> dict[str, str]:
        return {name: each[0] for name, each in parse_qs(urlsplit(self.path).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: each[0] for name, each in parse_qs(self.body).items()}

    @property
    def json(self) -> Json:
        message: Json = json.loads(self.body) if self.body else {}
        return message


@dataclass
class World:
    """A server at `url` and its issuer at `issuer`.

    Attributes:
        tokens: The access tokens that are good, each with its scopes.
        refreshes: The refresh tokens that are good.
        expires_in: What the issuer says of its access tokens, seconds.
        codes: The links that were followed, by the code that they led to.
        asked: What the issuer was asked for, by path, in order.
        came: The requests that the server got.
        down: The status with which the issuer answers all; 0: it works.
        unknown: The error with which the issuer refuses all refresh tokens.
        away: Where the issuer sends requests for tokens.
        denies: The error that the issuer sends a browser back with.
        scope: What the server wants, as its challenge says.
        wants_more: The tools that want more scopes, with these.
        gives_refresh: Whether the issuer gives refresh tokens.
        says: What the issuer answers all refresh tokens with: a status, and a body.
        revokes: The answer to revocations: a status, and a body; None: they are not offered.
        blames: The error that the server gives in its challenge; empty: none.
        named: The issuer that the server names; None: `issuer`.
        elsewhere: Where the server redirects calls of `moved` to.
    """

    url: str = ""
    issuer: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    refreshes: set[str] = field(default_factory=set)
    expires_in: int | None = 3600
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    came: list[Request] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    down: int = 0
    unknown: str = ""
    away: str = ""
    denies: str = ""
    scope: str = "read"
    wants_more: dict[str, str] = field(default_factory=dict)
    gives_refresh: bool = True
    says: tuple[int, Any] | None = None
    revokes: tuple[int, Any] | None = None
    blames: str = ""
    named: str | None = None
    elsewhere: str = ""
    count: int = 0
    before_token: Callable[[], Any] | None = None

    def revoke(self) -> None:
        """End all tokens, as an issuer can at any time."""
        self.tokens.clear()

    def count_of(self, grant: str) -> int:
        """How often tokens were asked for in a way."""
        return sum(form.get("grant_type") == grant for form in self.forms)

    def give(self, scope: str) -> Json:
        """A new token."""
        self.count += 1
        access, fresh = f"access-{SECRET}-{self.count}", f"refresh-{SECRET}-{self.count}"
        self.tokens[access] = scope
        given: Json = {"access_token": access, "token_type": "Bearer", "scope": scope}
        if self.expires_in is not None:
            given["expires_in"] = self.expires_in
        if self.gives_refresh:
            self.refreshes.add(fresh)
            given["refresh_token"] = fresh
        return given

    async def issue(self, request: Request) -> Answer:
        """The answer of the issuer."""
        path = urlsplit(request.path).path
        self.asked.append(path)
        if self.down:
            return self.down, {"error": "down"}, {}
        match path:
            case "/.well-known/oauth-authorization-server":
                return 200, self._metadata(), {}
            case "/register":
                client = {"client_id": f"client-{len(self.asked)}"}
                return 201, {**request.json, **client}, {}
            case "/authorize":
                return self._authorize(request.query)
            case "/revoke" if self.revokes is not None:
                self.forms.append(request.form | _basic(request))
                status, body = self.revokes
                known = request.form["token_type_hint"] != body
                if status == 200 and known:
                    self.tokens.pop(request.form["token"], None)
                    self.refreshes.discard(request.form["token"])
                    return 200, None, {}
                error = "unsupported_token_type" if status == 200 else body
                return 400 if status == 200 else status, {"error": error}, {}
            case "/token":
                self.forms.append(request.form | _basic(request))
                if self.before_token is not None:
                    await self.before_token()
                return self._token(request.form)
        return 404, None, {}

    def _metadata(self) -> Json:
        names = {"authorization": "authorize", "token": "token", "registration": "register"}
        names |= {} if self.revokes is None else {"revocation": "revoke"}
        return {
            "issuer": self.issuer,
            **{f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in names.items()},
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": True,
        }

    def _authorize(self, query: dict[str, str]) -> Answer:
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        told = {"error": self.denies} if self.denies else {"code": code}
        back = urlencode({**told, "state": query["state"]})
        return 302, None, {"location": f"{query['redirect_uri']}?{back}"}

    def _token(self, form: dict[str, str]) -> Answer:
        if self.away:
            return 307, None, {"location": self.away}
        match form["grant_type"]:
            case "refresh_token" if self.says is not None:
                return *self.says, {}
            case "refresh_token" if self.unknown:
                return 401, {"error": self.unknown}, {}
            case "authorization_code" if form.get("code") in self.codes:
                query = self.codes.pop(form["code"])
                assert query["redirect_uri"] == form["redirect_uri"]
                return 200, self.give(query.get("scope", "")), {}
            case "refresh_token" if form.get("refresh_token") in self.refreshes:
                self.refreshes.remove(form["refresh_token"])  # each is good for one time
                return 200, self.give(self.scope), {}
            case "client_credentials":
                return 200, self.give(form.get("scope", "")), {}
        return 400, {"error": "invalid_grant"}, {}

    async def serve(self, request: Request) -> Answer:
        """The answer of the server."""
        self.came.append(request)
        path = urlsplit(request.path).path
        if path.startswith("/.well-known/oauth-protected-resource"):
            named = self.named or self.issuer
            return 200, {"resource": self.url, "authorization_servers": [named]}, {}
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        message = request.json
        if token not in self.tokens:
            return self._challenge(401, self.scope, token)
        if request.method != "POST":
            return 405, None, {}
        tool = message.get("params", {}).get("name", "")
        wanted = self.wants_more.get(tool, "")
        if not set(wanted.split()) <= set(self.tokens[token].split()):
            return self._challenge(403, wanted, token)
        if tool == "moved":
            return 307, None, {"location": self.elsewhere}
        if "id" not in message:
            return 202, None, {}
        return 200, _mcp(message, token), {}

    def _challenge(self, status: int, scope: str, token: str) -> Answer:
        described = self.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
        told = f'Bearer scope="{scope}", resource_metadata="{described}"'
        blames = "insufficient_scope" if status == 403 else self.blames
        told += f', error="{blames}"' if blames else ""
        # Some servers say what they have got.
        return status, {"error": f"not good enough: {token}"}, {"www-authenticate": told}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Serve both until the block ends."""
        async with served(self.serve) as server, served(self.issue) as issuer:
            self.url, self.issuer = f"{server}/mcp", issuer
            yield self

    def subject(self, **settings: Any) -> Subject:
        """Whose login the tests are about."""
        return Subject("it", self.url, OAuth(**settings))


def _mcp(message: Json, token: str) -> Json:
    params = message.get("params", {})
    match message["method"]:
        case "initialize":
            info = {"name": "it", "version": "1"}
            result: Json = {"protocolVersion": LEGACY_PROTOCOL, "capabilities": {"tools": {}}}
            result["serverInfo"] = info
        case "tools/list":
            hints = {"readOnlyHint": True}
            names = ("echo", "leak", "write", "moved")
            tools = [
                {"name": name, "inputSchema": {"type": "object"}, "annotations": hints}
                for name in names
            ]
            result = {"tools": tools}
        case "tools/call":
            value = token if params["name"] == "leak" else params["arguments"]
            result = {"content": [], "structuredContent": {"value": value}}
        case _:
            error = {"code": -32601, "message": "Method not found"}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def _basic(request: Request) -> dict[str, str]:
    header = request.headers.get("authorization")
    return {} if header is None else {"authorization": header}


@asynccontextmanager
async def served(answer: Callable[[Request], Any]) -> AsyncIterator[str]:
    """A URL at which requests are answered while the block lasts."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with suppress(*BROKEN):
                status, body, headers = await answer(Request(*await received_text(stream)))
                text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
                lines = {"content-type": "application/json", **headers}
                lines |= {"content-length": str(len(text)), "connection": "close"}
                head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
                await stream.send(f"HTTP/1.1 {status} Said\r\n{head}\r\n{text}".encode())

    async with listening(serve) as url:
        yield url


class Visitor:
    """A person who follows each link."""

    redirect_url = "http://127.0.0.1:1/callback"

    def __init__(self) -> None:
        self.links: list[str] = []
        self.location = ""

    async def open(self, link: str) -> None:
        self.links.append(link)
        async with new_client() as client:
            self.location = (await client.get(link)).headers["location"]

    async def answer(self) -> AuthorizationCodeResult:
        return result_of(self.location)


def store_in(path: Path) -> LoginStore:
    """A store of files."""
    return LoginStore(path / "logins")
