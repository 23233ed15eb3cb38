"""One small bundle for all, and one study that was scored and sent."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_gateway.spool import Spool
from model.bundle import Bundle
from tests.bundles import small_bundle, with_threshold
from tests.integration.evidence.hospital import STUDY, Hospital, hospital, score_and_send
from tests.phantoms import chest_pixels
from worker.bundles import roles
from worker.bundles.roles import by_settings, placed_bundle
from worker.db import schema
from worker.db.session import make_engine


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("evidence-bundle"))


@pytest.fixture(scope="package")
def studied(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Instance 1; 2, of another patient, whose Accession Number is 4; 3, the second revision of 1; 4, a lateral of the
    same study, which is not scored. Each was scored by a shadow, too, and its result is in the PACS."""
    home = tmp_path_factory.mktemp("studied")
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    schema.upgrade(database)
    shadow = placed_bundle(with_threshold(bundle, home / "shadow", 0.2))
    roles.shadow(database, shadow, default=by_settings(bundle.path), actor="operator:test")
    with hospital(home, database, bundle) as site:
        other = {"StudyInstanceUID": "1.2.3", "AccessionNumber": "4", "PatientID": "OTHER", "PatientName": "Other"}
        score_and_send(site, [site.came("one"), site.came("other", pixels=chest_pixels(256, 224, seed=3), **other)])
        score_and_send(
            site, [site.came("one", pixels=chest_pixels(256, 224, seed=2)), site.came("side", ViewPosition="LL")]
        )
        yield site


@pytest.fixture(scope="package")
def pack(studied: Hospital) -> Path:
    """Of the study, with its films."""
    return studied.pack(STUDY, studied.home / "study.zip", "--with-film")


@pytest.fixture
def copy(studied: Hospital, tmp_path: Path) -> Iterator[Hospital]:
    """A copy of it to spoil."""
    shutil.copytree(studied.home, tmp_path / "home")
    home = tmp_path / "home"
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    yield replace(studied, home=home, database=database, spool=Spool(home / "spool", reserve_bytes=1 << 20))
    database.dispose()
