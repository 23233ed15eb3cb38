"""Logging for people or machines, with a closed list of fields, so that no patient data can slip in as an extra."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime

from worker.log_sink import Sink

FIELDS = (
    "instance",
    "digest",
    "instances",
    "action",
    "state",
    "scored",
    "ineligible",
    "failed",
    "reason",
    "calling_ae",
    "called_ae",
    "sop_class",
    "peer",
    "status",
    "bundle",
    "engine",
    "attempt",
    "ms",
    "commit_ms",
    "role",
    "port",
    "pid",
    "count",
    "exit_code",
    "alarm",
    "rule",
    "subject",
    "value",
    "channel",
)
READERS = ("pydicom", "pynetdicom", "highdicom", "python_multipart", "uvicorn")
LIBRARIES = (
    *READERS,
    *("celery", "kombu", "amqp", "alembic", "sqlalchemy", "pebble", "redis"),
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields(record)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """One line for people, on the clock of the process (`TZ`) with its offset."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(sep=" ", timespec="milliseconds")
        extras = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{when} {record.levelname:<7} {record.name:<14} {record.getMessage()} {extras}".rstrip()


def configure(level: str, style: str) -> None:
    """Log to standard error. Libraries are silenced below ERROR: some of them quote the data set they trip over."""
    handler = _handler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    handler.addFilter(_of_no_reader)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR)
    logging.getLogger("xrayq").setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    silence_readers()


def silence_readers() -> None:
    """What reads films and requests says nothing: its warnings quote them, a patient's name or a token among it."""
    for name in READERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore")


def _of_no_reader(record: logging.LogRecord) -> bool:
    """A library that is imported later sets its own level: pydicom does."""
    return record.name.partition(".")[0] not in READERS


def lost() -> int:
    """Lines of this process that nobody took."""
    return sum(handler.dropped for handler in _sinks())


def trouble() -> str:
    """What keeps this process's lines from being written, "" while nothing does."""
    return next((handler.trouble for handler in _sinks() if handler.trouble), "")


def flush() -> None:
    """Write what was logged, or give up after `log_sink.FLUSH_SECONDS`."""
    for handler in _sinks():
        handler.flush()


def _handler() -> logging.Handler:
    try:
        return Sink(sys.stderr.fileno())
    except (OSError, ValueError):  # no file: a test's own
        return logging.StreamHandler(sys.stderr)


def _sinks() -> list[Sink]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Sink)]


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
