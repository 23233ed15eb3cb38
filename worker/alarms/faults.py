"""Why an alarm's message did not arrive: codes beside those of a channel, and words for all of them."""

from worker.channels import faults

NOT_CONFIGURED, UNREADABLE, RAISED_WAITS = "not_configured", "unreadable", "raised_waits"
WORDS: dict[str, str] = faults.WORDS | {
    NOT_CONFIGURED: "the channel is no longer configured",
    UNREADABLE: "another release wrote it, and this one cannot read it",
    RAISED_WAITS: "the message that it was raised waits too",
}


def in_words(code: str) -> str:
    """What the code means; the code itself where it says enough."""
    return WORDS[code] if code in WORDS else faults.in_words(code)
