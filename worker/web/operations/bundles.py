"""Bundles: which is live, which are shadows, what was; and each change of it, behind a page that says what it does."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response

from model import bundle as bundles
from model.bundle import MANIFEST, SHIPPED, Bundle
from model.errors import BundleError
from model.findings import SPOKEN
from worker.bundles import changes, roles
from worker.bundles.overview import overview
from worker.bundles.roles import PlacedBundle, default_of, in_service, placed, placed_bundle
from worker.db.session import reading
from worker.errors import NotFound, Unhealthy, WrongState
from worker.monitoring.comparison import BundleComparison, compare_bundles
from worker.states import Role
from worker.web.operations.side_by_side import figures
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to

PLACE = "/operations/bundles"
ACTIVATE, SHADOW, RETIRE, ROLLBACK = "activate", "shadow", "retire", "rollback"
DONE = {
    ACTIVATE: "The bundle is live from the next message on, on every worker.",
    SHADOW: "The bundle scores silently beside the live one, from the next message on.",
    RETIRE: "The shadow is out of service. Its scores stay.",
    ROLLBACK: "The last activation is taken back, from the next message on.",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a person is about to do."""

    what: str
    bundle: PlacedBundle
    live: PlacedBundle | None
    """Now; None where no bundle is, because the settings' one is broken."""


def overview_page(ask: Ask) -> Response:
    with reading(ask.site.database) as connection:
        rows = placed(connection)
    shown = overview(ask.site.database, _default(ask, rows))
    return ask.site.page(
        "bundles.html",
        ask,
        live=[bundle for bundle in shown if bundle.role is Role.LIVE],
        shadows=[bundle for bundle in shown if bundle.role is Role.SHADOW],
        retired=[bundle for bundle in shown if bundle.role is Role.RETIRED],
        others=_never_placed({bundle.path for bundle in shown}),
        may_change=ask.visit.person.role.includes(WebRole.ADMIN),
        can_roll_back=_earlier(ask) is not None,
        done=DONE.get(ask.query("done"), ""),
        live_role=Role.LIVE,
        shadow_role=Role.SHADOW,
    )


def comparison(ask: Ask) -> Response:
    """A shadow beside the live bundle, on the films that both scored. Asked for apart: it reads every score of both."""
    live, shadow = _live(ask), _named(ask, ask.path("digest"))
    compared = _compared(ask, live, shadow)
    if compared is None:
        raise NotFound("no bundle is live: there is nothing to compare with")
    return ask.site.page(
        "bundle_comparison_part.html" if ask.of_htmx else "bundle_comparison.html",
        ask,
        shadow=shadow,
        live=live,
        compared=compared,
        figures=figures(compared.result),
        spoken=SPOKEN,
    )


def confirmation(ask: Ask) -> Response:
    """What a change does, before it is made."""
    change = _wanted(ask, ask.query("what"), ask.query("bundle"))
    try:
        opened: Bundle | None = changes.opened(change.bundle)
        fault = ""
    except Unhealthy as error:
        opened, fault = None, str(error)
    compared = _compared(ask, change.live, change.bundle) if change.what in (ACTIVATE, ROLLBACK) else None
    return ask.site.page(
        "bundle_change.html",
        ask,
        change=change,
        name=ask.query("bundle") or change.bundle.digest,
        opened=opened,
        fault=fault,
        compared=compared,
        place=PLACE,
        spoken=SPOKEN,
    )


def change_it(ask: Ask) -> Response:
    """Raises WrongState where it is no longer what the confirmation said."""
    change = _wanted(ask, ask.form.get("what", ""), ask.form.get("bundle", ""))
    if ask.form.get("live", "") != (change.live.digest if change.live else ""):
        raise WrongState("another bundle became live meanwhile: look at the bundles again")
    actor, engine = ask.actor, ask.site.database
    default = default_of(ask.site.options.bundle)
    make: dict[str, Callable[[], object]] = {
        ACTIVATE: lambda: changes.activate(engine, change.bundle, default=default, actor=actor),
        SHADOW: lambda: changes.shadow(engine, change.bundle, default=default, actor=actor),
        RETIRE: lambda: roles.retire(engine, change.bundle.digest, actor),
        ROLLBACK: lambda: changes.roll_back(engine, default=default, actor=actor),
    }
    make[change.what]()
    return go_to(f"{PLACE}?done={change.what}")


def _wanted(ask: Ask, what: str, name: str) -> Change:
    """Raises NotFound, WrongState."""
    if what not in DONE:
        raise NotFound("a bundle can be activated, made a shadow, retired or rolled back")
    if what == ROLLBACK:
        earlier = roles.before_live(ask.site.database)
        if name and name != earlier.digest:
            raise WrongState("another bundle was live before: look at the bundles again")
        return Change(what=what, bundle=earlier, live=_live(ask))
    return Change(what=what, bundle=_named(ask, name), live=_live(ask))


def _named(ask: Ask, name: str) -> PlacedBundle:
    """By its whole digest one that is or was in service, or a shipped one by name. Raises NotFound, Unhealthy.

    No folder is opened because a browser names it.
    """
    with reading(ask.site.database) as connection:
        rows = placed(connection)
    default = _default(ask, rows)
    for bundle in (*rows, *([default] if default else [])):
        if bundle.digest == name:
            return bundle
    if name not in _never_placed(set()):
        raise NotFound("no such bundle is or was in service: 'xrayq bundle activate FOLDER' takes one of a folder")
    try:
        return placed_bundle(bundles.load(SHIPPED / name))
    except BundleError as error:
        raise Unhealthy(str(error)) from None


def _never_placed(paths: set[str]) -> list[str]:
    """Names of shipped bundles that are in none of these places."""
    return sorted(file.parent.name for file in SHIPPED.glob(f"*/{MANIFEST}") if file.parent.name not in paths)


def _default(ask: Ask, rows: list[PlacedBundle]) -> PlacedBundle | None:
    """The bundle of the settings while it is live; it is not read otherwise."""
    return None if any(bundle.role is Role.LIVE for bundle in rows) else default_of(ask.site.options.bundle)


def _live(ask: Ask) -> PlacedBundle | None:
    with reading(ask.site.database) as connection:
        live, _ = in_service(connection)
    return live or default_of(ask.site.options.bundle)


def _earlier(ask: Ask) -> PlacedBundle | None:
    try:
        return roles.before_live(ask.site.database)
    except WrongState:
        return None


def _compared(ask: Ask, live: PlacedBundle | None, other: PlacedBundle) -> BundleComparison | None:
    if live is None or live.digest == other.digest:
        return None
    return compare_bundles(ask.site.database, live.digest, other.digest)


PAGES = (
    Page(path=PLACE, least=WebRole.VIEWER, answer=overview_page),
    Page(path=f"{PLACE}/change", least=WebRole.ADMIN, answer=confirmation),
    Page(path=f"{PLACE}/change", least=WebRole.ADMIN, answer=change_it, method="POST"),
    Page(path=f"{PLACE}/compared/{{digest}}", least=WebRole.VIEWER, answer=comparison),
)
