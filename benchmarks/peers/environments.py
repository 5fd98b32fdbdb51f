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
        made_of = "\n".join(peer.requirements)
        home = self.folder / hashlib.sha256(made_of.encode()).hexdigest()[:12]
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not (home / "installed").exists():
            run([sys.executable, "-m", "venv", "--clear", str(home)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, *peer.requirements])
            (home / "installed").write_text(made_of, encoding="utf-8")
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
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
        raise InstallError(said[-1].strip() if said else f"exit code {ended.returncode}")
