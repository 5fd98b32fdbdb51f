"""A browser without a person: follows a link, and all redirects from there."""

from __future__ import annotations

import sys

import httpx2


def main() -> int:
    """Follow the link that is the last argument; 0 if it ended somewhere."""
    with httpx2.Client(follow_redirects=True, trust_env=False) as client:
        return 0 if client.get(sys.argv[-1]).status_code < 500 else 1


if __name__ == "__main__":
    sys.exit(main())
