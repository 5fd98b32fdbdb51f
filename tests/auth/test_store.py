"""Where logins are kept."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from orchestrator.auth.record import Login
from orchestrator.auth.settings import Subject
from orchestrator.auth.store import LoginStore
from orchestrator.auth.vaults import Keyring, UnusableLoginError, default_directory
from tests.auth.world import SECRET, store_in

SUBJECT = Subject("it", "https://it.example/mcp")
LOGIN = Login.model_validate({"url": SUBJECT.url, "tokens": {"access_token": SECRET}})


class Ring:
    """A keyring."""

    priority = 5

    def __init__(self, *, works: bool = True) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.works = works
        self.is_read_only = False

    def _check(self) -> None:
        if not self.works:
            raise RuntimeError(f"no bus for {SECRET}")

    def get_password(self, service: str, name: str) -> str | None:
        self._check()
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        self._check()
        if self.is_read_only:
            raise RuntimeError
        self.kept[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        self._check()
        del self.kept[service, name]


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ring:
    """The keyring of the system."""
    made = Ring()
    module: Any = types.ModuleType("keyring")
    module.get_keyring = lambda: made
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.delenv("ORCHESTRATOR_LOGINS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return made


def test_a_keyring_is_used_if_there_is_one(ring: Ring) -> None:
    store = LoginStore()
    assert store.kind == "the keyring of the system"
    assert store.read(SUBJECT) is None
    store.write(SUBJECT, LOGIN)
    assert list(ring.kept) == [("orchestrator", SUBJECT.key)]
    assert not list(default_directory().glob("*.json"))
    assert LoginStore().read(SUBJECT) == LOGIN
    assert store.remove(SUBJECT) == LOGIN
    assert not ring.kept
    assert not store.remove(SUBJECT)


def test_a_keyring_that_fails_is_replaced_by_a_file(
    ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    ring.works = False
    store = LoginStore()
    store.write(SUBJECT, LOGIN)
    assert store.read(SUBJECT) == LOGIN
    assert "the keyring cannot be used (RuntimeError)" in caplog.text
    assert SECRET not in caplog.text
    ring.works = True
    store.write(SUBJECT, LOGIN)  # and back again: it is in one place only
    assert not list(default_directory().glob("*.json"))


@pytest.mark.parametrize("priority", [0, -1])
def test_a_keyring_that_keeps_nothing_is_none(ring: Ring, priority: float) -> None:
    ring.priority = priority  # type: ignore[assignment]
    assert not isinstance(LoginStore()._vault, Keyring)


def test_without_the_library_files_are_used(
    ring: Ring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert LoginStore().kind == str(tmp_path / "orchestrator" / "logins")
    monkeypatch.setenv("ORCHESTRATOR_LOGINS", str(tmp_path / "mine"))
    assert LoginStore().kind == str(tmp_path / "mine")
    assert not ring.kept


def unusable(store: LoginStore) -> str:
    """Why a login cannot be used."""
    with pytest.raises(UnusableLoginError) as caught:
        store.read(SUBJECT)
    return str(caught.value)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"url": 3}', "is damaged"),
        (b"\xff", "is damaged"),
        (b'{"tokens": "hUsHhUsH"}', "is damaged"),
        (b'{"version": 2, "url": "x"}', "is of another version of orchestrator (2)"),
    ],
)
def test_a_file_that_is_no_login_is_kept_beside_the_next_one(
    tmp_path: Path, damage: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    store.write(SUBJECT, LOGIN)
    [file] = (tmp_path / "logins").glob("*.json")
    file.write_bytes(damage)
    assert unusable(store) == f'"{file}" {said}'
    with pytest.raises(UnusableLoginError):
        store.remove(SUBJECT)
    assert file.read_bytes() == damage
    store.set_aside(SUBJECT)
    assert store.read(SUBJECT) is None
    [aside] = (tmp_path / "logins").glob("*.damaged-*")
    assert aside.read_bytes() == damage
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(f'It is kept as "{aside}"')
    assert SECRET not in caplog.text
    store.write(SUBJECT, LOGIN)
    store.set_aside(SUBJECT)  # there is nothing wrong with it
    assert store.read(SUBJECT) == LOGIN


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.write(SUBJECT, LOGIN)
    [file] = (tmp_path / "logins").glob("*.json")
    file.unlink()
    file.mkdir()  # as for a user who is not root a file without its mode
    assert unusable(store) == f'"{file}" cannot be read: Is a directory'


def test_a_file_without_its_lock_is_a_login(tmp_path: Path) -> None:
    """As after a copy of the files."""
    store = store_in(tmp_path)
    store.write(SUBJECT, LOGIN)
    [lock] = (tmp_path / "logins").glob("*.lock")
    lock.unlink()
    assert store.read(SUBJECT) == LOGIN


def test_a_damaged_entry_of_a_keyring_is_kept_beside_the_next_one(
    ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    store = LoginStore()
    store.write(SUBJECT, LOGIN)
    ring.kept["orchestrator", SUBJECT.key] = SECRET
    assert unusable(store) == (f'entry "{SUBJECT.key}" of "orchestrator" in the keyring is damaged')
    store.set_aside(SUBJECT)
    [(_, aside)] = ring.kept
    assert aside.startswith(f"{SUBJECT.key}.damaged-")
    assert f'It is kept as entry "{aside}"' in caplog.text
    store.write(SUBJECT, LOGIN)
    assert store.read(SUBJECT) == LOGIN
    ring.kept["orchestrator", SUBJECT.key] = SECRET
    ring.is_read_only = True
    with pytest.raises(OSError, match=r"^the keyring cannot be used \(RuntimeError\)$"):
        store.set_aside(SUBJECT)


def test_a_damaged_file_beside_a_keyring_is_kept_too(ring: Ring) -> None:
    ring.works = False
    store = LoginStore()
    store.write(SUBJECT, LOGIN)
    [file] = default_directory().glob("*.json")
    file.write_text("{")
    ring.works = True
    assert unusable(store) == f'"{file}" is damaged'
    store.set_aside(SUBJECT)
    assert len(list(default_directory().glob("*.damaged-*"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
def test_a_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.write(SUBJECT, LOGIN)
    [file] = (tmp_path / "logins").glob("*.json")
    file.chmod(0o640)
    assert unusable(store) == f'others can read its file "{file}"'
    store.write(SUBJECT, LOGIN)
    assert store.read(SUBJECT) == LOGIN


@pytest.mark.skipif(sys.platform == "win32", reason="files have no owner there")
def test_a_file_that_others_may_have_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    store.write(SUBJECT, LOGIN)
    [file] = (tmp_path / "logins").glob("*.json")
    file.parent.chmod(0o777)
    assert "others can write to the directory of" in unusable(store)
    file.parent.chmod(0o700)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert "it is not a regular file" in unusable(store)
    store.set_aside(SUBJECT)
    assert (tmp_path / "elsewhere").exists()
    store.write(SUBJECT, LOGIN)
    assert store.read(SUBJECT) == LOGIN
    monkeypatch.setattr("os.getuid", lambda: file.stat().st_uid + 1)
    assert "its file belongs to another user" in unusable(store)
