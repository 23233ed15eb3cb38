"""Films of the spool that no instance names: promised and lost, as when a database comes back from a backup, or never
answered with success.

A database that lost its last transactions proves itself: its trail ends early, and is whole. The spool knows better.
"""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, select

from dicom_gateway.spool import is_spool
from worker.db.session import snapshot
from worker.db.tables import instance

SETTLED_SECONDS = 300.0
"""After its last byte a film is in the database, or was refused: a commit waits 20 s for its turn, and again after a
lost race."""
FILM = re.compile(r"[0-9a-f]{64}\.dcm")
CHUNK = 5000
NAMED = 5
"""In a sentence."""
REMEDY = "'xrayq submit --orphans' receives them"


def orphans(engine: Engine, spool: Path) -> list[str] | None:
    """Digests of such films, sorted; None where this process does not see the spool, or cannot read it.

    Every digest of the database is held at once: about 180 MB for a million films.
    """
    if not is_spool(spool):
        return None
    before = time.time() - SETTLED_SECONDS
    query = select(instance.c.digest).where(instance.c.in_spool)
    with snapshot(engine) as connection, connection.execute(query, execution_options={"yield_per": CHUNK}) as rows:
        known = {digest for (digest,) in rows}
    try:
        return sorted(digest for shard in range(256) for digest in _without(spool / f"{shard:02x}", known, before))
    except OSError:
        return None


def in_words(digests: Sequence[str]) -> str:
    """One sentence for a person, with the first twelve digits of some."""
    number, named = len(digests), ", ".join(digest[:12] for digest in digests[:NAMED])
    films = "1 film of the spool is" if number == 1 else f"{number:,} films of the spool are"
    more = f" and {number - NAMED:,} more" if number > NAMED else ""
    return (
        f"{films} not in the database ({named}{more}): promised and lost, as after a restore, or never answered with "
        f"success; {REMEDY}"
    )


def _without(folder: Path, known: set[str], before: float) -> list[str]:
    with os.scandir(folder) as entries:
        return [
            entry.name[:-4]
            for entry in entries
            if FILM.fullmatch(entry.name) and entry.name[:-4] not in known and entry.stat().st_mtime < before
        ]
