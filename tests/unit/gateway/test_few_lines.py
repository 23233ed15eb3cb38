"""A log that a stranger cannot fill."""

import logging

import pytest

from dicom_gateway.few_lines import FewLines


def test_so_many_lines_a_minute_and_then_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    lines = FewLines(logging.getLogger("xrayq.test"), a_minute=3, clock=lambda: now[0])

    def told() -> list[tuple[str, object]]:
        found = [(record.message, getattr(record, "count", None)) for record in caplog.records]
        caplog.clear()
        return found

    with caplog.at_level(logging.WARNING, "xrayq.test"):
        for number in range(5):
            lines.warning(f"line {number}", {})
        assert told() == [("line 0", None), ("line 1", None), ("line 2", None)]
        now[0] = 59.9
        lines.warning("still the minute", {})
        assert told() == []
        now[0] = 60.0
        lines.warning("next", {})
        assert told() == [("lines left out", 3), ("next", None)]
        now[0] = 200.0
        lines.warning("later", {})
        assert told() == [("later", None)]
