"""Studies of films that end: a site as that of the results, with its studies."""

import pytest

from tests.integration.reporting.conftest import bundle, site
from tests.integration.reporting.site import Site
from tests.integration.studies.studies import Studies

__all__ = ["bundle", "site", "studies"]


@pytest.fixture
def studies(site: Site) -> Studies:
    return Studies(site=site)
