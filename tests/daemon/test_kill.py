"""A pool that is killed while a command uses it; all are real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT
from tests.real_servers import PATIENCE_S, alive, until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runtime")]


def command(*words: str) -> subprocess.Popen[str]:
    words = (sys.executable, "-m", "orchestrator", *words)
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": -1, "stderr": -1}
    return subprocess.Popen(words, text=True, cwd=ROOT, **pipes)


def done(*words: str) -> str:
    program = command(*words)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, err
    return out


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_a_pool_that_is_killed_costs_only_the_calls_in_flight(tmp_path: Path) -> None:
    servers, flow, events = (tmp_path / name for name in ("servers.toml", "flow.json", "events"))
    table = {"command": sys.executable, "args": ["-m", "mock_servers.faulty"], "cwd": str(ROOT)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    servers.write_text("\n".join(["[servers.faulty]", *lines]))
    slow = {"id": "a", "tool": "faulty:append", "arguments": {"value": 1, "ms": 600_000}}
    after = {"id": "b", "tool": "faulty:pid", "depends_on": ["a"], "run_if": "all_done"}
    flow.write_text(json.dumps({"tasks": [slow, after]}))
    options = ["--servers", str(servers)]
    pool = json.loads(done("up", "--json", *options))["pid"]
    server = json.loads(done("call", "faulty:pid", "--json", *options))["pid"]
    run = command("run", str(flow), "--json", "--events", str(events), *options)
    until(lambda: '"task_started"' in text_of(events))
    done("call", "faulty:appended", "--json", *options)  # the server has come by the other call
    os.kill(pool, signal.SIGKILL)
    out, err = run.communicate(timeout=PATIENCE_S)
    result = json.loads(out)
    assert (run.returncode, result["status"]) == (1, "partial")
    assert result["tasks"]["a"]["error"]["details"]["lost"]
    assert result["tasks"]["b"]["output"]["pid"] != server
    assert "the warm pool has ended; this command goes on with its own servers" in err
    until(lambda: not alive(server))
    again = json.loads(done("up", "--json", *options))["pid"]
    assert again != pool
    done("down", *options)
    until(lambda: not alive(again))
