"""A disk that can lose its power: what SQLite writes is noted, and any beginning of it replayed.

SQLite is asked to write through `NotingVFS`. After a loss of power a file has all that was written
before its last sync, and any of what was written since.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import apsw

from orchestrator.journal.database import SqliteSql

Kept = Literal["all", "none", "half"]
"""What there is of the writes since the last sync. All of them is what a kill leaves."""

EMPTY: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done to a file: a write, or else a change of its size, a sync or its end."""

    file: str
    kind: Literal["write", "truncate", "sync", "delete"]
    at: int = 0
    data: bytes = b""


class NotingVFS(apsw.VFS):
    """Notes what is done to files."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name, self.log = name, list[Operation]()

    def xOpen(self, name: Any, flags: list[int]) -> NotingFile:  # noqa: N802
        return NotingFile(self.log, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self.log.append(Operation(Path(name).name, "delete"))
        if sync:
            self.log.append(Operation(Path(name).name, "sync"))
        super().xDelete(name, sync)


class NotingFile(apsw.VFSFile):
    """A file of it."""

    def __init__(self, log: list[Operation], name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        path = name if isinstance(name, str | None) else name.filename()
        self._log, self._name = log, Path(path or "temporary").name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._log.append(Operation(self._name, "write", offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._log.append(Operation(self._name, "truncate", size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._log.append(Operation(self._name, "sync"))
        super().xSync(flags)


class Connection(apsw.Connection):
    """Stands in for the connection that `SqliteConnection` is."""

    sql = SqliteSql()

    def __init__(self, path: Path, vfs: str, synchronous: str = "extra") -> None:
        super().__init__(str(path), vfs=vfs)
        self._synchronous = synchronous
        self.execute("pragma locking_mode=exclusive")  # no memory is shared through such a VFS

    def execute(self, statement: str, *values: Any) -> Any:
        if statement.startswith("pragma synchronous="):
            statement = f"pragma synchronous={self._synchronous}"
        return super().execute(statement, *values)


def after_loss(
    log: Iterable[Operation],
    kept: Kept,
    chance: random.Random,
    before: Mapping[str, bytes] = EMPTY,
) -> Mapping[str, bytearray]:
    """The files as they are after a loss of power, by name; `before` is what they were."""
    files = {name: bytearray(content) for name, content in before.items()}
    unsynced: list[Operation] = []
    for operation in log:
        if operation.kind == "sync":
            now = [each for each in unsynced if each.file == operation.file]
            unsynced = [each for each in unsynced if each.file != operation.file]
            _apply(files, now)
        else:
            unsynced.append(operation)
    if kept != "none":
        _apply(files, [each for each in unsynced if kept == "all" or chance.random() < 0.5])
    return files


def _apply(files: dict[str, bytearray], operations: Iterable[Operation]) -> None:
    for each in operations:
        if each.kind == "delete":
            files.pop(each.file, None)
            continue
        content = files.setdefault(each.file, bytearray())
        end = each.at + len(each.data)
        if each.kind == "truncate":
            del content[each.at :]
        content.extend(bytes(max(0, end - len(content))))
        content[each.at : end] = each.data


def found_in(files: Mapping[str, bytearray], home: Path, query: str) -> list[Any] | None:
    """The first column of what a query finds in these files; None if they are damaged."""
    for name, content in files.items():
        (home / name).write_bytes(content)
    [path] = [home / name for name in files if name.endswith(".db")] or [home / "none.db"]
    try:
        with closing(sqlite3.connect(path)) as db:
            try:
                if db.execute("pragma integrity_check").fetchall() != [("ok",)]:
                    return None
                tables = db.execute("select count(*) from sqlite_master").fetchone()[0]
                return [row[0] for row in db.execute(query)] if tables else []
            except sqlite3.DatabaseError:
                return None
    finally:
        for each in home.iterdir():
            each.unlink()
