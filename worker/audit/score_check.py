"""Is every score what the audit trail tells of? Each digest is computed again and held against the score's event.

Found is a score that was changed, that is gone, and one that no event tells of. Nothing can be said of a score of a
release before, whose event has no digest: such scores are counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, select

from worker.audit.actions import Action
from worker.audit.score_digests import IN_DETAIL, StoredScore, stored
from worker.db.session import snapshot
from worker.db.tables import audit_event, instance, score
from worker.states import Role
from worker.words import counted

TELL = {Action.SCORED: Role.LIVE, Action.SHADOW_SCORED: Role.SHADOW}
"""Actions with which the trail tells of a score, and of whose."""
CHUNK = 1000
"""Instances that are looked at in one transaction."""
MOST_NAMED = 100
LEAST_ID, GREATEST_ID = -(2**63), 2**63 - 1


class Found(StrEnum):
    """What was found of a score, as words that follow its name."""

    AS_WRITTEN = "is as it was written"
    BEFORE = "is of a release that kept no digest"
    ALTERED = "was altered after it was written"
    GONE = "is gone"
    SLIPPED_IN = "is one that no audit event tells of"
    UNREADABLE = "cannot be read: it was altered"


GOOD = (Found.AS_WRITTEN, Found.BEFORE)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an event says of a score."""

    role: Role
    digest: str | None
    """None of a release before."""


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """A score, or the event of one that is gone."""

    instance_id: int
    bundle: str
    """Digest of the bundle; "" where the rows cannot be read."""
    found: Found

    @property
    def words(self) -> str:
        by = f" by bundle {self.bundle[:12]}" if self.bundle else ""
        return f"the score of instance {self.instance_id}{by} {self.found}"

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.instance_id, "bundle": self.bundle, "found": self.found}


@dataclass(frozen=True, kw_only=True)
class ScoreCheck:
    """What was found of all scores."""

    checked: int = 0
    """As they were written."""
    before: int = 0
    """Of a release before: they cannot be checked."""
    wrong: int = 0
    named: tuple[LookedAt, ...] = ()
    """The first MOST_NAMED of those that are wrong, by instance id."""

    @property
    def fault(self) -> str:
        """The first that is wrong, and how many others are; "" without one."""
        more = f", and {self.wrong - 1:,} more" if self.wrong > 1 else ""
        return f"scores and the audit trail differ: {self.named[0].words}{more}" if self.wrong else ""

    @property
    def words(self) -> str:
        """How many were checked, and how many cannot be."""
        rest = f"; {counted(self.before, 'score')} of a release before cannot be checked" if self.before else ""
        return f"{counted(self.checked, 'score')} held against the trail{rest}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"named": [one.as_dict() for one in self.named]}


def check(engine: Engine) -> ScoreCheck:
    """Look at every score, by instance id, a chunk at a time. What is written meanwhile is never wrong."""
    counts: Counter[Found] = Counter()
    named: list[LookedAt] = []
    first = last = LEAST_ID
    while last < GREATEST_ID:
        with snapshot(engine) as connection:
            last = _end_of_chunk(connection, first)
            for one in _looked_at(connection, first, last):
                counts[one.found] += 1
                if one.found not in GOOD and len(named) < MOST_NAMED:
                    named.append(one)
        first = last + 1
    checked, before = (counts[good] for good in GOOD)
    return ScoreCheck(checked=checked, before=before, wrong=counts.total() - checked - before, named=tuple(named))


def of_film(connection: Connection, instance_id: int, bundle: str) -> Found:
    """What is to be said of one film's score of this bundle."""
    for one in _looked_at(connection, instance_id, instance_id):
        if one.bundle in (bundle, ""):
            return one.found
    return Found.GONE


def wrong_of_film(connection: Connection, instance_id: int) -> list[LookedAt]:
    """Of one film's scores those that are not as the trail tells."""
    return [one for one in _looked_at(connection, instance_id, instance_id) if one.found not in GOOD]


def _end_of_chunk(connection: Connection, first: int) -> int:
    """The last chunk has no end: a score stays in sight where its instance was removed past the foreign keys."""
    ids = select(instance.c.id).where(instance.c.id >= first).order_by(instance.c.id)
    last = connection.execute(ids.offset(CHUNK - 1).limit(1)).scalar_one_or_none()
    return GREATEST_ID if last is None else last


def _looked_at(connection: Connection, first: int, last: int) -> Iterator[LookedAt]:
    """The scores of these instances."""
    told = _told(connection, first, last)
    kept, unreadable = _kept(connection, first, last)
    for key in sorted({*told, *kept, *unreadable}):
        if key in unreadable:
            yield LookedAt(instance_id=key, bundle="", found=Found.UNREADABLE)
            continue
        of_film = {one.bundle: one for one in kept.get(key, ())}
        for bundle in sorted({*of_film, *(name for name, one in told[key].items() if one.digest)}):
            yield LookedAt(instance_id=key, bundle=bundle, found=found_of(told[key], bundle, of_film.get(bundle)))


def found_of(told: dict[str, Told], bundle: str, kept: StoredScore | None) -> Found:
    """What a score is beside what the trail tells.

    Args:
        told: of the film, by bundle.
        kept: the film's score of this bundle.
    """
    if kept is None:
        return Found.GONE
    one = told.get(bundle)
    if one and one.digest:
        return Found.AS_WRITTEN if (one.role, one.digest) == (kept.role, kept.digest) else Found.ALTERED
    # A film's live score and its shadows' are of one process: where the live one has no digest, that release, which
    # told of no shadow's score, wrote them all.
    of_before = bool(one) or (kept.role == Role.SHADOW and any(other.digest is None for other in told.values()))
    return Found.BEFORE if of_before else Found.SLIPPED_IN


def _told(connection: Connection, first: int, last: int) -> dict[int, dict[str, Told]]:
    """What the audit trail tells of these instances, by bundle."""
    rows = connection.execute(
        select(audit_event.c.instance_id, audit_event.c.action, audit_event.c.detail)
        .where(
            audit_event.c.instance_id.between(first, last), audit_event.c.action.in_(TELL), audit_event.c.digest != ""
        )
        .order_by(audit_event.c.id)
    )
    return told_by((row.instance_id, row.action, row.detail) for row in rows)


def told_by(events: Iterable[tuple[int, str, Any]]) -> dict[int, dict[str, Told]]:
    """What events that tell of a score say, by instance id and bundle.

    A film has one live score, and one of a bundle: the first event counts, and one that somebody appended is nothing.

    Args:
        events: instance id, action (one of TELL) and detail; oldest first.
    """
    found: dict[int, dict[str, Told]] = defaultdict(dict)
    for key, action, detail in events:
        role = TELL[Action(action)]
        if role is Role.LIVE and any(one.role is Role.LIVE for one in found[key].values()):
            continue
        said = detail if isinstance(detail, dict) else {}  # of a row that was altered, whatever JSON can say
        found[key].setdefault(str(said.get("bundle") or ""), Told(role=role, digest=said.get(IN_DETAIL)))
    return found


def _kept(connection: Connection, first: int, last: int) -> tuple[dict[int, list[StoredScore]], set[int]]:
    """Scores of these instances; and the instances of which a row cannot be read.

    Such a row takes its whole query with it, so the span is halved until the instance is alone.
    """
    try:
        scores = stored(connection, score.c.instance_id.between(first, last))
    except ValueError:
        if first == last:
            return {}, {first}
        middle = (first + last) // 2
        one, other = _kept(connection, first, middle), _kept(connection, middle + 1, last)
        return one[0] | other[0], one[1] | other[1]
    found: dict[int, list[StoredScore]] = defaultdict(list)
    for one_score in scores:
        found[one_score.instance_id].append(one_score)
    return found, set()
