"""How fast workflows run, measured: `python -m benchmarks`.

    __main__      the command line; options: what all commands have
    suite         the scenarios, and the order in which they run
    scenarios     the workflows, as data
    delays        many slow calls: speedup, schedules, the way to the critical path
    bare_sdk      the same work by hand on the bare SDK: calls, and servers made ready
    sessions      tools that compute on many sessions, thousands of calls on one
    cold          a fresh process each time; by_hand, first_by_hand: what it is compared with
    warm          commands whose servers a warm pool keeps, beside first_by_hand
    written       a plan that runs while a model writes it
    load          many clients at once on one server of the engine, many plans in a row
    engine_alone  the engine without servers, next to bare anyio
    measure       rounds, percentiles, paired ratios
    targets       the targets, as data
    report        the numbers as tables and as JSON
    plot          the ratios as a picture

Graphs that were recorded from real systems: `python -m benchmarks traces`.

    traces        the command, and the runs
    recorded      a graph, and the bounds of its runs
    traced        the times of the runs: ratios and tables

And one that measures others: `python -m benchmarks peers`.

    peers          the same work with what people use instead, in turns
    peer_programs  their programs, each run in an environment of its own
"""
