"""What became of a task in a confined child process that did not come to an answer."""

from concurrent.futures import BrokenExecutor, CancelledError, TimeoutError

from pebble import ProcessExpired

from worker.queue.retry import Fault


def fault_of_child(error: Exception) -> Fault:
    """Of what the task's Future raised."""
    match error:
        case BrokenExecutor() | CancelledError():
            return Fault.DECODER_UNAVAILABLE
        case ProcessExpired():
            return Fault.DECODER_CRASHED
        case TimeoutError():
            return Fault.DECODER_TIMEOUT
        case MemoryError():
            return Fault.DECODER_MEMORY
    return Fault.DECODER_ERROR
