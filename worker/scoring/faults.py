"""Whose fault an error was that ended the work on a batch, and how the log names it."""

from sqlalchemy.exc import SQLAlchemyError

from model.errors import ModelError, first_line
from worker.db.causes import cause, is_of_a_value
from worker.queue.retry import Fault


def fault_of(error: Exception) -> Fault:
    """What `worker.queue.retry` decides by."""
    if is_of_a_value(error):
        return Fault.ROW_REFUSED
    if isinstance(error, SQLAlchemyError):
        return Fault.DATABASE_AWAY
    return Fault.ENGINE_DOWN if isinstance(error, ModelError) else Fault.UNKNOWN


def in_words(error: Exception) -> str:
    """For the log. Of an error that is not ours its kind alone, for its message could quote a film."""
    if isinstance(error, SQLAlchemyError):
        return cause(error)
    return first_line(error) if isinstance(error, ModelError) else type(error).__name__
