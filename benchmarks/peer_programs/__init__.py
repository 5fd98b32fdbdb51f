"""The programs that `python -m benchmarks peers` compares, one for each library.

Each runs as `python -m benchmarks.peer_programs.NAME PLAN` in an environment of its own, and is
written as its library documents it. It imports its library, the standard library, `conversation`
and, for sessions of the bare SDK, `benchmarks.by_hand`.
"""
