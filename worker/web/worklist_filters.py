"""What a person wants to see of the worklist, as it stands in the URL: whoever has the link has the view."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select

from dicom_gateway.values import is_valid_uid
from worker.db.span import Span
from worker.db.tables import instance, truth
from worker.states import State

ORDERS = {"": "most urgent first", "newest": "newest first", "oldest": "oldest first"}
LIVE = {"": "both", "live": "live", "backfilled": "from a backfill"}
LONGEST = 64
LAST_PAGE = 400
"""Of 50 films: as many as one answer looks through."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Each is "" where it does not matter."""

    since: str = ""
    """First day, YYYY-MM-DD in the site's zone."""
    until: str = ""
    """Last day, itself included."""
    ae: str = ""
    state: str = ""
    reason: str = ""
    kind: str = ""
    """live or backfilled."""
    label: str = ""
    """any, none, or the label that a reader gave."""
    flag: str = ""
    """any, none, or a finding."""
    unsure: str = ""
    """yes or no."""
    study: str = ""
    """The id of a film, whose study is shown: no UID stands in a URL."""
    number: str = ""
    """The id of a film, whose Accession Number is looked for."""
    order: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filters":
        """Of a URL. What is not understood is left out: an old link shows more, and never an error."""
        given = {name: query.get(name, "").strip()[:LONGEST] for name in cls.__dataclass_fields__ if name != "page"}
        given = {name: text if text.isprintable() else "" for name, text in given.items()}  # PostgreSQL takes no NUL
        for name in ("since", "until"):
            given[name] = given[name] if _day(given[name]) else ""
        given["state"] = given["state"] if given["state"] in list(State) else ""
        given["order"] = given["order"] if given["order"] in ORDERS else ""
        given["kind"] = given["kind"] if given["kind"] in LIVE else ""
        given["unsure"] = given["unsure"] if given["unsure"] in ("yes", "no") else ""
        for name in ("study", "number"):
            given[name] = given[name] if _is_number(given[name]) else ""
        page = query.get("page", "1")
        return cls(**given, page=min(max(1, int(page)), LAST_PAGE) if _is_number(page) else 1)

    @property
    def chosen(self) -> dict[str, str]:
        """What narrows the list."""
        return {name: value for name, value in asdict(self).items() if value and name not in ("order", "page")}

    def link(self, **changed: str | int) -> str:
        """The URL of this view, with something changed."""
        wanted = replace(self, **changed)  # type: ignore[arg-type]
        values = {name: value for name, value in asdict(wanted).items() if value and (name, value) != ("page", 1)}
        return f"/?{urlencode(values)}" if values else "/"

    def conditions(self, zone: ZoneInfo) -> list[ColumnElement[bool]]:
        """On `instance`; those on the score are `worklist_films`'s."""
        quarantined = instance.c.state == State.QUARANTINED
        wanted = [instance.c.is_film, instance.c.admitted | quarantined]
        first, last = _day(self.since), _day(self.until)
        if first:
            wanted.append(instance.c.received_at >= Span.of_day(first, zone).start)
        if last:
            wanted.append(instance.c.received_at < Span.of_day(last, zone).end)
        for value, column in ((self.ae, "calling_ae"), (self.state, "state"), (self.reason, "reason")):
            if value:
                wanted.append(instance.c[column] == value)
        if self.kind:
            wanted.append(instance.c.backfilled == (self.kind == "backfilled"))
        if self.study:
            wanted.append(instance.c.study_instance_uid == _of_film("study_instance_uid", self.study))
        if self.number:
            wanted += [
                instance.c.accession_digest == _of_film("accession_digest", self.number),
                instance.c.accession_digest != "",
            ]
        return wanted

    def of_labels(self) -> ColumnElement[bool] | None:
        """On the labels of an `instance`; None where they do not matter."""
        if not self.label:
            return None
        said = () if self.label in ("any", "none") else (truth.c.label == self.label,)
        # Two lists that are made once, instead of a look for each film.
        uids = select(truth.c.sop_instance_uid).where(truth.c.sop_instance_uid != "", *said)
        numbers = select(truth.c.accession_digest).where(truth.c.accession_digest != "", *said)
        found = instance.c.sop_instance_uid.in_(uids) | instance.c.accession_digest.in_(numbers)
        return ~found if self.label == "none" else found


def is_uid(text: str) -> bool:
    """Whether somebody looks for a UID, and not for an Accession Number."""
    return "." in text and is_valid_uid(text)


def saved_views(today: date) -> tuple[tuple[str, Filters], ...]:
    """Links that many want."""
    week = (today - timedelta(days=6)).isoformat()
    return (
        ("All films", Filters()),
        ("Today", Filters(since=today.isoformat())),
        ("Last 7 days", Filters(since=week)),
        ("Flagged, no label", Filters(flag="any", label="none")),
        ("Unsure", Filters(unsure="yes")),
        ("Waiting", Filters(state=State.RECEIVED, order="oldest")),
        ("Failed", Filters(state=State.FAILED, order="newest")),
        ("In quarantine", Filters(state=State.QUARANTINED, order="newest")),
    )


def _of_film(column: str, key: str) -> ColumnElement[str]:
    film = instance.alias()
    return select(film.c[column]).where(film.c.id == int(key)).scalar_subquery()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # fits a 64-bit column


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1900 < day.year < 9999 else None
