"""One small bundle for all, and one study that was scored and sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.bundle import Bundle
from tests.bundles import small_bundle
from tests.integration.evidence.hospital import Hospital, hospital, score_and_send
from tests.phantoms import chest_pixels
from worker.db import schema
from worker.db.session import make_engine


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("evidence-bundle"))


@pytest.fixture(scope="package")
def studied(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Instances 1 and 2, of two patients; 3, the first one's second revision; 4, a lateral that is not scored.

    2 is of another study. Each has its result in the PACS.
    """
    home = tmp_path_factory.mktemp("studied")
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    schema.upgrade(database)
    with hospital(home, database, bundle) as site:
        first = [
            site.came("one"),
            site.came("other", StudyInstanceUID="1.2.3", AccessionNumber="ACC-OTHER", PatientID="OTHER"),
        ]
        score_and_send(site, first)
        later = [site.came("one", pixels=chest_pixels(256, 224, seed=2)), site.came("lateral", ViewPosition="LL")]
        score_and_send(site, later)
        yield site


@pytest.fixture(scope="package")
def pack(studied: Hospital) -> Path:
    """Of the study, with its films."""
    return studied.pack("1", studied.home / "study.zip", "--with-film")
