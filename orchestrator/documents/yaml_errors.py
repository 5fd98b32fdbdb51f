"""Says what is wrong with malformed YAML, and how to fix it, in the words of its author.

The library reports what its scanner expected; people make few mistakes: text that needs quotes, and
lines that are not in their column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.documents.parse import DocumentError
from orchestrator.documents.text import quoted

if TYPE_CHECKING:
    import yaml


class _Rule(NamedTuple):
    said: re.Pattern[str]  # by the library
    reason: str  # with its groups
    hint: str = ""
    at_begin: bool = False  # it is about where the construct begins, and not where reading stopped


_QUOTES = "put the whole text in quotes"
_COLUMNS = "the properties of an object begin in the same column, and so do the items of a list"
_ESCAPES = "in \"...\" a backslash starts an escape: write '...', or the backslash twice"


def _rule(said: str, reason: str, hint: str = "", *, at_begin: bool = False) -> _Rule:
    return _Rule(re.compile(said), reason, hint, at_begin)


_RULES = (
    _rule(
        r"but got '([\[{])'",
        'unquoted text with "{0}" inside {{...}} or [...]',
        _QUOTES,
    ),
    _rule(r"flow mapping.*but got '<stream end>'", '"{{" is not closed', at_begin=True),
    _rule(r"flow sequence.*but got '<stream end>'", '"[" is not closed', at_begin=True),
    _rule(r"expected ',' or '(.)', but got", 'expected "," or "{0}"', _QUOTES),
    _rule(r"quoted scalar.*end of stream", "the quote is not closed", at_begin=True),
    _rule(r"unknown escape character '(.)'", 'unknown escape "\\{0}"', _ESCAPES),
    _rule(r"found character '\\t'", "a tab cannot indent a line", "use blanks"),
    _rule(r"(?:character|content, but found) '(.)'", 'text cannot begin with "{0}"', _QUOTES),
    _rule(r"undefined alias '(.*)'", 'undefined alias "{0}"', "text that begins with * is quoted"),
    _rule(
        r"scanning an (?:alias|anchor)",
        "text cannot begin with * or &",
        _QUOTES,
        at_begin=True,
    ),
    _rule(
        r"scanning a block scalar",
        "| and > begin text that is on the next lines",
        _QUOTES,
        at_begin=True,
    ),
    _rule(r"sequence entries are not", 'a list cannot begin after ":"', "begin a line with it"),
    _rule(r"could not find expected ':'", 'expected "NAME: value"', at_begin=True),
    _rule(r"found another document", "another document begins here", "keep one, without ---"),
    _rule(r"block mapping.*but found '<scalar>'", "text follows text in quotes", _QUOTES),
    _rule(
        r"block mapping.*but found '-'",
        "wrong indentation: an item of a list among the properties that begin in line {line}",
        _COLUMNS,
    ),
    _rule(
        r"block collection.*but found '\?'",
        "wrong indentation: a property among the items of the list that begins in line {line}",
        _COLUMNS,
    ),
    _rule(
        r"expected <block end>",
        "wrong indentation: no other line of this block begins in this column",
        _COLUMNS,
    ),
)


def document_error(text: str, failure: yaml.MarkedYAMLError) -> DocumentError:
    """The error of a text that the library refused."""
    mark, begin = failure.problem_mark, failure.context_mark
    said = f"{failure.context or ''}: {failure.problem or ''}"
    if "mapping values are not allowed" in said and mark is not None:
        return _of_colon(text, mark)
    for rule in _RULES:
        if found := rule.said.search(said):
            line = begin.line + 1 if begin is not None else 0
            reason = rule.reason.format(*found.groups(), line=line)
            return marked(reason, begin if rule.at_begin and begin else mark, rule.hint)
    return marked(failure.problem or failure.context or "cannot be read", mark)


def _of_colon(text: str, mark: yaml.Mark) -> DocumentError:
    """The error of a colon after text that is not a name."""
    lines = text.split("\n")
    before, above = lines[mark.line][: mark.column], lines[mark.line - 1] if mark.line else ""
    if re.search(r":\s", before):
        return marked('unquoted text with ": "', mark, _QUOTES)
    if pair := re.search(r"([\w.-]+):(?=\S)", above):
        hint = f"line {mark.line} may need a blank after {quoted(pair[1] + ':')}"
    else:
        hint = _COLUMNS
    return marked("wrong indentation: the line goes on with the text above it", mark, hint)


def marked(reason: str, mark: yaml.Mark | None, hint: str = "") -> DocumentError:
    """An error at a mark of the library."""
    line, column = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
    return DocumentError(f"invalid YAML: {reason}", line, column, hint)
