"""The programs that `python -m benchmarks peers` compares, one for each library.

Each runs as `python -m benchmarks.peer_programs.NAME PLAN` in an environment of its own. It imports
its library, the standard library and `conversation`, and is written as its library documents it.
"""
