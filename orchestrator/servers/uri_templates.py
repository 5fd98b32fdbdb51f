"""URI templates (RFC 6570) of resources: what URIs they stand for, by the SDK's implementation.

And whether a server has what a task reads, as far as its lists tell: it may have more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.servers.offers import MAX_ENTRIES

if TYPE_CHECKING:
    from orchestrator.servers.pool import ServerPool


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


@dataclass(frozen=True, slots=True)
class KnownResources:
    """What a server lists of resources.

    Attributes:
        has_any: Whether it has that capability.
        uris: Of its resources.
        templates: Of others.
    """

    has_any: bool
    uris: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    def may_have(self, uri: str) -> bool:
        """Whether a URI is listed or fits a template; of one with references, how it begins."""
        start, reference, _ = uri.partition("$")
        if not self.has_any:
            return False
        if not self.uris and not self.templates:  # it may list nothing
            return True
        if not reference:
            return uri in self.uris or fits_any(uri, self.templates)
        begins = (template.partition("{")[0] for template in self.templates)
        return any(each.startswith(start) for each in self.uris) or any(
            each.startswith(start) or start.startswith(each) for each in begins
        )


async def learn_resources(pool: ServerPool, servers: Iterable[str]) -> None:
    """Have the catalog know the resources of servers, as far as these can list them."""
    for server in servers:
        if pool.usable(server):
            with suppress(CallError):  # a task that reads one finds out what is wrong
                uris = await pool.offered(server, "resources")
                if len(uris or ()) >= MAX_ENTRIES:  # it may list more
                    continue
                templates = await pool.offered(server, "resource_templates") or ()
                pool.catalog.resources[server] = KnownResources(
                    uris is not None,
                    tuple(str(each.get("uri")) for each in uris or ()),
                    tuple(str(each.get("uriTemplate")) for each in templates),
                )
