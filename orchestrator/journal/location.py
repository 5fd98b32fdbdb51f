"""Where a journal is: in a file, or in a PostgreSQL database."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from orchestrator.journal.store import Store

Location = Path


@lru_cache(maxsize=64)
def store_of(location: Location) -> Store:
    """What reads and writes a journal."""
    from orchestrator.journal.file_store import FileStore

    return FileStore(location)
