"""Where the processes of this user on this machine find what they share."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def directory(state: Path | None = None) -> Path:
    """The directory, which is made if there is none; `state`: below which one.

    There is one for each start of the machine: after it no process of before is alive, its clock
    begins anew, and other machines may have the same home directory.

    Raises:
        OSError: It cannot be made.
    """
    if state is None:
        import platformdirs

        state = platformdirs.user_state_path("orchestrator", appauthor=False)
    machine = f"{platform.node() or 'machine'}-".replace("/", "_")
    found = state / "host" / (machine + _boot())
    if not found.is_dir():
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in found.parent.glob(f"{machine}*"):
            if old != found:
                shutil.rmtree(old, ignore_errors=True)
    return found


def _boot() -> str:
    """What differs from one start of the machine to the next, where the system says it."""
    try:
        return _BOOT.read_text().strip()[:8]
    except OSError:
        return "0"
