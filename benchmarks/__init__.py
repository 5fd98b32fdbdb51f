"""How fast it is, measured: `python -m benchmarks`.

    __main__      the command line
    suite         which scenarios there are, and in what order they run
    scenarios     the workflows, as data
    delays        many slow calls: speedup, schedules, the way to the critical path
    bare_sdk      the same work by hand on the bare SDK: calls, and servers made ready
    cold          a fresh process each time; by_hand is the program it is compared with
    engine_alone  the engine without servers, next to bare anyio
    measure       rounds, percentiles, paired ratios
    targets       what has to hold, as data
    report, plot  the numbers as a table, JSON and a picture

A command of its own, which measures little and checks much: `python -m benchmarks kills`.

    kills         a server is hit in the middle of each of many runs: the command and its table
    hits          one such run: the workflow, the hit, and what is watched
    processes     which processes there are, as Linux tells it

And one that measures others: `python -m benchmarks peers`.

    peers          the same work with what people use instead, in turns
    peer_programs  their programs, each run in an environment of its own

The rule of this package: no result is written down. Whatever is compared was run by the same
process, in the same minutes, in turns.
"""

from __future__ import annotations
