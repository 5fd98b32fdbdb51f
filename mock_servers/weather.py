"""A forecast for any city, made from its name: the same city, the same weather."""

from __future__ import annotations

import hashlib

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from mock_servers.serve import READ_ONLY, run

CONDITIONS = ("sunny", "partly cloudy", "overcast", "light rain", "thunderstorms", "fog", "snow")
UNKNOWN_CITIES = frozenset({"", "atlantis"})
MIN_DELAY_MS, MAX_DELAY_MS = 60, 150

server = MCPServer("weather", instructions="Forecasts for any city.", log_level="WARNING")


class Forecast(BaseModel):
    """Tomorrow's weather in a city."""

    city: str
    temperature_c: int
    conditions: str
    wind_kmh: int


@server.tool(annotations=READ_ONLY)
async def forecast(city: str) -> Forecast:
    """Forecast tomorrow's weather in a city; a city that does not exist (Atlantis) is an error."""
    name = city.strip()
    digest = hashlib.sha256(name.casefold().encode()).digest()
    await anyio.sleep((MIN_DELAY_MS + digest[0] % (MAX_DELAY_MS - MIN_DELAY_MS + 1)) / 1000)
    if name.casefold() in UNKNOWN_CITIES:
        raise ToolError(f"unknown city: {city!r}")
    return _forecast(name, digest)


def _forecast(city: str, digest: bytes) -> Forecast:
    temperature_c = digest[1] % 40 - 8
    allowed = CONDITIONS if temperature_c <= 2 else CONDITIONS[:-1]
    return Forecast(
        city=city,
        temperature_c=temperature_c,
        conditions=allowed[digest[2] % len(allowed)],
        wind_kmh=digest[3] % 60,
    )


if __name__ == "__main__":
    run(server)
