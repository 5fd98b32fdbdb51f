"""Hides secrets in what is shown of a server.

Secrets are found by name (an option `--token`), by place (user and query of a URL), or given.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, quote_plus

from orchestrator.documents.text import visible

HIDDEN = "***"
# A shorter text occurs in ordinary words: hiding it there would reveal it.
SHORTEST_SECRET = 4
# A text that was cut may end, or begin, within a secret: that many characters of it are hidden.
SHORTEST_PART = 6
CUT = "..."

# The fields of the table `oauth` that are no secrets.
OAUTH_SHOWN = frozenset(
    (
        *("flow", "client_id", "client_auth", "client_metadata_url", "signing_algorithm"),
        *("issuer", "scopes", "redirect_url"),
    )
)
SECRET_NAME = re.compile(r"(?i)(key|token|secret|passw|auth|credential|bearer)")
_NAMED = re.compile(r"(-{0,2}[\w.-]+)(=|:\s+)(.*)", re.DOTALL)
_VARIABLES_ONLY = re.compile(r"(Bearer |Basic )?(\$\{[^}]*\})+")
# A scheme has a bound, or a long argument without one would take quadratic time.
_URL = re.compile(r"([A-Za-z][\w+.-]{0,30}://)(?:([^/?#@\s]*)@)?([^?#\s]*)(?:\?([^#\s]*))?(#\S*)?")


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
            case "oauth", dict():
                return {
                    name: each if name in OAUTH_SHOWN else _without_text(each)
                    for name, each in value.items()
                }
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
    *,
    url: str | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] = MappingProxyType({}),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """The secrets in the fields of a server, by their names and places."""
    for text in (url or "", *args, *env.values()):
        yield from _url_secrets(text)
    yield from (secret for _, secret in _words(args))
    yield from (value for name, value in env.items() if SECRET_NAME.search(name))
    for value in headers.values():
        yield value
        yield value.partition(" ")[2]  # without the scheme, such as Bearer


def hideable(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that are long enough to hide, the longest first."""
    texts = {text for secret in secrets for text in (secret, secret.strip())}
    long = {text for text in texts if len(text) >= SHORTEST_SECRET}
    return tuple(sorted(long, key=lambda text: (-len(text), text)))


def forms_of(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as they are, and as JSON, Python, URLs and base64 write them; the longest first."""
    return hideable(form for secret in hideable(secrets) for form in _forms(secret))


def named_forms(name: str, secrets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The same by name: another secret in the same place has the same names."""
    forms = (form for text in secrets for each in (text, text.strip()) for form in _forms(each))
    for number, form in enumerate(forms):
        if len(form) >= SHORTEST_SECRET:
            yield (f"{name}#{number}" if number else name), form


def _forms(secret: str) -> Iterator[str]:
    yield secret
    for as_json in (
        json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)
    ):
        yield as_json
        yield json.dumps(as_json)[1:-1]  # JSON text as a string in JSON
    yield repr(secret)[1:-1]
    yield visible(secret)
    raw = secret.encode("utf-8", "surrogatepass")
    for url in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield url
        yield re.sub("%..", lambda found: found[0].lower(), url)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode()
        # Within a longer text, such as the password in `user:password`, a secret begins at any of
        # the three bytes that share four letters; only letters that it fills itself are known.
        for before in range(3) if len(raw) >= SHORTEST_PART else ():
            letters = encode(bytes(before) + raw).decode()
            yield letters[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]


def redact(value: Any, forms: Iterable[str], *, cut: bool = False) -> Any:
    """A JSON value with the secrets hidden in every string and property name.

    Args:
        value: A JSON value.
        forms: The secrets, as `forms_of` gives them.
        cut: Whether to hide a part of a secret as well where a text was cut: at its beginning and
            end, and beside `...`.
    """
    match value:
        case str():
            for form in forms:
                if form in value:
                    value = value.replace(form, HIDDEN)
                if cut and (form[:SHORTEST_PART] in value or form[-SHORTEST_PART:] in value):
                    value = _without_parts(value, form)
        case dict():
            return {
                redact(name, forms, cut=cut): redact(item, forms, cut=cut)
                for name, item in value.items()
            }
        case list() | tuple():
            return [redact(item, forms, cut=cut) for item in value]
    return value


def _without_parts(text: str, secret: str) -> str:
    """A text without the parts of a secret that a cut has left."""
    pieces = text.split(CUT)
    for index, piece in enumerate(pieces):
        for length in range(min(len(secret) - 1, len(piece)), SHORTEST_PART - 1, -1):
            if piece.endswith(secret[:length]):
                piece = piece[:-length] + HIDDEN
                break
        for length in range(min(len(secret) - 1, len(piece)), SHORTEST_PART - 1, -1):
            if piece.startswith(secret[-length:]):
                piece = HIDDEN + piece[length:]
                break
        pieces[index] = piece
    return CUT.join(pieces)


def shown_message(text: str, forms: Iterable[str]) -> str:
    """A message for a log: without secrets, all visible, URLs without user and query."""
    return visible(_shown_urls(redact(text, forms, cut=True)), keep="\n\t")


class LogFilter(logging.Filter):
    """Hides the secrets of all servers in a log, ours and those of the libraries that we use."""

    LOGGERS = (
        *("orchestrator", "orchestrator.stdio", "orchestrator.http", "client", "httpx2"),
        *("httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy"),
        *("mcp.client.client", "mcp.client.streamable_http", "mcp.client.sse"),
        *("mcp.shared.dispatcher", "mcp.shared.jsonrpc_dispatcher", "mcp.client.caching"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._forms: dict[str, None] = {}

    def add(self, forms: Iterable[str]) -> None:
        """Hide these, too, in every log."""
        self._forms.update(dict.fromkeys(forms))
        for name in self.LOGGERS:  # the filters of a logger do not hold for those below it
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the text of a record; it is kept."""
        record.msg, record.args = shown_message(record.getMessage(), self._forms), None
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = shown_message(text, self._forms)
        return True


LOGS = LogFilter()


def _words(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each argument as it may be shown, with the secret in it, or an empty string."""
    after_secret_option = False
    for word in args:
        named = _NAMED.fullmatch(word)
        if after_secret_option and not word.startswith("-"):
            yield _hidden(word), word
        elif named and SECRET_NAME.search(named[1]):
            yield named[1] + named[2] + _hidden(named[3]), named[3]
        else:
            yield word, ""
        after_secret_option = bool(word.startswith("-") and not named and SECRET_NAME.search(word))


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
