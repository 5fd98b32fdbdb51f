"""What workers offer: how many runs at once, with which labels and servers.

Workers that offer the same have one queue, from which the next free one of them takes a run.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Self

from orchestrator.documents.encode import to_json
from orchestrator.journal.store import Database
from orchestrator.journal.workers import WORKER, offered

QUEUE = "orchestrator_runs "
_FORGET_S = 3600.0
_FORGET = "delete from carrier where run like ? and beat < now_s() - ?::double precision"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker offers.

    Attributes:
        at_once: How many runs it carries at once.
        labels: Its labels, sorted.
        servers: The servers that are configured where it is, sorted.
        down: Those of them that do not start there now, with the reasons.
    """

    at_once: int
    labels: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    down: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        at_once: int,
        labels: Iterable[str],
        servers: Iterable[str],
        down: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """An offer; what is named twice counts once."""
        names = tuple(sorted(set(labels))), tuple(sorted(set(servers)))
        return cls(at_once, *names, tuple(sorted(down.items())))

    @property
    def queue(self) -> str:
        """The queue of all workers that offer the same, whatever is down."""
        same = {name: each for name, each in asdict(self).items() if name != "down"}
        return QUEUE + hashlib.sha256(to_json(same).encode()).hexdigest()[:12]

    @property
    def up(self) -> tuple[str, ...]:
        """The servers that may start."""
        down = dict(self.down)
        return tuple(server for server in self.servers if server not in down)

    def to_dict(self) -> dict[str, Any]:
        """The offer as a JSON object."""
        return asdict(self) | {"down": dict(self.down)}

    def fits(self, labels: Iterable[str], servers: Iterable[str]) -> bool:
        """Whether it has all of these, and none of the servers is down."""
        return set(labels) <= {*self.labels} and set(servers) <= {*self.up}


def offers(db: Database, but: str = "") -> Counter[Offer]:
    """How many workers offer what, apart from one."""
    found = map(_read, offered(db, but))
    return Counter(offer for offer in found if offer is not None)


def _read(document: Mapping[str, Any]) -> Offer | None:
    """What a worker offers, maybe one of another version; None if that cannot be read."""
    try:
        return Offer.of(**{field.name: document[field.name] for field in fields(Offer)})
    except (KeyError, TypeError, AttributeError):
        return None


def forget_old(db: Database) -> None:
    """Forget workers that were killed long ago."""
    db.execute(_FORGET, (f"{WORKER}%", _FORGET_S))
