"""A physicist opens last night's report, moves a slider, and makes a shadow live and takes it back, in Chromium."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests import days
from tests.bundles import small_bundle
from tests.e2e.web.conftest import Watched, served
from tests.nightly import recorded
from worker.bundles import roles
from worker.bundles.roles import by_settings, placed_bundle
from worker.db import schema
from worker.db.session import make_engine
from worker.nightly import published
from worker.nightly.content import NightOptions
from worker.nightly.files import write_report

DAY = date(2026, 11, 20)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_report_a_slider_and_a_bundle(
    tab: Callable[[str], AbstractContextManager[Watched]], database_url: str, tmp_path: Path
) -> None:
    database = make_engine(database_url)
    schema.upgrade(database)
    days.fill(database, DAY, 80, shares=days.Shares(labelled=0.9), seed=3)
    folder = published.folder_of(tmp_path / "reports", DAY)
    folder.mkdir(parents=True)
    write_report(database, DAY, NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT), folder)
    recorded(database, DAY, published.digest_of(folder), published.digests_of(folder))
    shadow = placed_bundle(small_bundle(tmp_path / "bundle", version="2"))
    roles.shadow(database, shadow, default=by_settings(None), actor="operator:kim")
    with served(tmp_path, database_url) as at, tab(at) as watched:
        page = watched.page
        watched.goto("/reports")
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Open the report").press("Enter")
        report = opened.value
        report.wait_for_load_state()
        assert report.evaluate("self.origin") == "null", "a sandbox"
        assert report.evaluate("document.images.length > 0 && [...document.images].every(one => one.naturalWidth)")
        assert report.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"

        watched.goto("/before-go-live?flag=covid19&films=400")
        page.get_by_label("Flag from this probability on, slider").press("PageDown")
        page.locator("#day thead th").nth(2).wait_for()
        assert "threshold=" in page.url
        assert page.evaluate("document.activeElement.dataset.for") == "threshold"

        watched.goto("/operations/trends")
        page.locator(".plot[data-chart=films] canvas").wait_for()

        watched.goto("/operations/bundles")
        page.locator(".criteria").wait_for()
        for link, button in (("Activate…", "Activate"), ("Roll back…", "Roll back")):
            page.get_by_role("link", name=link).first.press("Enter")
            page.get_by_role("button", name=button).press("Enter")
            page.wait_for_url("**/operations/bundles?done=*")
        assert "taken back" in page.get_by_role("status").inner_text()
