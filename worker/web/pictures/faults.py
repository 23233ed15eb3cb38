"""Why there is no picture: a code, and words for whoever looks."""

import errno

from dicom_gateway.errors import PixelError, Refusal
from worker.dead_letters import OF_PIXELS
from worker.errors import NoPicture, Unhealthy
from worker.queue.child_faults import fault_of_child
from worker.queue.retry import Fault

BUSY, NO_MAP, NO_BUNDLE = "busy", "no_map", "no_bundle"
WORDS: dict[str, str] = OF_PIXELS | {
    BUSY: "too many pictures are asked for now: try again in a moment",
    NO_MAP: "this network's head is of another kind: no map can be told from it",
    NO_BUNDLE: "the bundle that scored the film is not here any more: put it back where it was",
    Fault.DECODER_CRASHED: "the decoder died on this film",
    Fault.DECODER_TIMEOUT: "decoding took longer than XRAYQ_DECODE_TIMEOUT",
    Fault.DECODER_MEMORY: "decoding wanted more memory than XRAYQ_DECODE_MEMORY_MIB",
    Fault.DECODER_ERROR: "the decoder failed in a way we do not know",
    Fault.DECODER_UNAVAILABLE: "the page is being stopped: load it again",
    Fault.SPOOL_MISSING: "the film is not in the spool any more",
    Fault.SPOOL_DAMAGED: "the file in the spool is not the film that was received: put it back from a backup, or "
    "have the film sent again",
    Fault.SPOOL_UNREADABLE: "the file in the spool cannot be read now",
}


def no_picture(reason: str) -> NoPicture:
    return NoPicture(reason, WORDS[reason])


def of_child(error: Exception) -> NoPicture:
    """Of what a child raised, or how it ended."""
    return no_picture(_reason(error))


def _reason(error: Exception) -> str:
    fault = fault_of_child(error)
    if fault is not Fault.DECODER_ERROR:
        return fault
    match error:
        case PixelError():
            return error.reason
        case Refusal():  # of a header that an earlier release took
            return PixelError.reason
        case Unhealthy():
            return Fault.SPOOL_DAMAGED
        case FileNotFoundError():
            return Fault.SPOOL_MISSING
        case OSError():
            return Fault.DECODER_MEMORY if error.errno == errno.ENOMEM else Fault.SPOOL_UNREADABLE
    return fault
