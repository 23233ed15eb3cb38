"""The score task writes what is to be sent, in the transaction that ends the film."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from dicom_gateway.local import store_file
from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.gate.rules import Policy
from tests.integration.reporting.site import Site
from tests.pacs import pacs
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from worker.bundles.loaded import Serving
from worker.instances import list_instances
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.reporting.destinations import routes_of
from worker.reporting.new_results import ResultErrands
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring

PIXELS = chest_pixels(256, 224)


@pytest.fixture(scope="module")
def decoders(bundle: Bundle) -> Iterator[DecodePool]:
    pool = DecodePool(processes=1, timeout=60, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=1 << 22)
    yield pool
    pool.close()


def scoring(site: Site, decoders: DecodePool) -> Scoring:
    return Scoring(
        database=site.database,
        spool=site.spool,
        serving=Serving(
            default=site.bundle.path,
            open_engine=lambda found: OrtEngine(found, threads=1),
            policy=Policy(mark=frozenset(NOT_REAL)),
        ),
        decoders=decoders,
        retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
        results=ResultErrands(routes_of(site.routes), not_analysed=True),
    )


def came(site: Site, name: str, **attributes: Any) -> int:
    film = store_file(write_film(site.folder, name, pixels=PIXELS, **attributes), site.spool, "XRAYQ")
    return ingest(site.database, site.spool, replace(film, calling_ae="CR1"))[1]


def test_a_film_that_is_scored_is_sent_with_what_the_score_says(site: Site, decoders: DecodePool) -> None:
    ids = [came(site, "one"), came(site, "two", ViewPosition="AP"), came(site, "three", Modality="CT")]
    ids.append(came(site, "homeless", StudyInstanceUID=None, Modality="CT"))
    scoring(site, decoders).run(dict.fromkeys(ids, 0))
    views = {view.id: view for view in list_instances(site.database)}
    assert [views[key].state for key in ids] == ["scored", "ineligible", "ineligible", "ineligible"]
    assert len(site.waits()) == 3, "what belongs to no study has no place for a result"
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""] * 3
    said = [kept.SeriesDescription for kept in found.kept]
    probabilities = views[ids[0]].probabilities
    assert probabilities is not None
    assert said == [",".join(probabilities)] * 2 + [
        "view",
        "modality",
    ]
    assert [site.state(key) for key in ids] == ["reported", "ineligible", "ineligible", "ineligible"]


def test_killed_before_the_commit_neither_score_nor_result_is_there(site: Site, decoders: DecodePool) -> None:
    film = came(site, "one")

    def die(_connection: Any, _cursor: Any, statement: str, _values: Any, *_: Any) -> None:
        if statement.startswith("INSERT INTO errand"):
            raise RuntimeError("killed")

    event.listen(site.database, "after_cursor_execute", die)
    with pytest.raises(RuntimeError):
        scoring(site, decoders).run({film: 0})
    event.remove(site.database, "after_cursor_execute", die)
    assert (site.state(film), site.waits()) == ("received", [])
    scoring(site, decoders).run({film: 1})
    assert (site.state(film), len(site.waits())) == ("scored", 1)
    scoring(site, decoders).run({film: 1})
    assert len(site.waits()) == 1
