"""A fork server whose commands are a few lines; it ends when its stdin does."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from orchestrator.daemon import fork_server
from orchestrator.daemon.fork_server import ForkServer


def command() -> int:
    """The command that `sys.argv` names."""
    match sys.argv[1]:
        case "show":
            umask = os.umask(0o022)
            about = {
                "arguments": sys.argv[2:],
                "directory": os.getcwd(),  # noqa: PTH109
                "umask": umask,
                "given": os.environ.get("GIVEN"),
                "left": sorted({"ONLY_OF_SERVER"} & os.environ.keys()),
                "read": sys.stdin.read(),
            }
            print(json.dumps(about))
            print("said", file=sys.stderr)
            return 3
        case "fail":
            raise ValueError("a mistake")
        case "exit":
            raise SystemExit(None if sys.argv[2] == "none" else sys.argv[2])
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait":
            try:
                print(os.getpid(), flush=True)
                signal.pause()
            except KeyboardInterrupt:
                print("interrupted")
                return 130
        case "ask":
            print("asks", flush=True)
            print(sys.stdin.readline().upper(), end="")
    return 0


def main() -> None:
    """Keep it until the end of stdin."""
    fork_server.REQUEST_S = 60  # the machine may be busy
    server = ForkServer(Path(sys.argv[1]), lambda: None, command)
    server.begin()
    print(server.process, flush=True)
    sys.stdin.read()
    server.end()


if __name__ == "__main__":
    main()
