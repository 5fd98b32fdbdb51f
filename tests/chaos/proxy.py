"""A way to a server on this machine that a test can cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

HOST = "127.0.0.1"


class Proxy:
    """Passes connections on to a port, until it is cut; open it with `with`.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, to: int) -> None:
        self.port, self._to = 0, to
        self._loop = asyncio.new_event_loop()
        self._flows, self._refuses = asyncio.Event(), False
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listens = threading.Event()

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._listens.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._loop.stop)
        self._thread.join()

    def open(self) -> None:
        """Pass on what comes, also what came meanwhile."""
        self._refuses = False
        self._do(self._flows.set)

    def drop(self) -> None:
        """Pass nothing on, and say nothing."""
        self._do(self._flows.clear)

    def close(self) -> None:
        """End all connections, and refuse others."""
        self._refuses = True
        self._do(self._end_all)

    def _do(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        self._loop.run_forever()
        server.close()
        self._end_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _end_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._refuses:
                writer.transport.abort()
                return
            other, onward = await asyncio.open_connection(HOST, self._to)
            self._writers.add(onward)
            await asyncio.gather(self._pass(reader, onward), self._pass(other, writer))
            self._writers.discard(onward)
        except (OSError, asyncio.CancelledError):  # the other side refuses, or the test ends
            writer.transport.abort()
        finally:
            self._writers.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
