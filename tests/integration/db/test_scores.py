"""What the database says of scores is what the model says of them."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, update

from dicom_gateway.spool import Spool
from model.conformal import unsure
from tests.integration.audit.test_reconciliation import ended, sent
from worker.db.scores import IS_UNSURE
from worker.db.session import reading, writing
from worker.db.tables import finding_score, score
from worker.instances import list_instances


@pytest.mark.parametrize("found", [None, [], ["normal"], ["pneumonia", "covid19"], ["normal", "pneumonia", "covid19"]])
def test_a_film_is_unsure_in_the_database_and_in_lists_as_in_the_model(
    database: Engine, spool: Spool, tmp_path: Path, found: list[str] | None
) -> None:
    key = sent(database, spool, tmp_path, "film")
    ended(database, key, "scored")
    with writing(database) as connection:
        connection.execute(update(score).values(prediction_set=found))
        number = connection.execute(select(score.c.id)).scalar_one()
        row = {"score_id": number, "finding": "normal", "flag": False, "logit": 0.0, "probability": 0.5}
        connection.execute(insert(finding_score), row)
    with reading(database) as connection:
        assert bool(connection.execute(select(IS_UNSURE)).scalar_one()) == unsure(found)
        assert len(connection.execute(select(score.c.id).where(IS_UNSURE)).all()) == unsure(found)
    (view,) = list_instances(database)
    assert (view.prediction_set, view.unsure) == (found, unsure(found))
