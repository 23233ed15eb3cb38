"""Errors of the service that a person can act on. The command line prints the message and leaves with `exit_code`."""


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


EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "failed; the message says why",
    2: "wrong usage or settings",
    3: "no such instance, bundle, alarm or file",
    4: "the instance's state does not allow it",
    5: "something needed is missing or broken (doctor, db check, bundle verify)",
}
