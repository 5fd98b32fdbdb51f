"""Secrets in what is kept: the file has the name of each in its place, and the configuration gives
it back.

A secret becomes a name between two marks, and a mark that was in the text two of them: so no text
that a tool gives can pass for a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.errors import JournalError

SHOWN = "***"
_MARK = "\x1a"
_IN_JSON = r"\u001a"
_MARKED = re.compile(f"{_MARK}([^{_MARK}]*){_MARK}")


class Hiding:
    """Hides secrets in JSON text, and restores them.

    Args:
        secrets: The texts to hide, by name.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._secrets = dict(secrets or {})
        names: dict[str, str] = {}
        for name, text in self._secrets.items():
            names.setdefault(text, name)
        longest = sorted(names, key=lambda text: (-len(text), text))
        self._names = [(text, f"{_MARK}{names[text]}{_MARK}") for text in longest]
        # One of these is in each JSON text that has a secret in one of its strings.
        both = (False, True)
        written = (json.dumps(x, ensure_ascii=only)[1:-1] for x in names for only in both)
        self._signs = (_IN_JSON, *dict.fromkeys(written))

    def hide(self, text: str) -> str:
        """JSON text without secrets."""
        if any(sign in text for sign in self._signs):
            return to_json(_each(json.loads(text), lambda each: self._hidden(each, 0)))
        return text

    def _hidden(self, text: str, first: int) -> str:
        for number, (secret, mark) in enumerate(self._names[first:], first):
            if secret in text:
                return mark.join(self._hidden(part, number + 1) for part in text.split(secret))
        return text.replace(_MARK, _MARK * 2)

    def restore(self, text: str) -> str:
        """JSON text as it was before its secrets were hidden.

        Raises:
            JournalError: The configuration has one of them no more.
        """
        if _IN_JSON in text:
            return to_json(_each(json.loads(text), lambda each: _MARKED.sub(self._secret, each)))
        return text

    def _secret(self, found: re.Match[str]) -> str:
        name = found[1]
        if not name:
            return _MARK
        if name not in self._secrets:
            field = name.partition("#")[0]
            why = f"the run has a secret in it, {field} of servers.toml, which is not kept, and"
            fix = "give the configuration and the variables that it had, or run the workflow again"
            raise JournalError(f"{why} the configuration has none of that name now: {fix}")
        return self._secrets[name]


def mask(text: str) -> str:
    """JSON text as it may be shown, with `***` for each secret that was hidden."""
    if _IN_JSON in text:
        return to_json(_each(json.loads(text), mask_words))
    return text


def mask_words(text: str) -> str:
    """The same for a text that is no JSON."""
    return _MARKED.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    return SHOWN if found[1] else _MARK


def _each(value: Any, change: Any) -> Any:
    """A JSON value with each string and property name changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {change(name): _each(item, change) for name, item in value.items()}
        case list():
            return [_each(item, change) for item in value]
    return value
