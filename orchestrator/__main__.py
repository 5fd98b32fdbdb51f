"""`python -m orchestrator` is the command `orchestrator`."""

from __future__ import annotations

import sys

from orchestrator.daemon.fork_client import delegated


def main() -> int:
    """Run the command line in a fork of the warm pool if that is up, else here; the exit code."""
    code = delegated(sys.argv[1:])
    if code is not None:
        return code
    from orchestrator.cli import main as command

    return command()


if __name__ == "__main__":
    raise SystemExit(main())
