"""Checks the table `[servers.NAME.oauth]`: what its types do not express."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

# RFC 6749, section 3.3.
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_OF_CLIENTS = ("client_id", "issuer")
_OF_PERSONS = ("client_metadata_url", "redirect_url")
_HOSTS = ("127.0.0.1", "localhost", "::1")

Wrong = tuple[str, tuple[str | int, ...], str]


def conflicts(fields: Mapping[str, Any]) -> Iterator[Wrong]:
    """What does not fit together in a server with the table, or has a form that cannot work.

    Yields:
        What is wrong, where it is in the server, and how to fix it.
    """
    oauth = fields.get("oauth")
    if not isinstance(oauth, Mapping):
        return
    if fields.get("url") is None:
        yield '"oauth" is for a url, and this server has a command', ("oauth",), ""
    headers = fields.get("headers")
    names = map(str.lower, headers) if isinstance(headers, Mapping) else ()
    if "authorization" in names:
        what = '"oauth" sends the header Authorization, and "headers" has one too'
        yield what, ("oauth",), "remove one of them"
    by_client = oauth.get("flow") == "client_credentials"
    yield from _of_client(oauth) if by_client else _of_person(oauth)
    yield from _forms(oauth)


def _of_client(oauth: Mapping[str, Any]) -> Iterator[Wrong]:
    for name in _OF_CLIENTS:
        if oauth.get(name) is None:
            why = "so that its secret is sent nowhere else" if name == "issuer" else ""
            yield f'flow = "client_credentials" needs "{name}"', ("oauth",), why
    given = [name for name in ("client_secret", "private_key") if oauth.get(name) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        what = f'flow = "client_credentials" needs a client_secret or a private_key, got {got}'
        yield what, ("oauth",), ""
    for name in _OF_PERSONS:
        if oauth.get(name) is not None:
            yield f'"{name}" is for a login by a person', ("oauth", name), ""


def _of_person(oauth: Mapping[str, Any]) -> Iterator[Wrong]:
    for name in ("private_key", "signing_algorithm"):
        if oauth.get(name) is not None:
            hint = 'write flow = "client_credentials"'
            yield f'"{name}" is for a client that logs in by itself', ("oauth", name), hint
    if oauth.get("client_secret") is not None:
        for name in _OF_CLIENTS:
            if oauth.get(name) is None:
                why = "so that it is sent nowhere else" if name == "issuer" else ""
                yield f'"client_secret" needs "{name}"', ("oauth", "client_secret"), why
    if oauth.get("client_id") is not None and oauth.get("client_metadata_url") is not None:
        what = '"client_metadata_url" is used as client_id, and there is a "client_id" too'
        yield what, ("oauth", "client_metadata_url"), "remove one of them"


def _forms(oauth: Mapping[str, Any]) -> Iterator[Wrong]:
    for name in ("issuer", "client_metadata_url", "redirect_url"):
        value = oauth.get(name)
        if isinstance(value, str) and (wanted := _wanted(name, value)):
            yield f"expected {wanted}", ("oauth", name), ""
    scopes = oauth.get("scopes")
    for index, scope in enumerate(scopes if isinstance(scopes, list) else ()):
        if isinstance(scope, str) and not SCOPE.fullmatch(scope):
            yield "expected a scope", ("oauth", "scopes", index), "write each one by itself"


def _wanted(name: str, value: str) -> str:
    """What a URL should be like; empty if it is."""
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:  # not a port, or half an IPv6 address
        return "a URL"
    if name == "issuer":
        fits = bool(url.scheme in ("https", "http") and url.hostname)
        return "" if fits else 'a URL like "https://login.example.com"'
    if name == "client_metadata_url":
        fits = bool(url.scheme == "https" and url.hostname and url.path not in ("", "/"))
        return "" if fits else 'a URL with a path, like "https://example.com/client.json"'
    fits = bool(url.scheme == "http" and url.hostname in _HOSTS and port and not url.query)
    return "" if fits else 'a URL of this machine, like "http://127.0.0.1:8765/callback"'
