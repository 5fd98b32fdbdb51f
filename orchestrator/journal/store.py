"""What a journal needs of the place where it is, whether that is a file or a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.errors import JournalError

if TYPE_CHECKING:
    from orchestrator.calls.grants import Fenced
    from orchestrator.engine.task_state import RunState
    from orchestrator.journal.writer import Lease, Writer


class LostError(JournalError):
    """The connection to a database is lost: what was asked for may or may not have happened."""


class UnreadableError(JournalError):
    """Something else has written what is kept of a run."""


class Rows(Protocol):
    """What a statement has found or changed."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""

    def fetchone(self) -> Any:
        """The next row."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Sql(Protocol):
    """Where the SQL of databases differs.

    Attributes:
        moment: The column of `record` whose value grows with each write.
        keeps_moments: Whether the value of a record that is withdrawn is never given to another.
        plain: Stands before a column whose index would be the wrong one to take.
        lock: At the end of a query, locks the rows that it finds until the transaction ends.
        has_memo: A query that finds something if there is a memo.
    """

    moment: str
    keeps_moments: bool
    plain: str
    lock: str
    has_memo: str

    def members(self, *names: str) -> str:
        """The JSON text of an array with these members of a payload."""

    def text(self, *place: str) -> str:
        """The text at a place in a payload, such as `error`, `kind`."""

    def number(self, name: str) -> str:
        """A member of a payload that is a number."""

    def array_length(self, column: str, *place: str) -> str:
        """How many elements an array has in the JSON text of a column; null if there is none."""

    def without(self, column: str, member: str) -> str:
        """The JSON text of a column without a member of it."""


class Database(Protocol):
    """A connection to a journal. `?` stands for a value in each statement.

    Exhaust what you read: an open cursor on a file keeps it growing.
    """

    @property
    def sql(self) -> Sql:
        """Where its SQL differs from that of others."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """Execute one statement."""

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]], /) -> object:
        """Execute one statement for each row of values."""

    def close(self) -> None:
        """Close it."""


class Session(Protocol):
    """What one process writes with; all but `call` is for the thread that writes.

    Attributes:
        beat_s: After so long without anything to write it beats; None: never.
        gather_s: How long a row waits for others of its commit, as long as nobody waits for it.
        errors: What may go wrong with the place; anything else is a bug.
    """

    beat_s: float | None
    gather_s: float
    errors: tuple[type[Exception], ...]

    def open(self) -> None:
        """Open the place, which may take a moment. Raises `JournalError`."""

    def commit(self, work: Callable[[Database], object]) -> float:
        """Do something in a transaction; how long its commit took, seconds. Raises any error."""

    def beat(self) -> None:
        """Note that this process is alive. Raises any error."""

    def is_current(self, within_s: float) -> bool:
        """Whether others have heard so lately that this process is alive, seconds."""

    def close(self) -> None:
        """Close the place."""

    def call(self, work: Callable[[Database], object], run: str | None = None, /) -> None:
        """Do something at once, in a transaction and on a connection of its own.

        Args:
            work: What to do.
            run: The run that it writes about, if it is one.

        Raises:
            JournalError: It failed.
        """

    def shrink(self) -> None:
        """Give back the space of what was deleted. Raises `JournalError`."""

    def error_of(self, error: Exception) -> JournalError:
        """What an error of the system or of the database means for the user of a journal."""


class Claim(Protocol):
    """That this process carries a run, as others see it."""

    @property
    def losses(self) -> Sequence[str]:
        """The processes that failed with the run since anything of it settled, after `take`."""

    def begin(self) -> None:
        """Claim a run that this process begins. Raises `JournalError`."""

    def describe(self, text: str) -> None:
        """Tell others this, as JSON text, of a process that has begun a claim without a run."""

    def take(self, then: Callable[[Database], object], elapsed_s: float | None = None) -> float:
        """Claim a run that other processes have carried; for how long, seconds.

        Args:
            then: What is done with it in one transaction; if it fails, nothing is claimed.
            elapsed_s: That time, where it is known.

        Raises:
            JournalError: Another process carries it.
        """

    @property
    def is_asked_to_end(self) -> bool:
        """Whether another process has asked for the end of the run."""

    def beat(self, state: Callable[[], RunState]) -> None:
        """Note that the run is carried, and what it does if somebody looks; called each second."""

    def free(self) -> None:
        """Let another process carry the run."""

    def end_with_next(self) -> None:
        """Have the claim end with what was put last, where both can be one commit."""

    def end(self, *, is_kept: bool) -> None:
        """Forget the claim after the end of the run; if that is not kept, not how long it was."""


class Store(Protocol):
    """Where a journal is."""

    def session(self) -> Session:
        """What a process writes with."""

    def open_to_read(self) -> Database:
        """A connection that only reads. Raises `JournalError`."""

    def claim(self, writer: Writer, lease: Lease, /) -> Claim:
        """What says that this process carries a run."""

    def is_carried(self, db: Database, run: str, /) -> bool:
        """Whether a process carries a run that has not ended."""

    def carried_s(self, db: Database, run: str, /) -> float:
        """How long processes have carried a run, seconds."""

    def ask_to_end(self, run: str) -> None:
        """Ask the process that carries a run to end it."""

    def forget(self, db: Database, run: str, /) -> None:
        """Forget what is known of a run that is deleted, besides its rows."""

    def watch(self, run: str) -> None:
        """Note that somebody looks at a run, if any process carries it."""

    def seen(self, run: str) -> dict[str, Any] | None:
        """What a run does now; see `live.seen`."""

    def beats(self, run: str) -> bool:
        """Whether a process has carried a run in the last seconds."""

    def sign(self, run: str | None = None) -> object:
        """What changes whenever anything is written; of one run, also what it does now."""

    def granter(self) -> Fenced | None:
        """Who grants what all processes with this journal share; None: nobody can."""

    def shared_locks(self) -> list[dict[str, Any]]:
        """The locks that they share and that are held, each with its holders and waiters."""

    def exists(self) -> bool:
        """Whether there is a journal; True if only reading it can tell."""

    def size(self) -> int:
        """How many bytes it has."""
