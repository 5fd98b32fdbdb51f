"""What all tests of workers have."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Workers are programs, which run on asyncio; a database is the same for all event loops."""
    return "asyncio"
