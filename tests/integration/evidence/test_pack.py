"""What is in a pack, made of films that went the whole way."""

import json
from pathlib import Path
from zipfile import ZipFile

from tests.integration.evidence.hospital import Hospital


def test_x(studied: Hospital, pack: Path) -> None:
    with ZipFile(pack) as z:
        z.testzip()
        for i in z.infolist():
            print(i.filename, i.file_size)
        for n in z.namelist():
            if n.endswith(("json","jsonl","txt")) and not n.startswith("bundle"):
                print("=====", n); print(z.read(n).decode()[:3000])
    done = studied.xrayq("evidence", "verify", str(pack))
    print(done.stdout, done.stderr)
    assert 0
