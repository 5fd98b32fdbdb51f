"""Cuts a document that is too large for a model: values become previews, and say how large."""

from __future__ import annotations

from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import cut

KB = 1024
_AROUND = 200  # what a preview takes besides its value, bytes
LEAST = 40  # what a value takes of which nothing is shown
_SHORTEST = 20
_Place = tuple[dict[str, Any], str]


def size_of(value: Any) -> int:
    """How many bytes of JSON a value is."""
    return len(to_json(value).encode("utf-8", "surrogatepass"))


def shared_out(places: list[_Place], room: int) -> bool:
    """Cut the values at these places to as many bytes together; whether one of them was cut.

    Small ones stay whole; what they leave of their share is for the others.
    """
    sizes = sorted(((size_of(holder[name]), index) for index, (holder, name) in enumerate(places)))
    was_cut = False
    for left, (size, index) in enumerate(sizes):
        share = max(room, 0) // (len(sizes) - left)
        holder, name = places[index]
        if size > share:
            holder[name], was_cut = preview(holder[name], share, size), True
            size = min(share, size)
        room -= size
    return was_cut


def preview(value: Any, room: int, size: int | None = None) -> dict[str, Any]:
    """What stands for a value that is left out: what it is, and its beginning."""
    size = size_of(value) if size is None else size
    if room < _AROUND:
        return {"truncated": True, "bytes": size}
    shown = {"truncated": True, "type": cut(describe(value), _AROUND // 2), "bytes": size}
    return shown | ({"preview": _begin(value, room - _AROUND)} if room > 2 * _AROUND else {})


def _begin(value: Any, room: int) -> Any:
    """The beginning of a value: strings, arrays and objects with what fits of them."""
    if isinstance(value, str):
        return cut(value, max(room // 2, _SHORTEST))  # a character may take several bytes
    is_object = isinstance(value, dict)
    if not is_object and not isinstance(value, list):
        return value
    kept: list[tuple[Any, Any]] = []
    for name, item in value.items() if is_object else enumerate(value):
        cost = len(to_json(name)) + 4 if is_object else 2
        if cost >= room:
            break
        # The first items may take half of what is left each, so that more than one is seen.
        whole = size_of(item)
        shown = item if whole <= room - cost else _begin(item, (room - cost) // 2)
        taken = whole if shown is item else size_of(shown)
        if taken + cost > room:
            break
        room -= taken + cost
        kept.append((name, shown))
    return dict(kept) if is_object else [item for _, item in kept]
