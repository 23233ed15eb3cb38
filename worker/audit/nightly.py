"""The report of each day, made once, when the day after reaches `at`.

The chain is an errand: the one of kind `night` names the next day to report on. Making a report and naming the day
after it are one transaction, so no day is left out and none comes twice, however many relays run, and a machine that
was off for three nights makes three reports, oldest first.
"""

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from worker import errands, trail
from worker.alarms import ledger
from worker.alarms import nightly as night_rules
from worker.alarms.rules import Condition
from worker.audit import made, night
from worker.audit.child import ACTOR, Order
from worker.db.session import reading, writing
from worker.db.tables import errand
from worker.errands import Errand, Kind

log = logging.getLogger("xrayq.relay")

LOOK_SECONDS = 0.2
"""How often a running child is looked at."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When reports are made, from what, and where they go."""

    database_url: str
    at: time
    """Local time of the zone in `options`, on the day after the one that is reported."""
    folder: Path
    """Each day has a folder of its own in it, named by its date."""
    options: night.Options
    channels: tuple[Kind, ...] = ()
    """That alarms go out by, beside the log."""
    timeout_seconds: float = 900.0
    """A hundred thousand films take less than one."""
    lease_seconds: float = 60.0
    """Kept up while the report is made; a relay that dies leaves the night to another after this."""
    retry_seconds: float = 60.0
    """Wait after the first failure; doubles up to an hour."""


class NotMade(Exception):
    """This time there is no report. The message says why, without a word of a film."""


def due(day: date, plan: Plan) -> datetime:
    """When the day's report is due, UTC. Of a time that comes twice, the first; one that is skipped, an hour on."""
    return datetime.combine(day + timedelta(days=1), plan.at, plan.options.zone).astimezone(UTC)


def ensure_scheduled(engine: Engine, plan: Plan, now: datetime) -> None:
    """Name the next day where none is named: after the last one made, else today. Follow a changed `report_time`."""
    with reading(engine) as connection:
        row = connection.execute(_night()).one_or_none()
    if row and (row.attempts or row.next_attempt_at == due(date.fromisoformat(row.key), plan)):
        return
    with writing(engine) as connection:
        row = connection.execute(_night()).one_or_none()
        if row is None:
            last = made.last(connection)
            day = last + timedelta(days=1) if last else now.astimezone(plan.options.zone).date()
            errands.add(connection, Kind.NIGHT, day.isoformat(), due(day, plan))
        elif not row.attempts:
            changed = due(date.fromisoformat(row.key), plan)
            untried = (errand.c.id == row.id) & (errand.c.attempts == 0)
            connection.execute(update(errand).where(untried).values(next_attempt_at=changed))


def run_due(engine: Engine, plan: Plan, now: datetime) -> date | None:
    """Make the report that is due, if one is and no other relay makes it. Returns its day.

    A failure is logged, and the errand is put off.
    """
    one = errands.take(engine, (Kind.NIGHT,), now=now, lease_seconds=plan.lease_seconds)
    if one is None:
        return None
    day = date.fromisoformat(one.key)
    with reading(engine) as connection:
        last = made.last(connection)
    if last and day <= last:
        with writing(engine) as connection:
            errands.finish(connection, one)
        return None
    try:
        with _scratch(plan, day) as folder:
            content = _in_a_child(engine, plan, one, folder)
            _commit(engine, plan, one, folder, content)
    except (NotMade, OSError, ValueError, SQLAlchemyError) as error:
        reason = str(error) if isinstance(error, NotMade) else type(error).__name__
        log.error(
            f"no report of {day}, will try again; 'xrayq audit report --date {day}' shows more",
            extra={"action": Kind.NIGHT.value, "attempt": one.attempt, "reason": reason},
        )
        errands.postpone(engine, one, now=datetime.now(UTC), first_wait=plan.retry_seconds)
        return None
    for part in content["page_without"]:
        log.error(
            f"report of {day}: its page lacks the part {part['part']}",
            extra={"action": made.ACTION, "reason": part["reason"]},
        )
    log.info(f"report of {day} made", extra={"action": made.ACTION, "count": content["difference"]})
    return day


def _night() -> Any:
    return select(errand).where(errand.c.kind == Kind.NIGHT).order_by(errand.c.id).limit(1)


@contextmanager
def _scratch(plan: Plan, day: date) -> Iterator[Path]:
    """A folder beside the reports, on their file system; what a killed relay left of this day goes away too."""
    plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in plan.folder.glob(f".{day.isoformat()}.*"):
        if clock.time() - left.stat().st_mtime > plan.timeout_seconds + plan.lease_seconds:
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{day.isoformat()}.", dir=plan.folder))
    try:
        (scratch / "new").mkdir(mode=0o700)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _in_a_child(engine: Engine, plan: Plan, one: Errand, scratch: Path) -> dict[str, Any]:
    """The report's files in `scratch`/new, and its content. Raises NotMade."""
    order = Order(
        database_url=plan.database_url,
        day=date.fromisoformat(one.key),
        options=plan.options,
        folder=scratch / "new",
        parent=os.getpid(),
    )
    command = [sys.executable, "-m", "worker.audit.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(order))
            process.stdin.close()
            _wait(process, engine, plan, one)
            said = process.stdout.read(500).decode(errors="replace").strip()
        finally:
            process.kill()  # no more than a second look once it has ended
    if process.returncode:
        raise NotMade(said or f"exit {process.returncode}")
    content: dict[str, Any] = json.loads((order.folder / made.REPORT).read_bytes())
    return content


def _wait(process: subprocess.Popen[bytes], engine: Engine, plan: Plan, one: Errand) -> None:
    """Until the child ends, keeping the lease. Raises NotMade when it takes too long, or another has the errand."""
    begun = extended = clock.monotonic()
    while process.poll() is None:
        if clock.monotonic() - begun > plan.timeout_seconds:
            raise NotMade(f"took more than {plan.timeout_seconds:g} s")
        if clock.monotonic() - extended > plan.lease_seconds / 4:
            extended = clock.monotonic()
            if not errands.extend(engine, one, now=datetime.now(UTC), lease_seconds=plan.lease_seconds):
                raise NotMade("another relay took it")
        clock.sleep(LOOK_SECONDS)


def _commit(engine: Engine, plan: Plan, one: Errand, scratch: Path, content: dict[str, Any]) -> None:
    """The files into place, this day done, the next one named, and the audit event: all or nothing. Raises NotMade."""
    new, day = scratch / "new", date.fromisoformat(one.key)
    following = day + timedelta(days=1)
    digest = made.digest_of(new)
    for path in (*(new / name for name in made.FILES), new):
        _sync(path)
    detail = {
        "date": one.key,
        "digest": digest,
        "files": list(made.FILES),
        "difference": content["difference"],
        "alarms": sorted({one["rule"] for one in content["conditions"]}),
        "anchor": content["chain"]["anchor"],
        "page_without": [part["part"] for part in content["page_without"]],
    }
    with writing(engine) as connection:
        if not errands.finish(connection, one):
            raise NotMade("another relay took it")
        errands.add(connection, Kind.NIGHT, following.isoformat(), due(following, plan))
        _move(new, made.folder_of(plan.folder, day), aside=scratch / "old")
        changes = ledger.settle(
            connection,
            night_rules.looked_at(content),
            [Condition(**one) for one in content["conditions"]],
            plan.channels,
        )
        trail.record(connection, action=made.ACTION, instance_id=None, actor=ACTOR, detail=detail)
    ledger.tell(changes)


def _move(new: Path, place: Path, *, aside: Path) -> None:
    """Under its name a report is whole or not there. One that stands there was made by hand, or never committed."""
    if place.exists():
        place.rename(aside)
    new.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
