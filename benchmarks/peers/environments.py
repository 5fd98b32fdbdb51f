"""A virtual environment for each library, made once and used again.

The rule of this file: it runs `venv` and `pip`, and knows no peer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers.catalogue import Peer

MADE = "made-of.txt"
"""Written into an environment when all is installed: the requirements that it holds."""

LIMIT_S = 900

TELL_VERSIONS = """
import sys
from importlib.metadata import version
print(*map(version, sys.argv[1:]), sep=chr(10))
"""


class InstallError(Exception):
    """The environment of a peer cannot be had; says why in one line."""


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments under a folder.

    Attributes:
        folder: Where they are; `None` stands for the environment of this process.
    """

    folder: Path | None

    def python(self, peer: Peer) -> str:
        """The interpreter that runs a peer; its environment is made if it is not there.

        Raises:
            InstallError: It cannot be made, or the peer is not installed here.
        """
        if self.folder is None:
            return _of_this_process(peer)
        home = self.folder / peer.environment
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not _is_made(home, peer.requirements):
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(home)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, *peer.requirements])
            (home / MADE).write_text("\n".join(peer.requirements), encoding="utf-8")
        return str(python)


def versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    """The versions of distributions that an interpreter has, by name.

    Raises:
        InstallError: It has not all of them.
    """
    return dict(zip(packages, run([python, "-c", TELL_VERSIONS, *packages]), strict=True))


def _of_this_process(peer: Peer) -> str:
    name = peer.packages[0]
    try:
        version(name)
    except PackageNotFoundError:
        raise InstallError(f"{name} is not installed here") from None
    return sys.executable


def _is_made(home: Path, requirements: Sequence[str]) -> bool:
    made = home / MADE
    return made.exists() and made.read_text(encoding="utf-8") == "\n".join(requirements)


def run(command: Sequence[str]) -> list[str]:
    """The lines that a command printed."""
    try:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"not installed after {LIMIT_S} s") from None
    if ended.returncode:
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
        raise InstallError(said[-1].strip() if said else f"exit code {ended.returncode}")
    return ended.stdout.splitlines()
