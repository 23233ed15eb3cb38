"""Many missing films: written in batches, and counted by the database."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from worker.db.session import reading
from worker.pacs import keeping, kept
from worker.pacs.comparing import Comparison, MissingFilm, Why
from worker.pacs.keeping import keep

DAY = date(2026, 11, 27)
BATCH = 4


def comparison(first: int, last: int) -> Comparison:
    missing = tuple(
        MissingFilm(
            sop_instance_uid=f"1.2.{number}",
            study_instance_uid="1.2.3",
            series_instance_uid="1.2.3.1",
            modality="DX",
            film_at="",
            accession_digest="",
            why=Why.NEVER_SENT if number % 2 else Why.REFUSED,
        )
        for number in range(first, last)
    )
    return Comparison(films=len(missing), here=0, on_its_way=0, missing=missing)


def test_killed_between_two_batches_the_day_has_no_answer_and_the_next_asking_is_whole(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BATCH", BATCH)
    batches: list[int] = []

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO missing_film"):
            batches.append(1)
            if len(batches) == 2:
                raise RuntimeError("killed")

    event.listen(database, "before_cursor_execute", die)
    with pytest.raises(RuntimeError, match="killed"):
        keep(database, "ARCHIVE", DAY, comparison(0, 2 * BATCH), unreadable=0, now=datetime.now(UTC))
    event.remove(database, "before_cursor_execute", die)
    with reading(database) as connection:
        assert kept.of_day(connection, DAY) == ()
        (found,) = kept.still_missing(connection, DAY, 3)
    assert found.films == BATCH
    first = found.ids
    for _ in range(2):
        keep(database, "ARCHIVE", DAY, comparison(1, 2 * BATCH + 1), unreadable=0, now=datetime.now(UTC))
        with reading(database) as connection:
            (answer,) = kept.of_day(connection, DAY)
            (found,) = kept.still_missing(connection, DAY, 3)
        assert (answer.films, len(answer.not_here), found.films, found.oldest) == (2 * BATCH,) * 3 + (DAY,)
        assert found.reasons == {Why.NEVER_SENT: BATCH, Why.REFUSED: BATCH}
        assert found.ids[:2] == first[1:], "who is still missing keeps the id; the first one came"
