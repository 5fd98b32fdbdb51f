"""Where pools of this user are found. Each command looks here first: it imports next to nothing."""

from __future__ import annotations

import os
import stat

LONGEST = 100  # bytes of the path of a socket: 108 on Linux, 104 on macOS
DEFAULT_SERVERS = "servers.toml"


class UnsafeError(Exception):
    """Somebody else could reach what is in a directory."""


def directory() -> str:
    """The directory of all pools of this user; it may not be there yet.

    Whether it is this user's alone is for `check`.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given) and len(os.fsencode(given)) < LONGEST - 40 and _is_own(given):
        return os.path.join(given, "mcp-orchestrator")
    return os.path.join(_temporary(), f"mcp-orchestrator-{os.getuid()}")


def name_of(servers: str) -> str:
    """What the files of the pool of a servers' file begin with."""
    from hashlib import sha256

    return sha256(os.fsencode(os.path.realpath(servers))).hexdigest()[:16]


def check(path: str) -> None:
    """Raise an `UnsafeError` unless only this user can reach a directory; none is fine."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeError("it is not a directory")
    if found.st_uid != os.getuid():
        raise UnsafeError("it belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeError(f"others may use it; run: chmod 700 {path}")


def _is_own(path: str) -> bool:
    try:
        check(path)
        return os.path.isdir(path)
    except (UnsafeError, OSError):
        return False


def _temporary() -> str:
    for name in ("TMPDIR", "TEMP", "TMP"):
        if given := os.environ.get(name):
            return given
    return "/tmp"  # noqa: S108  # the directory in it is checked: it lets nobody else in
