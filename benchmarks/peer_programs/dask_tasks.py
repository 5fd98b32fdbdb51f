"""Dask: a task of its scheduler for each task of a run, on processes of this machine."""

from __future__ import annotations

from typing import Any

from dask.distributed import Client, LocalCluster

from benchmarks.peer_programs.runs_of_tasks import AT_ONCE, PROCESSES, TASKS, answer, needs


def nothing(task: int, *above: int) -> int:
    """A task."""
    return task + len(above)


def main() -> None:
    """Answer what is asked for."""
    with (
        LocalCluster(PROCESSES, threads_per_worker=AT_ONCE, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def do(runs: int) -> None:
            futures: list[Any] = []
            for _ in range(runs):
                of_run: list[Any] = []
                for task in range(TASKS):
                    above = [of_run[each] for each in needs(task)]
                    of_run.append(client.submit(nothing, task, *above, pure=False))
                futures += of_run
            results = client.gather(futures)
            expected = [task + len(needs(task)) for _ in range(runs) for task in range(TASKS)]
            assert results == expected

        answer(do)


if __name__ == "__main__":
    main()
