"""Errors of the service, one tree. The command line prints the message and leaves with `exit_code`.

    WorkerError                 exit code 1
    ├── ConfigurationError      2
    ├── NotFound                3
    ├── WrongState              4
    ├── Unhealthy               5
    ├── NotAccepted             6
    ├── LabelsRefused           1: a file of labels has faults
    ├── PublishError            the broker did not take a message; the relay tries again
    ├── NotMade                 this time there is no report of a night; the relay tries again
    ├── NotAsked                a PACS gave no whole answer to what it was asked
    │   └── PacsAway            there was no association to ask over
    ├── Busy                    too many wait for it, or a turn did not come in time
    ├── NoPicture               a film, its map or what the network saw of it cannot be shown
    └── Undelivered             an alarm's message or a result did not arrive; it is sent again
    SQLAlchemyError
    └── CommitUnknown           in `worker.db.errors`

CommitUnknown is caught wherever an error of the database is, so it must be one of SQLAlchemy's. It has a module of its
own because the command line imports this one, and begins without SQLAlchemy, whose import takes 0.2 s (measured).
"""

from pathlib import Path

SHOWN_FAULTS = 20
"""Of a file of labels."""


class WorkerError(Exception):
    """Base. The message is one line that says what to do next."""

    exit_code = 1


class ConfigurationError(WorkerError):
    """A setting is missing or contradicts another."""

    exit_code = 2


class NotFound(WorkerError):
    exit_code = 3


class WrongState(WorkerError):
    """The instance's state does not allow what was asked."""

    exit_code = 4


class Unhealthy(WorkerError):
    """A service, file or schema that is needed is missing or broken."""

    exit_code = 5


class NotAccepted(WorkerError):
    """The written rule does not say go for an AE: no-go, or undecided."""

    exit_code = 6


class LabelsRefused(WorkerError):
    """The file has faults; nothing of it was imported. `faults` name lines and columns, never their content."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        super().__init__(f"{path}: nothing imported: {'; '.join(faults[:SHOWN_FAULTS])}{more}")
        self.faults = faults


class PublishError(WorkerError):
    """The broker did not take the message, or does not answer. Its text says why, and names no host."""


class NotMade(WorkerError):
    """This time there is no report of a night. The message says why, without a word of a film."""

    def __init__(self, reason: str, *, of_day: bool = False) -> None:
        """
        Args:
            of_day: whether what the day holds may be the cause, and not a disk or a database that will be back.
        """
        super().__init__(reason)
        self.of_day = of_day


class NotAsked(WorkerError):
    """A PACS gave no whole answer. The text is a code of `worker.pacs.words`."""


class PacsAway(NotAsked):
    """There was no association to ask over, or it would have been of no use."""


class Busy(WorkerError):
    """Too many wait for it, or a turn did not come in time."""


class NoPicture(WorkerError):
    """A film, its map or what the network saw of it cannot be shown, now or ever. `reason` is a code; the message says
    the same in words, and neither names the film."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Undelivered(WorkerError):
    """An alarm's message or a result did not arrive. The text is a code such as `http_500`; never what the other side
    said."""

    def __init__(self, reason: str, *, to: tuple[str, ...] = (), nothing_arrived: bool = False) -> None:
        """
        Args:
            to: recipients that it did not reach, where it reached others; () for all.
            nothing_arrived: it is known that the other side has nothing of it, which the code alone does not say.
        """
        super().__init__(reason)
        self.to = to
        self.nothing_arrived = nothing_arrived


EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "failed; the message says why (pacs missing: films are missing; audit verify: something was changed)",
    2: "wrong usage or settings",
    3: "no such instance, bundle, alarm, peer, user, backfill or file",
    4: "the instance's state does not allow it",
    5: "something needed is missing or broken (doctor, status, health, db check, bundle verify, alarm test, audit "
    "messages, pacs check, pacs missing, and at the start of a process)",
    6: "an AE's labelled films are no-go, or not enough to tell (device check, device accept)",
}
