"""MCP servers to try workflows on, run as `python -m mock_servers.NAME`.

delay       waits, echoes, computes: for timing and concurrency
text        counts, sums up and joins text
numbers     arithmetic, statistics and units
keyvalue    remembers values: the one server with writing tools
weather     a forecast for any city, always the same for the same city
news        search results for any query, always the same for the same query
faulty      misbehaves on demand: for tests of failure
library     resources and prompts
bare        the waiting of `delay` for next to nothing: for measuring
jobs        tools that are carried out as tasks of MCP, in both designs

All but the last four are ordinary servers on the MCP SDK and also speak HTTP (`--http --port
8901`); these use the standard library alone, so that they start at once, and `faulty` can break any
rule.
Nothing here imports the orchestrator.
"""
