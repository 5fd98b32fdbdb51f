"""The forms in which the same URI can be written, so that a pattern holds for all of them."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote

_MAX_ROUNDS = 10  # of decoding; nobody needs more than one
_TWICE = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")  # an escaped escape


def forms_of(name: str) -> list[str]:
    """A URI as it is written, decoded, and without `..`; of the name of a tool, nearly always it.

    Args:
        name: A URI, the beginning of one, or the name of a tool or a prompt.

    Returns:
        The forms, the first as it is written; after too many escapes the last one is empty, which
        fits no pattern but `*`.
    """
    forms = [name]
    if "%" not in name and ":" not in name:
        return forms
    for _ in range(_MAX_ROUNDS):
        decoded = unquote(_TWICE.sub("%", forms[-1]))
        if decoded == forms[-1]:
            break
        forms.append(decoded)
    else:
        forms.append("")
    scheme, colon, rest = forms[-1].replace("\\", "/").partition(":")
    if colon and ".." in rest:
        slashes = "//" if rest.startswith("//") else ""
        forms.append(f"{scheme}:{slashes}{posixpath.normpath(rest).lstrip('/')}")
    return forms


def fits_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name in any of its forms fits any of the patterns, whatever its case if a URI."""
    folds = str.casefold if ":" in name else str
    return any(
        fnmatch.fnmatchcase(folds(form), folds(pattern))
        for form in forms_of(name)
        for pattern in patterns
    )


def fits_all(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name in each of its forms fits one of the patterns."""
    known = list(patterns)
    return all(
        any(fnmatch.fnmatchcase(form, pattern) for pattern in known) for form in forms_of(name)
    )
