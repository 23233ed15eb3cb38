"""A site with one destination, and the small bundle that all of its scores are of."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from dicom_gateway.spool import Spool
from model.bundle import Bundle
from tests.bundles import small_bundle
from tests.integration.reporting.site import Site
from tests.services import free_port


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def site(database: Engine, spool: Spool, bundle: Bundle, tmp_path: Path) -> Site:
    """CR1 is accepted, and its results go to PACS, at a port at which nothing listens."""
    made = Site(
        database=database,
        spool=spool,
        bundle=bundle,
        folder=tmp_path,
        routes=(f"CR1:PACS@127.0.0.1:{free_port()}",),
    )
    made.accept()
    return made
