"""Bundles changed at the web page: checked, confirmed, by an admin, with who did it."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from tests.bundles import small_bundle
from tests.integration.web.conftest import CSRF, OneVisitor
from worker.bundles import roles
from worker.bundles.roles import PlacedBundle, by_settings, placed_bundle
from worker.db.session import reading
from worker.db.tables import audit_event
from worker.states import Role
from worker.web.people import Person, WebRole

PLACE = "/operations/bundles"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PlacedBundle:
    """Beside the shipped one, which is live."""
    return placed_bundle(small_bundle(tmp_path_factory.mktemp("bundle"), version="2"))


def asked(browser: TestClient, what: str, bundle: str) -> dict[str, str]:
    """What the confirmation's form would send."""
    page = browser.get(f"{PLACE}/change", params={"what": what, "bundle": bundle})
    assert page.status_code == 200, page.text
    return dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text[page.text.index("<main") :])
    )


def served(database: Engine) -> dict[str, str]:
    with reading(database) as connection:
        return {bundle.digest: bundle.role.value for bundle in roles.placed(connection)}


def test_a_shadow_becomes_live_and_is_rolled_back(browser: TestClient, database: Engine, small: PlacedBundle) -> None:
    shipped = by_settings(None)
    roles.shadow(database, small, default=shipped, actor="operator:kim")
    assert "not enough films" in browser.get(f"{PLACE}/compared/{small.digest}").text
    form = asked(browser, "activate", small.digest)
    assert form["live"] == shipped.digest
    done = browser.post(f"{PLACE}/change", data=form)
    assert (done.status_code, done.headers["location"]) == (303, f"{PLACE}?done=activate")
    assert served(database) == {small.digest: "live", shipped.digest: "retired"}
    assert browser.post(f"{PLACE}/change", data=form).status_code == 409, "sent twice"
    assert "Roll back" in browser.get(PLACE).text
    assert browser.post(f"{PLACE}/change", data=asked(browser, "rollback", "")).status_code == 303
    assert served(database) == {small.digest: "retired", shipped.digest: "live"}
    with reading(database) as connection:
        events = connection.execute(select(audit_event).where(audit_event.c.action == "bundle_activated")).all()
    assert [(row.actor, row.detail) for row in events] == [
        ("operator:alex", {"old": shipped.digest, "new": small.digest}),
        ("operator:alex", {"old": small.digest, "new": shipped.digest, "rollback": True}),
    ]


def test_what_is_not_whole_or_of_a_browsers_choice_is_not_activated(
    browser: TestClient, database: Engine, small: PlacedBundle, tmp_path: Path
) -> None:
    gone = PlacedBundle(**(vars(small) | {"path": str(tmp_path), "role": Role.SHADOW}))
    roles.shadow(database, gone, default=by_settings(None), actor="operator:kim")
    before = served(database)
    page = browser.get(f"{PLACE}/change", params={"what": "activate", "bundle": gone.digest}).text
    assert "It cannot be opened here" in page
    form = {"csrf": CSRF, "what": "activate", "bundle": gone.digest, "live": by_settings(None).digest}
    assert browser.post(f"{PLACE}/change", data=form).status_code == 400
    for name in (small.path, "../reference", "..", ""):
        assert browser.post(f"{PLACE}/change", data=form | {"bundle": name}).status_code == 404, name
    assert served(database) == before


def test_only_an_admin_changes_what_scores(
    browser: TestClient, doors: OneVisitor, database: Engine, small: PlacedBundle
) -> None:
    roles.shadow(database, small, default=by_settings(None), actor="operator:kim")
    form = asked(browser, "retire", small.digest)
    doors.person = Person(name="olga", role=WebRole.OPERATOR)
    assert "/change?" not in browser.get(PLACE).text
    assert browser.get(f"{PLACE}/change?what=retire&bundle={small.digest}").status_code == 403
    assert browser.post(f"{PLACE}/change", data=form).status_code == 403
    assert served(database) == {small.digest: "shadow"}
    doors.person = Person(name="ann", role=WebRole.ADMIN)
    assert browser.post(f"{PLACE}/change", data=form).status_code == 303
    assert served(database) == {small.digest: "retired"}
