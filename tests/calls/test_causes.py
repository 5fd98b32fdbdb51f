"""What a call waits for is a noun phrase for people, and a kind for programs."""

from __future__ import annotations

import pytest

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import Slots
from orchestrator.calls.rates import Rate
from orchestrator.servers.config import Server
from orchestrator.servers.policies import policy_of


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (Cause("max_concurrency"), "a slot of the run"),
        (Cause("server_limit", "s"), 'a slot of server "s"'),
        (Cause("server_limit", "s:get*"), 'a slot of "s:get*"'),
        (Cause("writers", "s"), 'the writers\' slot of server "s"'),
        (Cause("turn", "s"), 'its turn at server "s", which asks people'),
        (Cause("rate", "s:get*"), 'the rate of "s:get*"'),
        (Cause("lock", 'a"b'), 'lock "a\\"b"'),
        (Cause("server_start", "s"), 'server "s"'),
        (Cause("server_start"), "all servers, to check the plan"),
        (Cause("delay"), "its delay_s"),
        (Cause("other", "the door"), "the door"),
    ],
)
def test_a_cause_is_said_in_words(cause: Cause, said: str) -> None:
    assert f"{cause}" == said


def test_each_limit_of_a_server_says_its_kind_and_what_it_is_about() -> None:
    tools = {"get*": {"max_concurrency": 2, "rate": "1/s"}}
    server = Server.model_validate(
        {"name": "s", "max_concurrency": 3, "rate": "9/s", "tools": tools, "writes": "serial"}
    )
    policy = policy_of(server)
    limits: list[Slots | Rate | None] = [policy.slots, policy.writers, policy.rate]
    limits += (policy.tools or {})["get*"]
    assert [limit.cause for limit in limits if limit is not None] == [
        ("server_limit", "s"),
        ("writers", "s"),
        ("rate", "s"),
        ("server_limit", "s:get*"),
        ("rate", "s:get*"),
    ]
