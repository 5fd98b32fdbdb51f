"""A run that is killed at its n-th sync comes to what it would have come to."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.chaos import syncs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it preloads a library"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="it needs a C compiler, cc"),
]


def test_a_run_that_is_killed_at_a_sync_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    code = syncs.main(["--quick", "--writes"])
    said = capfd.readouterr().out
    assert code == 0, said
    assert said.splitlines()[-1].endswith("0 runs wrong")
