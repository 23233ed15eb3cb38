"""Logging for people or machines, with a closed list of fields, so that no patient data can slip in as an extra."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime

FIELDS = (
    "instance",
    "instances",
    "action",
    "state",
    "reason",
    "calling_ae",
    "called_ae",
    "sop_class",
    "peer",
    "status",
    "digest",
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
LIBRARIES = ("pydicom", "pynetdicom", "celery", "kombu", "amqp", "alembic", "sqlalchemy", "pebble", "redis")


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
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        extras = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{when} {record.levelname:<7} {record.name:<14} {record.getMessage()} {extras}".rstrip()


def configure(level: str, style: str) -> None:
    """Log to standard error. Libraries are silenced below ERROR: some of them quote the data set they trip over."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR)
    logging.getLogger("xrayq").setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
