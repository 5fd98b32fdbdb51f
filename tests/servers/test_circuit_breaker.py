"""When a server may be started again. Times are handed in, so they are exact."""

from __future__ import annotations

import pytest

from orchestrator.servers.circuit_breaker import COOLING_S, MAX_FAILURES, SOUND_S, CircuitBreaker


def failed(times: int, now: float = 0.0) -> CircuitBreaker:
    """A breaker whose server was started and failed so many times, all of them at `now`."""
    breaker = CircuitBreaker()
    for _ in range(times):
        breaker.note_start()
        breaker.note_failure(now)
    return breaker


def test_a_server_that_never_failed_may_be_started() -> None:
    assert CircuitBreaker().state(0.0) == "closed"
    assert CircuitBreaker().wait_s(0.0) == 0.0
    assert CircuitBreaker().cools_s(0.0) == 0.0


def test_the_first_start_after_the_end_of_a_sound_session_comes_at_once() -> None:
    breaker = CircuitBreaker()
    breaker.note_end(began_at=0.0, now=SOUND_S)
    assert (breaker.failures, breaker.wait_s(SOUND_S)) == (0, 0.0)


def test_the_waits_double_while_sessions_end_young() -> None:
    breaker, waits = CircuitBreaker(), []
    for now in range(1, 6):
        breaker.note_end(began_at=now - 1, now=now)
        waits.append(breaker.wait_s(now))
        breaker.note_start()
    assert waits == [0.0, 0.5, 1.0, 2.0, None]


def test_a_wait_counts_from_the_failure() -> None:
    assert [failed(3).wait_s(now) for now in (0.0, 1.5, 60.0)] == [2.0, 0.5, 0.0]


def test_no_wait_is_longer_than_eight_seconds() -> None:
    breaker = CircuitBreaker(_starts=60, _failed_at=0.0)
    assert breaker.wait_s(0.0) == 8.0


def test_five_failures_in_a_row_open_the_circuit_for_ten_seconds() -> None:
    assert failed(MAX_FAILURES - 1).state(0.0) == "closed"
    breaker = failed(MAX_FAILURES)
    assert (breaker.state(0.0), breaker.wait_s(9.0), breaker.cools_s(9.0)) == ("open", None, 1.0)
    assert (breaker.state(COOLING_S), breaker.wait_s(COOLING_S)) == ("half-open", 0.0)
    assert breaker.cools_s(60.0) == 0.0


def test_a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() -> None:
    breaker = failed(MAX_FAILURES)
    breaker.note_start()
    breaker.note_failure(12.0)
    assert (breaker.state(21.0), breaker.state(22.0)) == ("open", "half-open")
    breaker.note_success()
    assert breaker.state(22.0) == "closed"


def test_after_a_probe_a_session_that_ends_young_opens_it_and_a_sound_one_forgets_all() -> None:
    young, sound = failed(MAX_FAILURES), failed(MAX_FAILURES)
    for breaker in (young, sound):
        breaker.note_start()
        breaker.note_success()
    young.note_end(began_at=10.0, now=11.0)
    sound.note_end(began_at=10.0, now=20.0)
    assert young.state(11.0) == "open"
    assert (sound.state(20.0), sound.wait_s(20.0), sound.failures) == ("closed", 0.0, 0)


def test_a_first_start_that_fails_opens_it_at_once_and_so_does_the_probe_after_it() -> None:
    breaker = CircuitBreaker()
    breaker.note_failure(0.0, first=True)
    assert (breaker.state(9.0), breaker.state(10.0)) == ("open", "half-open")
    breaker.note_failure(10.0)
    assert (breaker.state(11.0), breaker.failures) == ("open", 2)


@pytest.mark.parametrize(("began_at", "failures"), [(1.0, 1), (5.0, 2), (6.0, 2)])
def test_sessions_that_are_killed_together_are_one_failure(began_at: float, failures: int) -> None:
    breaker = CircuitBreaker()
    breaker.note_end(began_at=1.0, now=5.0)
    breaker.note_end(began_at=began_at, now=6.0)
    assert breaker.failures == failures
