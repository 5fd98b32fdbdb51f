"""URI templates (RFC 6570) of resources: what URIs they stand for, by the SDK's implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from orchestrator.documents.text import quoted


def variables_of(template: str) -> list[str]:
    """The variables of a template, in their order; none if it is no template."""
    try:
        return UriTemplate.parse(template).variable_names
    except InvalidUriTemplate:
        return []


def expanded(template: str, values: Mapping[str, Any]) -> str:
    """The URI that a template is with these values.

    Raises:
        ValueError: It is no template, or a variable of a path has no value, or it has no such one.
    """
    try:
        parsed = UriTemplate.parse(template)
    except InvalidUriTemplate as error:
        raise ValueError(f"{quoted(template)} is no URI template: {error}") from None
    names = parsed.variable_names
    for name in values:
        if name not in names:
            known = ", ".join(map(quoted, names)) or "none"
            raise ValueError(f"{quoted(template)} has no variable {quoted(name)} (it has: {known})")
    for name in names:
        if name not in values and name not in parsed.query_variable_names:
            raise ValueError(f"{quoted(template)} needs a value of {quoted(name)}")
    return parsed.expand({name: _text(value) for name, value in values.items()})


def _text(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [str(each) for each in value]
    return value if isinstance(value, str) else str(value)


def fits_any(uri: str, templates: Iterable[str]) -> bool:
    """Whether a URI may be one that any of the templates stands for."""
    return any(_fits(uri, template) for template in templates)


def _fits(uri: str, template: str) -> bool:
    try:
        return UriTemplate.parse(template).match(uri) is not None
    except InvalidUriTemplate:  # what it stands for is not known
        return True
