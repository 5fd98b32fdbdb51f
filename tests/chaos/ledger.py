"""A server that writes each call into a file, before and after: what was really called.

`python -m tests.chaos.ledger FILE`. Its tools read or write as their names say; `flaky` fails at
the first call of each key, `broken` at all, `poll` is done at the third, and `big` says a lot.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mock_servers import wire
from mock_servers.wire import Connection, Json, Tool


class Ledger:
    """The tools, and the file that survives them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tools = [
            Tool(self.read),
            Tool(self.write, read_only=False, idempotent=False),
            Tool(self.flaky),
            Tool(self.broken),
            Tool(self.poll),
            Tool(self.big),
        ]

    async def read(self, key: str, ms: int = 0) -> Json:
        """Answer with the key."""
        return await self._called(key, ms)

    async def write(self, key: str, ms: int = 0) -> Json:
        """Answer with the key; its repetition may do harm."""
        return await self._called(key, ms)

    async def flaky(self, key: str, ms: int = 0) -> Json:
        """Fail unless an earlier call of the key has ended."""
        failed = self._ended(key) == 0
        return await self._called(key, ms, failed=failed)

    async def broken(self, key: str, ms: int = 0) -> Json:
        """Fail."""
        return await self._called(key, ms, failed=True)

    async def poll(self, key: str, ms: int = 0) -> Json:
        """Answer whether this is at least the third call of the key that ends."""
        return await self._called(key, ms, done=self._ended(key) >= 2)

    async def big(self, key: str, mb: int, ms: int = 0) -> Json:
        """Answer with the key, and so much text."""
        answer = await self._called(key, ms)
        answer["structuredContent"]["text"] = "x" * (mb * 1_000_000)
        return answer

    async def _called(
        self, key: str, ms: int, *, failed: bool = False, done: bool | None = None
    ) -> Json:
        self._write("begin", key)
        await asyncio.sleep(ms / 1000)
        self._write("end", key)
        if failed:
            return {"content": [{"type": "text", "text": f"{key} failed"}], "isError": True}
        said: Json = {"key": key} if done is None else {"key": key, "done": done}
        return {"content": [], "structuredContent": said}

    def _ended(self, key: str) -> int:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return lines.count(f"end {key}")

    def _write(self, what: str, key: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._path, flags, 0o600)
        os.write(file, f"{what} {key}\n".encode())
        os.close(file)


async def serve(path: Path) -> None:
    """Serve until stdin ends."""
    await Connection(wire.methods("ledger", Ledger(path).tools), lambda _: None).serve()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
