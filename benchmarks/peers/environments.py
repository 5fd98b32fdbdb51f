"""A virtual environment for each set of requirements, made once and used again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers.catalog import Peer
from benchmarks.peers.programs import last_line

LIMIT_S = 900


class InstallError(Exception):
    """The environment of a peer cannot be made; the message is one line."""


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments in a folder; `None` stands for the environment of this process."""

    folder: Path | None

    def python(self, peer: Peer) -> str:
        """The interpreter that runs a peer; its environment is made if it does not exist.

        Raises:
            InstallError: It cannot be made, or the peer is not installed here.
        """
        if self.folder is None:
            try:
                version(peer.packages[0])
            except PackageNotFoundError:
                raise InstallError(f"{peer.packages[0]} is not installed here") from None
            return sys.executable
        requirements = "\n".join(peer.requirements)
        home = self.folder / hashlib.sha256(requirements.encode()).hexdigest()[:12]
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        # Written last, so that an environment whose installation was interrupted is made again.
        installed = home / "installed"
        if not installed.exists():
            run([sys.executable, "-m", "venv", "--clear", str(home)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, *peer.requirements])
            installed.write_text(requirements, encoding="utf-8")
        return str(python)


def run(command: Sequence[str]) -> None:
    """Run a command that installs something.

    Raises:
        InstallError: It failed; with its last line.
    """
    try:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"not installed after {LIMIT_S} s") from None
    if ended.returncode:
        reason = last_line(ended.stdout + ended.stderr)
        raise InstallError(reason or f"exit code {ended.returncode}")
