"""What the gateway's process says when it begins."""

import json
from pathlib import Path

from dicom_gateway.spool import INCOMING, Spool
from tests.services import environment, free_port, listening, process, typed_in, wait_until


def lines_of_a_start(home: Path, name: str) -> list[dict[str, object]]:
    """Of the log, from the start of a gateway until it listened."""
    port, log = free_port(), home / name
    with process("gateway", environment(home=str(home), port=str(port), log_format="json"), log):
        wait_until(lambda: listening(port), 30, "the gateway")
        wait_until(lambda: '"listening"' in log.read_text(), 10, "its line")
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_half_written_films_that_were_removed_have_a_line_of_their_own(tmp_path: Path) -> None:
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        xrayq("db", "upgrade")
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for name in ("a.part", "b.part"):
        (spool.root / INCOMING / name).write_bytes(b"half")
    first, again = lines_of_a_start(tmp_path, "first.log"), lines_of_a_start(tmp_path, "again.log")
    said = {str(line["message"]): line for line in first}
    assert said["removed half-written films that nobody was promised"]["count"] == 2
    assert "count" not in said["listening"]
    assert [line["message"] for line in again if "count" in line] == []
