"""Transitions of bundles in service, on both databases, with their audit events."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from model import bundle as bundles
from model.errors import BundleError
from tests.bundles import small_bundle
from worker.bundles import roles as deployment
from worker.bundles.overview import overview
from worker.bundles.roles import PlacedBundle, placed_bundle
from worker.db.session import reading
from worker.db.tables import audit_event
from worker.errors import NotFound, WrongState

WHO = "operator:test"


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> list[PlacedBundle]:
    """The settings' bundle, and three others."""
    folder = tmp_path_factory.mktemp("bundles")
    return [placed_bundle(small_bundle(folder / str(number), version=str(number))) for number in range(4)]


def roles(database: Engine) -> dict[str, str]:
    """Version -> role, of every row."""
    with reading(database) as connection:
        return {one.version: one.role.value for one in deployment.placed(connection)}


def events(database: Engine) -> list[tuple[str, dict[str, Any]]]:
    with reading(database) as connection:
        rows = connection.execute(select(audit_event).order_by(audit_event.c.id)).all()
    assert {row.actor for row in rows} <= {WHO}
    return [(row.action, row.detail) for row in rows]


def test_activate_and_roll_back_twice(database: Engine, family: list[PlacedBundle]) -> None:
    default, one, two, _ = family
    deployment.activate(database, one, default=default, actor=WHO)
    assert roles(database) == {"0": "retired", "1": "live"}
    deployment.activate(database, two, default=default, actor=WHO)
    for expected in (one, default):
        earlier = deployment.before_live(database)
        assert earlier.digest == expected.digest
        deployment.activate(database, earlier, default=default, actor=WHO, rollback=True)
    assert roles(database) == {"0": "live", "1": "retired", "2": "retired"}
    with pytest.raises(WrongState, match="no live bundle before"):
        deployment.before_live(database)
    assert events(database) == [
        ("bundle_activated", {"old": default.digest, "new": one.digest}),
        ("bundle_activated", {"old": one.digest, "new": two.digest}),
        ("bundle_activated", {"old": two.digest, "new": one.digest, "rollback": True}),
        ("bundle_activated", {"old": one.digest, "new": default.digest, "rollback": True}),
    ]


def test_shadow_and_retire(database: Engine, family: list[PlacedBundle]) -> None:
    default, one, two, _ = family
    deployment.shadow(database, one, default=default, actor=WHO)
    deployment.shadow(database, two, default=default, actor=WHO)
    for wrong in (one, default):
        with pytest.raises(WrongState, match="live or a shadow already"):
            deployment.shadow(database, wrong, default=default, actor=WHO)
    deployment.retire(database, one.digest, WHO)
    assert roles(database) == {"1": "retired", "2": "shadow"}
    with pytest.raises(WrongState, match="no shadow"):
        deployment.retire(database, one.digest, WHO)
    deployment.shadow(database, one, default=default, actor=WHO)
    deployment.activate(database, two, default=default, actor=WHO)
    assert roles(database) == {"0": "retired", "1": "shadow", "2": "live"}
    with pytest.raises(WrongState, match="no shadow"):
        deployment.retire(database, two.digest, WHO)
    assert events(database) == [
        ("bundle_shadowed", {"old": None, "new": one.digest}),
        ("bundle_shadowed", {"old": None, "new": two.digest}),
        ("bundle_retired", {"old": one.digest, "new": None}),
        ("bundle_shadowed", {"old": None, "new": one.digest}),
        ("bundle_activated", {"old": default.digest, "new": two.digest}),
    ]


def test_the_live_one_again_only_from_another_folder(
    database: Engine, family: list[PlacedBundle], tmp_path: Path
) -> None:
    default, one, *_ = family
    deployment.activate(database, one, default=default, actor=WHO)
    with pytest.raises(WrongState, match="live already"):
        deployment.activate(database, one, default=default, actor=WHO)
    (tmp_path / "moved").symlink_to(one.path)
    moved = placed_bundle(bundles.load(tmp_path / "moved"))
    deployment.activate(database, moved, default=default, actor=WHO)
    with reading(database) as connection:
        live, _ = deployment.in_service(connection)
    assert live is not None
    assert live.path == str(tmp_path / "moved")
    assert deployment.before_live(database).digest == default.digest


def test_activated_at_once_by_several_one_is_live(database: Engine, family: list[PlacedBundle]) -> None:
    """Whoever loses is told so; the trail tells one story."""
    default, *others = family
    refused: list[WrongState] = []

    def activate(new: PlacedBundle) -> None:
        try:
            deployment.activate(database, new, default=default, actor=WHO)
        except WrongState as error:
            refused.append(error)

    threads = [threading.Thread(target=activate, args=(new,), daemon=True) for new in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = events(database)
    assert len(found) + len(refused) == 3
    assert found[0][1]["old"] == default.digest
    assert [later["old"] for _, later in found[1:]] == [before["new"] for _, before in found[:-1]]
    with reading(database) as connection:
        live, _ = deployment.in_service(connection)
    assert live is not None
    assert live.digest == found[-1][1]["new"]


def test_found_by_its_first_digits(database: Engine, family: list[PlacedBundle]) -> None:
    default, one, *_ = family
    deployment.activate(database, one, default=default, actor=WHO)
    found = deployment.find(database, one.digest[:6])
    assert found is not None
    assert found.digest == one.digest
    for wrong in (one.digest[:5], "abcdefabcdef", "reference", ""):
        assert deployment.find(database, wrong) is None


def test_two_bundles_with_the_same_first_digits(database: Engine, family: list[PlacedBundle]) -> None:
    default, one, *_ = family
    twin = PlacedBundle(**{**vars(one), "digest": one.digest[:20] + "0" * 44})
    deployment.shadow(database, one, default=default, actor=WHO)
    deployment.shadow(database, twin, default=default, actor=WHO)
    with pytest.raises(NotFound, match="2 bundles begin with"):
        deployment.find(database, one.digest[:12])


def test_another_bundle_in_its_folder_is_not_it(family: list[PlacedBundle]) -> None:
    _, one, two, _ = family
    assert deployment.open_bundle(one).digest == one.digest
    with pytest.raises(BundleError, match="not"):
        deployment.open_bundle(PlacedBundle(**{**vars(one), "path": two.path}))


def test_a_shipped_bundle_is_placed_by_its_name() -> None:
    placed = deployment.by_settings(None)
    assert placed.path == "reference"
    assert deployment.open_bundle(placed).path == bundles.REFERENCE


def test_status_shows_the_settings_bundle_while_none_is_activated(database: Engine, family: list[PlacedBundle]) -> None:
    default, one, two, _ = family
    (only,) = overview(database, default)
    assert (only.role, only.digest, only.since, only.by) == ("live", default.digest, None, "settings")
    deployment.shadow(database, two, default=default, actor=WHO)
    assert [row.role for row in overview(database, default)] == ["live", "shadow"]
    deployment.activate(database, one, default=default, actor=WHO)
    found = overview(database, default)
    assert [(row.role, row.version) for row in found] == [("live", "1"), ("shadow", "2"), ("retired", "0")]
    assert {row.by for row in found} == {WHO}
    assert all(row.since for row in found)
