"""Hides secrets in what is shown of a server.

Secrets are found by name (an option `--token`), by place (user and query of a URL), or given.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"
# A shorter text occurs in ordinary words: hiding it there would reveal it.
SHORTEST_SECRET = 4

_SECRET_NAME = re.compile(r"(?i)(key|token|secret|passw|auth|credential|bearer)")
_NAMED = re.compile(r"(-{0,2}[\w.-]+)(=|:\s+)(.*)", re.DOTALL)
_VARIABLES_ONLY = re.compile(r"(Bearer |Basic )?(\$\{[^}]*\})+")
_URL = re.compile(r"([A-Za-z][\w+.-]*://)(?:([^/?#@\s]*)@)?([^?#\s]*)(?:\?([^#\s]*))?(#\S*)?")


def description(fields: Mapping[str, Any]) -> str:
    """The command or URL in the fields of a server, without secrets; empty for neither."""
    if url := fields.get("url"):
        return _shown_urls(str(url))
    if command := fields.get("command"):
        args = fields.get("args")
        words = map(str, args) if isinstance(args, list) else ()
        return " ".join([str(command), *(_shown_urls(shown) for shown, _ in _words(words))])
    return ""


def shown_fields(fields: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """The fields of a server without secrets, as messages and lines may show them.

    Nothing is shown of a field that is not `known`: it may be a secret under another name.
    """

    def shown(field: str, value: Any) -> Any:
        match field, value:
            case "args", list():
                words = [word for word, _ in _words(map(str, value))]
                return [
                    _shown_urls(word) if isinstance(item, str) else item
                    for word, item in zip(words, value, strict=True)
                ]
            case "args", str():
                return " ".join(_shown_urls(word) for word, _ in _words(value.split()))
            case "url", str():
                return _shown_urls(value)
            case (("env" | "headers"), _):
                return _without_text(value)
        return value if field in known else _without_text(value)

    return {field: shown(field, value) for field, value in fields.items()}


def _without_text(value: Any) -> Any:
    match value:
        case str():
            return _hidden(value)
        case list():
            return [_without_text(item) for item in value]
        case dict():
            return {name: _without_text(item) for name, item in value.items()}
    return value


def secrets_of(
    *, url: str | None, args: Sequence[str], env: Mapping[str, str], headers: Mapping[str, str]
) -> Iterator[str]:
    """The secrets in the fields of a server, by their names and places."""
    for text in (url or "", *args, *env.values()):
        yield from _url_secrets(text)
    yield from (secret for _, secret in _words(args))
    yield from (value for name, value in env.items() if _SECRET_NAME.search(name))
    for value in headers.values():
        yield value
        yield value.partition(" ")[2]  # without the scheme, such as Bearer


def hideable(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that are long enough to hide, the longest first."""
    texts = {text for secret in secrets for text in (secret, secret.strip())}
    long = {text for text in texts if len(text) >= SHORTEST_SECRET}
    return tuple(sorted(long, key=lambda text: (-len(text), text)))


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """A JSON value with the secrets hidden in every string and property name."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, HIDDEN)
        case dict():
            return {redact(name, secrets): redact(item, secrets) for name, item in value.items()}
        case list() | tuple():
            return [redact(item, secrets) for item in value]
    return value


def _words(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each argument as it may be shown, with the secret in it, or an empty string."""
    after_secret_option = False
    for word in args:
        named = _NAMED.fullmatch(word)
        if after_secret_option and not word.startswith("-"):
            yield _hidden(word), word
        elif named and _SECRET_NAME.search(named[1]):
            yield named[1] + named[2] + _hidden(named[3]), named[3]
        else:
            yield word, ""
        after_secret_option = bool(word.startswith("-") and not named and _SECRET_NAME.search(word))


def _hidden(value: str) -> str:
    """A secret as it may be shown: names of variables are not secret."""
    return value if _VARIABLES_ONLY.fullmatch(value) else HIDDEN


def _shown_urls(text: str) -> str:
    return _URL.sub(lambda url: url[1] + url[3], text)


def _url_secrets(text: str) -> Iterator[str]:
    for url in _URL.finditer(text):
        yield url[2] or ""
        yield (url[2] or "").partition(":")[2]
        for pair in (url[4] or "").split("&"):
            yield pair.partition("=")[2]
