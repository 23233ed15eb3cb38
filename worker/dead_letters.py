"""Why a film failed, and what to do: a sentence for each reason code of a dead letter."""

from dicom_gateway.errors import PIXEL_ERRORS, PixelError

FILE = "Put the file back from a backup or have the film sent again, then 'xrayq instance requeue {id}'."
LOG = "Look in the worker's log for the cause and mend it, then 'xrayq instance requeue {id}'."
FILM = "Look at the film in the PACS, then 'xrayq instance reject {id}'."
UIDS = "Correct the UIDs at the sender and send it again, then 'xrayq instance reject {id}'."

OF_SERVICE: dict[str, tuple[str, str]] = {
    "decoder_crashed": ("the decoder process died on this film, twice", FILM),
    "decoder_timeout": ("decoding took longer than XRAYQ_DECODE_TIMEOUT, twice", LOG),
    "decoder_memory": ("decoding wanted more memory than XRAYQ_DECODE_MEMORY_MIB", LOG),
    "decoder_error": ("the decoder failed in a way we do not know", FILM),
    "spool_missing": ("the film is not in the spool", FILE),
    "spool_damaged": ("the file in the spool is not the film that was received: its SHA-256 is another", FILE),
    "study_missing": ("Study or Series Instance UID is missing or no UID: a score would belong to no study", UIDS),
    "engine_refused": ("the network answers other films and not this one", LOG),
    "attempts_exhausted": ("each of XRAYQ_MAX_ATTEMPTS attempts failed, or ended with its worker", LOG),
}
"""Meaning and next step of the reasons that `worker.queue.retry` gives."""
ERRORS: tuple[type[PixelError], ...] = (*PIXEL_ERRORS, PixelError)
OF_PIXELS: dict[str, str] = {
    error.reason: (error.__doc__ or error.reason).split("\n")[0].rstrip(".") for error in ERRORS
}
"""Meaning of the reasons that a stored file gives."""


def meaning_of(reason: str) -> str:
    """What a reason means."""
    return OF_SERVICE[reason][0] if reason in OF_SERVICE else OF_PIXELS.get(reason, reason)


def step_of(reason: str) -> str:
    """What to do next; {id} stands for the instance."""
    return OF_SERVICE[reason][1] if reason in OF_SERVICE else FILM


def in_words(reason: str, instance_id: int) -> str:
    """One line: what the reason means, and what to do next."""
    return f"{meaning_of(reason)}. {step_of(reason).format(id=instance_id)}"
