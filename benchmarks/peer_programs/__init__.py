"""The programs that `python -m benchmarks peers` compares, one for each library.

Each is run by the Python of an environment of its own, where only its library is installed, as
`python -m benchmarks.peer_programs.NAME PLAN`.

The rule of this package: a program imports its library, the standard library and `conversation`,
and nothing else of this repository; it is written as the documentation of its library says.
"""

from __future__ import annotations
