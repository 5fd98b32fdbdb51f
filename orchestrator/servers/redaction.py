"""What may be shown of how a server is reached, and what may not.

The rule of this file: it decides by names and places (an option called --token, the user and the
query of a URL) and by the values that it is told; nothing here reads a file or the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"
# A shorter text than this stands in ordinary words too: hiding it would tell more than it hides.
SHORTEST_SECRET = 4

_SECRET_NAME = re.compile(r"(?i)(key|token|secret|passw|auth|credential|bearer)")
_NAMED = re.compile(r"(-{0,2}[\w.-]+)(=|:\s+)(.*)", re.DOTALL)
_VARIABLES_ONLY = re.compile(r"(Bearer |Basic )?(\$\{[^}]*\})+")
_URL = re.compile(r"([A-Za-z][\w+.-]*://)(?:([^/?#@\s]*)@)?([^?#\s]*)(?:\?([^#\s]*))?(#\S*)?")


def description(fields: Mapping[str, Any]) -> str:
    """What a server is started with, for messages: as its fields have it, secrets redacted."""
    if url := fields.get("url"):
        return _shown_urls(str(url))
    if command := fields.get("command"):
        args = fields.get("args")
        return " ".join([str(command), *_shown(args if isinstance(args, list) else [])])
    return ""


def secrets_of(
    *, url: str | None, args: Sequence[str], env: Mapping[str, str], headers: Mapping[str, str]
) -> Iterator[str]:
    """The secrets that the fields of a server hold, as far as their names and places tell."""
    for text in (url or "", *args, *env.values()):
        yield from _url_secrets(text)
    for _, secret in _words(args):
        yield secret
    for name, value in env.items():
        if _SECRET_NAME.search(name):
            yield value
    for value in headers.values():
        yield value
        yield value.partition(" ")[2]  # without the scheme, such as Bearer


def hideable(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that are long enough to be told from other text; the longest first."""
    texts = {text for secret in secrets for text in (secret, secret.strip())}
    return tuple(sorted({text for text in texts if len(text) >= SHORTEST_SECRET}, key=_longest))


def _longest(text: str) -> tuple[int, str]:
    return -len(text), text


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """A JSON value without the secrets, in whatever text of it they stand."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, HIDDEN)
        case dict():
            return {redact(name, secrets): redact(item, secrets) for name, item in value.items()}
        case list() | tuple():
            return [redact(item, secrets) for item in value]
    return value


def _shown(args: Sequence[Any]) -> Iterator[str]:
    for shown, _ in _words([str(arg) for arg in args]):
        yield _shown_urls(shown)


def _words(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each argument as it may be shown, and the secret that is in it, if any."""
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
    """A secret as it may be shown: the names of variables are none."""
    return value if _VARIABLES_ONLY.fullmatch(value) else HIDDEN


def _shown_urls(text: str) -> str:
    return _URL.sub(lambda url: url[1] + url[3], text)


def _url_secrets(text: str) -> Iterator[str]:
    for url in _URL.finditer(text):
        yield url[2] or ""
        yield (url[2] or "").partition(":")[2]
        for pair in (url[4] or "").split("&"):
            yield pair.partition("=")[2]
