"""The MCP conformance suite, run against `orchestrator` by `scripts/conformance`."""
