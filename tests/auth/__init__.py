"""Tests of `orchestrator.auth`."""
