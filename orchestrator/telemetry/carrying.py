"""Goes on with a trace that another process began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def inside(carrier: Mapping[str, str] | None) -> Iterator[None]:
    """What is called in the block belongs to what `Trace.carrier` came from."""
    if not carrier:
        yield
        return
    from opentelemetry import context, propagate

    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)
