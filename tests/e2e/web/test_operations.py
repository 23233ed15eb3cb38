"""A person on call works through the operations pages in Chromium, by keyboard, while the page refreshes itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dicom_gateway.spool import Spool
from tests.alarms import condition, settled
from tests.bundles import small_bundle
from tests.e2e.web.conftest import Watched, served
from tests.integration.reporting.site import Site
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import instance

ELSEWHERE = {"gateway_http_port": "0", "relay_http_port": "0", "worker_http_port": "0"}
"""The processes have no endpoints: they are not asked."""


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_person_acknowledges_and_requeues_and_the_page_keeps_the_focus(
    tab: Callable[[str], AbstractContextManager[Watched]], database_url: str, spool: Spool, tmp_path: Path
) -> None:
    database = make_engine(database_url)
    schema.upgrade(database)
    hospital = Site(
        database=database, spool=spool, bundle=small_bundle(tmp_path / "bundle"), folder=tmp_path, routes=()
    )
    for name in ("one", "two"):
        hospital.film(name, "failed")
    settled(database, condition("backlog"))
    with served(tmp_path, database_url, **ELSEWHERE) as at, tab(at) as watched:
        page = watched.page
        watched.goto("/operations")
        page.locator("#letters-1").focus()
        looked = page.locator("#looked").inner_text()
        with writing(database) as connection:
            connection.execute(instance.update().values(reason="decoder_timeout"))
        page.wait_for_function("before => document.querySelector('#looked').innerText !== before", arg=looked)
        assert page.evaluate("document.activeElement.id") == "letters-1"
        assert "decoder timeout" in page.locator("#dead-letters").inner_text()
        page.keyboard.press("Enter")
        page.wait_for_url("**/decoder_timeout")
        page.get_by_role("link", name="Requeue all 2").press("Enter")
        page.get_by_role("button", name="Requeue").press("Enter")
        page.wait_for_url("**?requeued=2")
        assert "2 requeued." in page.locator("main").inner_text()
        watched.goto("/operations")
        page.locator("#alarm-1").press("Enter")
        page.get_by_label("Why").fill("a worker is being mended")
        page.keyboard.press("Enter")
        page.wait_for_url("**/operations#alarms")
        assert "knows: a worker is being mended" in page.locator("#alarms").inner_text()
        assert page.locator("#stale").is_hidden()
