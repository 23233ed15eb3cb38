"""Studies of films that end, as those of results have them, and strangers who send."""

from tests.integration.studies.conftest import bundle, site, studies

__all__ = ["bundle", "site", "studies"]
