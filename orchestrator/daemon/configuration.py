"""What a pool is given of a server: its configuration with everything resolved, and hashes of it.

The hashes have a key that only this user knows, so that nobody learns a secret by guessing it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.servers.config import Server
from orchestrator.transport.process import INHERITED

# The fields of a `Server` that are not settings, but part of what it is.
_OTHERS = ("secrets", "tokens", "unusable")
_UNCOUNTED = (
    "shown",
    "inherited",
    "trust",
    "sensitive",
)  # a run asks its own file for the last two
# Of the variables that each program inherits, those that say where and who this is: the user is the
# same, and whether a variable says so may differ from one terminal to the next.
_OF_USER = frozenset({"TERM", "SHELL", "USER", "LOGNAME"})
_PROXIES = [f"{each}_proxy" for each in ("http", "https", "all", "no")]
# What decides how a URL is reached, and which logins there are for it.
_OF_HTTP = (
    *(*_PROXIES, *map(str.upper, _PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("ORCHESTRATOR_LOGINS", "XDG_STATE_HOME"),
)

Document = dict[str, Any]
Hashes = Mapping[str, str]


def document_of(server: Server, environment: Mapping[str, str] = os.environ) -> Document:
    """All that a pool has to know of a server, as JSON; it has secrets."""
    document = server.model_dump(mode="json")
    document["shown"] = server.shown
    # The pool may have been started with other variables than this process.
    document["inherited"] = {
        name: environment[name] for name in _inherited(document) if name in environment
    }
    return document | {
        name: list(value) if isinstance(value := getattr(server, name), tuple) else value
        for name in _OTHERS
    }


def server_of(document: Mapping[str, Any]) -> Server:
    """The server of a document; its program inherits what `inherit` has set."""
    document = {name: value for name, value in document.items() if name != "inherited"}
    tuples = {name: tuple(document[name]) for name in ("secrets", "tokens")}
    return Server(**{**document, **tuples})


def inherit(documents: Iterable[Mapping[str, Any]]) -> None:
    """Set the variables that all programs inherit as these documents have them."""
    for document in documents:
        for name in _inherited(document):
            if name in document["inherited"]:
                os.environ[name] = document["inherited"][name]
            else:
                os.environ.pop(name, None)


def _inherited(document: Mapping[str, Any]) -> Iterable[str]:
    return _OF_HTTP if document["command"] is None else INHERITED


def hashes_of(document: Mapping[str, Any], key: bytes) -> Hashes:
    """The keyed hash of each field of a document that counts for how its server runs."""
    counts = {name: value for name, value in document.items() if name not in _UNCOUNTED}
    for name, value in document["inherited"].items():
        if name not in _OF_USER:
            counts[name] = value
    return {
        name: hmac.digest(key, f"{name}\0{to_json(value)}".encode(), "sha256").hex()[:32]
        for name, value in counts.items()
    }


def differing(ours: Hashes, theirs: Hashes) -> list[str]:
    """The names of the fields that are not the same."""
    names = dict.fromkeys([*ours, *theirs])
    return [name for name in names if ours.get(name) != theirs.get(name)]
