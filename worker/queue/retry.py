"""What becomes of a film whose work failed. It is decided here and nowhere else.

An attempt begins when a worker claims the film, and is counted at once. A fault of the film ends it; a fault of ours
is given back, uncounted, for it says nothing about the film; where nobody knows whose fault it was, the attempt stays
counted, and after XRAYQ_MAX_ATTEMPTS of these the film is a dead letter. `xrayq instance requeue` begins anew.

    fault                decision           why
    decoder_crashed      Again, DeadLetter  it may have died of something else; the second time it was this film
    decoder_timeout      Again, DeadLetter  the machine may have been busy; the second time it was this film
    decoder_memory       DeadLetter         it would want as much the next time
    decoder_error        DeadLetter         what the decoder raised, it would raise the next time
    decoder_unavailable  Postpone           the decoders stopped, or the spool cannot be read: any film would fail
    spool_unreadable     Count              its folder can be read, and the file cannot: a bad sector, or its mode
    spool_missing        DeadLetter         the folder is there, and the file is not
    spool_damaged        DeadLetter         the file is not the one that was received, until the film is sent again
    no_radiograph        DeadLetter         the file gives no picture; `dicom_gateway.errors` has the reasons
    study_missing        DeadLetter         its score would belong to no study
    engine_refused       DeadLetter         the engine answers other films, and not this one
    engine_down          Postpone           the live bundle or its engine does not open or run: any film would fail
    database_away        Postpone           the results could not be committed
    row_refused          Count              the database does not take a value: one of the films may have brought it
    unknown              Count              an error that nobody thought of: one of the films may be the cause
    worker_died          Count              nobody is left to say why: one of the films may be the cause
    attempts_exhausted   DeadLetter         the film is claimed once more, and its attempts are used up

Again: once more in this attempt, at once, in a new process. Postpone and Count: after a wait that doubles.

A film that is not yet claimed has begun no attempt. Where the live bundle cannot be found or opened then, nothing is
written: the film is published again when the relay's lease has passed.

So a film whose decoder dies is decoded once more, and when that decoder dies too, it is failed with decoder_crashed:
no third decoder is given to it. A film that takes the whole worker down is tried again when its lease and then the wait
have passed; after SUSPECT_ATTEMPTS it travels alone, so that it takes no other films with it.

Not decided here: what the gate refuses, for that is no fault; a shadow that cannot score, whose films are skipped with
an audit event; how often the night's report or an alarm's message is tried. All of them that wait use `back_off`.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from worker.states import NO_STUDY

DECODES = 2
"""Times that a film is decoded in one attempt, at most."""
SUSPECT_ATTEMPTS = 2
"""A film with so many counted attempts travels alone."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts."""
BUNDLE_SECONDS = 30.0
"""A bundle that cannot be loaded is opened again after this long, not with every message: its digests take time."""


class Fault(StrEnum):
    """What kept a film from its end. Those that end it bear the name of the reason that is kept with it."""

    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMEOUT = "decoder_timeout"
    DECODER_MEMORY = "decoder_memory"
    DECODER_ERROR = "decoder_error"
    DECODER_UNAVAILABLE = "decoder_unavailable"
    SPOOL_UNREADABLE = "spool_unreadable"
    SPOOL_MISSING = "spool_missing"
    SPOOL_DAMAGED = "spool_damaged"
    NO_RADIOGRAPH = "no_radiograph"
    STUDY_MISSING = NO_STUDY
    ENGINE_REFUSED = "engine_refused"
    ENGINE_DOWN = "engine_down"
    DATABASE_AWAY = "database_away"
    ROW_REFUSED = "row_refused"
    UNKNOWN = "unknown"
    WORKER_DIED = "worker_died"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


@dataclass(frozen=True, kw_only=True)
class Again:
    """Once more, at once, within this attempt."""


@dataclass(frozen=True, kw_only=True)
class Postpone:
    """Later, and this attempt is not counted."""

    failures: int
    """So far; the wait doubles with each."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """Later, and this attempt is counted."""

    failures: int
    """So far; the wait doubles with each."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """Not again: the film is failed."""

    reason: str
    """The code that is kept with it."""


Decision = Again | Postpone | Count | DeadLetter

DECODED_TWICE = frozenset({Fault.DECODER_CRASHED, Fault.DECODER_TIMEOUT})
POSTPONED = frozenset({Fault.DECODER_UNAVAILABLE, Fault.ENGINE_DOWN, Fault.DATABASE_AWAY})
COUNTED = frozenset({Fault.SPOOL_UNREADABLE, Fault.ROW_REFUSED, Fault.UNKNOWN, Fault.WORKER_DIED})


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """How often and how soon a film is tried again; from the settings."""

    max_attempts: int
    retry_seconds: float
    """Wait after the first failure; doubles."""
    lease_seconds: float
    """A worker that was not heard of for so long is taken for dead."""

    def wait(self, decision: Postpone | Count) -> timedelta:
        """Before the next attempt."""
        return timedelta(seconds=back_off(self.retry_seconds, decision.failures, LONGEST_WAIT))


def decide(fault: Fault, *, reason: str = "", decoded: int = DECODES, attempts: int = 1, claims: int = 1) -> Decision:
    """What happens next, by the table above.

    Args:
        reason: closer than the fault's name, for a dead letter.
        decoded: times that the film was decoded in this attempt.
        attempts: counted so far, this one among them.
        claims: attempts so far, counted or not, this one among them.
    """
    if fault in DECODED_TWICE and decoded < DECODES:
        return Again()
    if fault in POSTPONED:
        return Postpone(failures=claims)
    if fault in COUNTED:
        return Count(failures=attempts)
    return DeadLetter(reason=reason or fault.value)


def exhausted(attempts: int, options: RetryOptions) -> bool:
    """Whether a film that is claimed has no attempt left: then the fault is ATTEMPTS_EXHAUSTED.

    This is asked when the film is claimed, and not when its last attempt fails: a worker that died cannot say so.
    """
    return attempts >= options.max_attempts


def fault_of_reason(reason: str) -> Fault:
    """The fault behind a reason that decoding gave: its own name, or a code of `dicom_gateway.errors.PixelError`."""
    try:
        return Fault(reason)
    except ValueError:
        return Fault.NO_RADIOGRAPH


def back_off(first: float, failures: int, longest: float) -> float:
    """Seconds to wait after so many failures: `first`, doubled with each one after it, `longest` at most."""
    return min(first * 2.0 ** min(failures - 1, 20), longest)
