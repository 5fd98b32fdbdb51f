"""Random workflow files: whatever is in them, checking and rehearsing them never raises.

`FUZZ_CASES=20000 pytest tests/fuzz` tries more than the gate, and `FUZZ_FROM=20000` others.
"""
