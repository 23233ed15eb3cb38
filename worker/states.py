"""The life of an instance, as one table."""

from enum import IntEnum, StrEnum

NOT_A_FILM = "not_a_film"
"""The reason of what came beside the films and can never be one: ineligible from its first moment on."""

OPERATOR = "operator"
"""The reason of a film that a person took out of the queue, or off the list of dead letters."""
NOT_ADMITTED = "not_admitted"
"""The reason of what an unknown peer sent and an operator rejected: it never counted, and does not now."""

DUPLICATE, REPLACED = "duplicate", "replaced"
"""Reasons of a film that was admitted from the quarantine, and is here already: the same film, or a newer one under its
UID. It is not scored, and counts nowhere."""

NO_STUDY = "study_missing"
"""Study or Series Instance UID is missing or no UID: a score would belong to no study."""


class State(StrEnum):
    QUARANTINED = "quarantined"
    RECEIVED = "received"
    SCORED = "scored"
    REPORTED = "reported"
    INELIGIBLE = "ineligible"
    FAILED = "failed"


TRANSITIONS: dict[State, dict[State, str]] = {
    State.QUARANTINED: {
        State.RECEIVED: "an operator admitted its sender, or it alone",
        State.INELIGIBLE: "an operator rejected it; or it was admitted, and is no film or is here already",
    },
    State.RECEIVED: {
        State.SCORED: "the bundle scored it",
        State.INELIGIBLE: "the gate or an operator refused it, with a reason",
        State.FAILED: "it gave no radiograph, or attempts ran out: a dead letter with a reason",
    },
    State.FAILED: {
        State.RECEIVED: "an operator requeued it",
        State.INELIGIBLE: "an operator rejected it",
    },
    State.SCORED: {State.REPORTED: "every destination has its result, and says so where it can be asked"},
    State.REPORTED: {},
    State.INELIGIBLE: {},
}


def sources(target: State) -> tuple[State, ...]:
    """The states from which `target` may be reached."""
    return tuple(state for state, targets in TRANSITIONS.items() if target in targets)


class Role(StrEnum):
    LIVE = "live"
    SHADOW = "shadow"
    RETIRED = "retired"


class Priority(IntEnum):
    """Whose turn it is among films that wait for a worker: a higher number waits for all that are lower."""

    LIVE = 0
    BACKFILL = 2
    """An old film that a backfill asked for. 1 is left for films that are scored again."""

    @classmethod
    def of(cls, backfilled: bool) -> "Priority":
        return cls.BACKFILL if backfilled else cls.LIVE
