import json
import logging
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from worker.logs import FIELDS, LIBRARIES, JsonFormatter, TextFormatter

SECRET = "Secret^Person"
SCRIPT = """
import logging, sys, warnings
from worker import logs
logs.configure(sys.argv[1], sys.argv[2])
log = logging.getLogger("xrayq.test")
log.debug("debug")
log.info("stored", extra={"instance": 7, "patient": "Secret^Person", "PatientID": "PID-SECRET"})
for name in (*logs.LIBRARIES, "pydicom.filereader", "pynetdicom.acse", "somebody.else"):
    logging.getLogger(name).warning("Secret^Person")
for name in ("pydicom", "pynetdicom", "pydicom.filereader"):
    logging.getLogger(name).critical("Secret^Person")
warnings.warn("Secret^Person")
log.error("bad\\nthing", extra={"reason": 'quote " and \\n line'})
"""


def record(**extra: object) -> logging.LogRecord:
    return logging.getLogger("xrayq.x").makeRecord(
        "xrayq.x", logging.INFO, "file.py", 1, "film %s", ("seven",), None, extra=extra
    )


@pytest.mark.parametrize("field", FIELDS)
def test_listed_fields_get_through(field: str) -> None:
    assert json.loads(JsonFormatter().format(record(**{field: 5})))[field] == 5
    assert TextFormatter().format(record(**{field: 5})).endswith(f"film seven {field}=5")


@pytest.mark.parametrize("field", ["patient", "PatientName", "dataset", "uid", "path", "instance_", "INSTANCE"])
def test_other_fields_are_dropped(field: str) -> None:
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(record(**{field: SECRET}))
        assert SECRET not in line
        assert field not in line.split()


@pytest.mark.parametrize(("zone", "expected"), [("UTC", "12:00:00.250+00:00"), ("Europe/Berlin", "13:00:00.250+01:00")])
def test_a_line_for_people_has_its_date_and_zone(zone: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = record(instance=7, digest="0123456789ab")
    line.created = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC).timestamp()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    text = TextFormatter().format(line)
    monkeypatch.undo()
    time.tzset()
    assert text == f"2026-11-20 {expected} INFO    xrayq.x        film seven instance=7 digest=0123456789ab"


def test_json_line() -> None:
    line = JsonFormatter().format(record(instance=1, reason='a "quoted"\nline'))
    assert "\n" not in line
    parsed = json.loads(line)
    assert list(parsed) == ["time", "level", "logger", "message", "instance", "reason"]
    assert (parsed["level"], parsed["logger"], parsed["message"]) == ("INFO", "xrayq.x", "film seven")
    assert parsed["time"].endswith("+00:00")


@pytest.mark.parametrize("style", ["json", "text"])
def test_configured_process(style: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "INFO", style], capture_output=True, text=True, timeout=180, check=True
    )
    assert done.stdout == ""
    assert "SECRET" not in done.stderr.upper()
    assert "debug" not in done.stderr
    if style == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert [(line["level"], line["message"]) for line in lines] == [("INFO", "stored"), ("ERROR", "bad\nthing")]
        assert (lines[0]["instance"], lines[1]["reason"]) == (7, 'quote " and \n line')
    else:
        assert "INFO    xrayq.test" in done.stderr
        assert "stored instance=7" in done.stderr


def test_the_libraries_that_quote_data_sets_are_listed() -> None:
    assert {"pydicom", "pynetdicom", "sqlalchemy", "celery"} <= set(LIBRARIES)
