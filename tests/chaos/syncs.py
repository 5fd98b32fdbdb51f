"""A chaos test: `python -m tests.chaos syncs`. A run is killed at each sync, and resumed.

At a sync the pages of its commit have been written. So `--writes` does it before each write, too.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import orchestrator
from orchestrator import cli
from tests.chaos.trial import Ended, Trial, environment_of, every_policy

QUICK_STEPS = {False: 11, True: 41}  # of syncs, of writes
SECOND_KILLS = 5
PRELOAD = "LD_PRELOAD"
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>
static int left, counts_writes;  /* 0: it does not die */
void die_at(int n, int writes) { left = n; counts_writes = writes; }
static void *next(const char *name) {
    if (left && (counts_writes || *name == 'f') && __sync_sub_and_fetch(&left, 1) == 0)
        kill(getpid(), SIGKILL);
    return dlsym(RTLD_NEXT, name);
}
int fsync(int file) { return ((int (*)(int)) next("fsync"))(file); }
int fdatasync(int file) { return ((int (*)(int)) next("fdatasync"))(file); }
typedef ssize_t writer(int, const void *, size_t, off64_t);
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return ((writer *) next("pwrite64"))(file, data, size, at);
}
"""


def killed_at(writes: bool, words: list[str], journal: Path, moment: float | None) -> Ended:
    """Kill it at its n-th sync, in a fork of this process, which has imported all it needs.

    Args:
        writes: Writes count, too.
        words: The command line.
        journal: The file.
        moment: That number; None: it is not killed.
    """
    out, err = journal.with_suffix(".out"), journal.with_suffix(".err")
    if (child := os.fork()) == 0:
        ctypes.CDLL(None).die_at(int(moment or 0), int(writes))
        _become(words, journal, out, err)
    status = os.waitpid(child, 0)[1]
    code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    if code is None and os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"it ended by signal {os.WTERMSIG(status)}: {err.read_text()}")
    return Ended(code, out.read_text(), err.read_text())


def _become(words: list[str], journal: Path, out: Path, err: Path) -> None:
    code = 70
    try:
        for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
        os.environ.update(environment_of(journal))
        del os.environ[PRELOAD]  # the servers are not meant
        code = cli.main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def series(home: Path, step: int, writes: bool) -> Iterator[Trial]:
    """A trial for each n-th sync, until a run has fewer; its first resumption is killed, too."""

    def trial(home: Path, number: int) -> Trial:
        home.mkdir()
        process = partial(killed_at, writes)
        return Trial(home, random.Random(number), process, every_policy(2, 0.01))

    expected = trial(home / "whole", 0).until_done()
    number = 1
    while True:
        each = trial(home / str(number), number)
        each.compare(each.until_done(number, 1 + number % SECOND_KILLS), expected)
        what = "write" if writes else "sync"
        print(f"{what} {number}: {each.kills} kills, {each.faults or 'as it should be'}")
        yield each
        if not each.killed[0]:
            return
        number += step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos syncs",
        description="Kill a run with every policy at its first sync of a file, another at its\n"
        "second, and so on until one has fewer, and resume each until it is done. Linux only.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--writes", action="store_true", help="at each write, too")
    parser.add_argument("--quick", action="store_true", help="only at some of them")
    options = parser.parse_args(arguments)
    if (compiler := shutil.which("cc")) is None:
        print("it needs a C compiler, cc, to count syncs", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if not hasattr(ctypes.CDLL(None), "die_at"):
            return _preloaded(compiler, home, sys.argv[1:] if arguments is None else arguments)
        for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
            # Once, and not in each fork; adapters need frameworks that are not here.
            if not module.name.endswith("__main__") and ".integrations." not in module.name:
                import_module(module.name)
        step = QUICK_STEPS[options.writes] if options.quick else 1
        trials = list(series(home, step, options.writes))
    kills, asked = sum(each.kills for each in trials), sum(each.asked for each in trials)
    wrong = sum(bool(each.faults) for each in trials)
    print(f"{len(trials)} runs, {kills} kills, {asked} times asked, {wrong} runs wrong")
    return 1 if wrong else 0


def _preloaded(compiler: str, home: Path, arguments: Sequence[str]) -> int:
    source, library = home / "counter.c", home / "counter.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, PRELOAD: str(library)}
    command = [sys.executable, "-m", "tests.chaos", "syncs", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode
