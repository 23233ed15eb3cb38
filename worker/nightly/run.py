"""The report of each day, made once, when the day after reaches `at`.

The chain is an errand: the one of kind `night` names the next day to report on. Making a report and naming the day
after it are one transaction, so no day is left out and none comes twice, however many relays run, and a machine that
was off for three nights makes three reports, oldest first.
"""

import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from worker.alarms import ledger
from worker.alarms.device_silencing import silence_by_rule
from worker.audit import trail
from worker.audit.actions import Actor
from worker.db.session import reading, time_of, writing
from worker.errors import NotMade
from worker.nightly import published
from worker.nightly.child import TRY_AGAIN, Order
from worker.nightly.published import DayGivenUp
from worker.nightly.schedule import NightlySchedule, due
from worker.nightly.summary import ReportSummary
from worker.queue import errands
from worker.queue.errands import Errand, Kind

log = logging.getLogger("xrayq.relay")

LOOK_SECONDS = 0.2
"""How often a running child is looked at."""


def make_due_report(engine: Engine, plan: NightlySchedule, now: datetime) -> date | None:
    """Make the report that is due, if one is and no other relay makes it. Returns its day.

    A failure is logged, and the errand is put off.
    """
    night = errands.take(engine, (Kind.NIGHT,), now=now, lease_seconds=plan.lease_seconds)
    if night is None:
        return None
    day = date.fromisoformat(night.key)
    with reading(engine) as connection:
        last = published.last_day(connection)
    if last and day <= last:
        with writing(engine) as connection:
            errands.finish(connection, night)
        return None
    try:
        with _scratch(plan, day) as folder:
            summary = _made_by_a_child(engine, plan, night, folder)
            _commit(engine, plan, night, folder, summary)
    except Exception as error:  # noqa: BLE001 - whatever it is: a try with each lease, without end, helps nobody
        reason = str(error) if isinstance(error, NotMade) else type(error).__name__
        if isinstance(error, NotMade) and error.of_day and night.attempt >= plan.attempts:
            _give_up(engine, plan, night, reason)
            return None
        log.error(
            f"no report of {day}, will try again; 'xrayq audit report --date {day}' shows more",
            extra={"action": Kind.NIGHT.value, "attempt": night.attempt, "reason": reason},
        )
        errands.postpone(engine, night, now=time_of(engine), first_wait=plan.retry_seconds)
        return None
    for missing in summary.page_without:
        log.error(
            f"report of {day}: its page lacks the part {missing.part}",
            extra={"action": published.ACTION, "reason": missing.reason},
        )
    log.info(f"report of {day} made", extra={"action": published.ACTION, "count": summary.difference})
    return day


@contextmanager
def _scratch(plan: NightlySchedule, day: date) -> Iterator[Path]:
    """A folder beside the reports, on their file system; what a killed relay left goes away too, of whichever day."""
    plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in plan.folder.glob(".????-??-??.*"):
        with suppress(FileNotFoundError):  # another relay sweeps too
            if clock.time() - left.stat().st_mtime > plan.timeout_seconds + plan.lease_seconds:
                shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{day.isoformat()}.", dir=plan.folder))
    try:
        (scratch / "new").mkdir(mode=0o700)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _made_by_a_child(engine: Engine, plan: NightlySchedule, night: Errand, scratch: Path) -> ReportSummary:
    """The report's files in `scratch`/new, and what is to be known of it. Raises NotMade."""
    order = Order(
        database_url=plan.database_url,
        database_seconds=plan.database_seconds,
        day=date.fromisoformat(night.key),
        options=plan.options,
        folder=scratch / "new",
        summary=scratch / "summary",
        parent=os.getpid(),
    )
    command = [sys.executable, "-P", "-m", "worker.nightly.child"]  # -P: no module from the folder we happen to be in
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(order))
            process.stdin.close()
            _wait(process, engine, plan, night)
            printed = process.stdout.read(500).decode(errors="replace").strip()
        finally:
            process.kill()  # does nothing to a child that has ended
    if process.returncode:
        raise NotMade(printed or f"exit {process.returncode}", of_day=process.returncode != TRY_AGAIN)
    return _read(order.summary)


def _read(file: Path) -> ReportSummary:
    """Raises NotMade where the file is not whole or of another release, OSError where it is not there."""
    content = file.read_bytes()
    try:
        summary = pickle.loads(content)  # from our own child
    except Exception as error:
        raise NotMade("its summary cannot be read") from error
    if not (
        isinstance(summary, ReportSummary) and {field.name for field in fields(ReportSummary)} <= vars(summary).keys()
    ):
        raise NotMade("its summary is of another release")
    return summary


def _wait(process: subprocess.Popen[bytes], engine: Engine, plan: NightlySchedule, night: Errand) -> None:
    """Until the child ends, keeping the lease. Raises NotMade when it takes too long, or another has the errand."""
    begun = extended = clock.monotonic()
    while process.poll() is None:
        if clock.monotonic() - begun > plan.timeout_seconds:
            raise NotMade(f"took more than {plan.timeout_seconds:g} s", of_day=True)
        if clock.monotonic() - extended > plan.lease_seconds / 4:
            extended = clock.monotonic()
            if not errands.extend(engine, night, now=time_of(engine), lease_seconds=plan.lease_seconds):
                raise NotMade("another relay took it")
        clock.sleep(LOOK_SECONDS)


def _commit(engine: Engine, plan: NightlySchedule, night: Errand, scratch: Path, summary: ReportSummary) -> None:
    """The files into place, this day done, the next one named, and the audit event: all or nothing. Raises NotMade."""
    new, day = scratch / "new", date.fromisoformat(night.key)
    following = day + timedelta(days=1)
    digest = published.digest_of(new)
    for path in (*(new / name for name in published.FILES), new):
        _sync(path)
    detail = {
        "date": night.key,
        "digest": digest,
        "files": published.digests_of(new),
        "level": summary.level,
        "headline": summary.headline,
        "difference": summary.difference,
        "alarms": sorted({condition.rule for condition in summary.conditions}),
        "anchor": summary.anchor,
        "start": summary.span.start.isoformat(),
        "end": summary.span.end.isoformat(),
        "looked_at": summary.looked_at.isoformat(),
        "page_without": [missing.part for missing in summary.page_without],
    }
    with writing(engine) as connection:
        if not errands.finish(connection, night):
            raise NotMade("another relay took it")
        errands.add(connection, Kind.NIGHT, following.isoformat(), due(following, plan))
        _move(new, published.folder_of(plan.folder, day), scratch)
        ledger.take_turn(connection)
        silenced = silence_by_rule(
            connection, summary.rules_looked_at, summary.conditions, plan.silence_on, summary.gone
        )
        changes = ledger.settle(connection, summary.rules_looked_at, silenced.conditions, plan.channels, summary.gone)
        trail.record_all(connection, list(silenced.events))
        trail.record(connection, action=published.ACTION, instance_id=None, actor=Actor.RELAY, detail=detail)
    ledger.tell(changes)


def _give_up(engine: Engine, plan: NightlySchedule, night: Errand, reason: str) -> None:
    """Go on with the day after. The alarm stands until somebody has made the report of this one by hand."""
    following = date.fromisoformat(night.key) + timedelta(days=1)
    with writing(engine) as connection:
        if not errands.finish(connection, night):
            return
        errands.add(connection, Kind.NIGHT, following.isoformat(), due(following, plan))
        changes = ledger.settle(
            connection, (), [published.condition_of(DayGivenUp(date=night.key, reason=reason))], plan.channels
        )
        detail = {"date": night.key, "reason": reason, "attempts": night.attempt}
        trail.record(connection, action=published.GIVEN_UP, instance_id=None, actor=Actor.RELAY, detail=detail)
    log.error(
        f"no report of {night.key}, given up after {night.attempt} attempts",
        extra={"action": published.GIVEN_UP, "attempt": night.attempt, "reason": reason},
    )
    ledger.tell(changes)


def _move(new: Path, place: Path, scratch: Path) -> None:
    """Under its name a report is whole or not there. One that stands there was made by hand, never committed, or
    committed to a database that is gone: it may be the only proof of that, and is kept beside it."""
    if place.exists():
        place.rename(_aside(place, scratch))
    new.rename(place)
    _sync(place.parent)


def _aside(place: Path, scratch: Path) -> Path:
    """Where the old folder goes: kept under its digest; or into `scratch`, which is removed, if it is no report or kept
    already."""
    try:
        kept = published.replaced_folder(place, published.digest_of(place))
    except OSError:
        return scratch / "old"
    return scratch / "old" if kept.exists() else kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
