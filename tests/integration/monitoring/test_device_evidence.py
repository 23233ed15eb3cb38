"""An AE's evidence on both databases, and the commands: from films to a draw, to labels, to results that are sent."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Engine, select

from model import bundle as bundles
from model.bundle import Bundle
from model.decision import SENSITIVITY, SPECIFICITY
from model.findings import NOT_NORMAL
from tests import days
from tests.bundles import device_calibration
from tests.integration.monitoring.test_labels import film, imported
from tests.services import Xrayq, typed_in
from worker.audit import trail
from worker.cli.device_view import show
from worker.db import schema
from worker.db.session import make_engine, reading, snapshot, time_of
from worker.db.tables import audit_event
from worker.monitoring import label_sample
from worker.monitoring.device_evidence import DeviceEvidence, counted_rates, device_evidence
from worker.monitoring.label_sample import Wanted, draw
from worker.monitoring.performance import ScoredFilm
from worker.reporting import acceptance
from worker.status.device_words import next_step

AE = "CR1"
RIGHT = {"normal": (), "pneumonia": (NOT_NORMAL, "pneumonia"), "covid19": (NOT_NORMAL, "covid19")}
"""Flags of a film that is scored rightly."""
WRONG = {label: RIGHT["covid19" if label == "normal" else "normal"] for label in RIGHT}
FLAGS = (NOT_NORMAL, "normal", "pneumonia", "covid19")
MARGIN = 0.3
"""So that a few films settle it: 24 right ones of each label, of a sensitivity of .51."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundles.load(bundles.REFERENCE)


def films(
    database: Engine, bundle: Bundle, label: str, numbers: Sequence[int], flags: dict[str, tuple[str, ...]]
) -> None:
    """Films of the AE whose UIDs tell their label, so that readers can."""
    place = list(RIGHT).index(label)
    for number in numbers:
        uid = f"1.{place}.{number}"
        film(
            database,
            uid=uid,
            study=f"2.{uid}",
            flags=flags[label],
            digest=bundle.digest,
            findings=FLAGS,
            calling_ae=AE,
        )


def drawn(database: Engine, bundle: Bundle, name: str, number: int) -> list[str]:
    wanted = Wanted(films=number, bundle_digest=bundle.digest, calling_ae=AE, seed=1)
    return [one.sop_instance_uid for one in draw(database, name, wanted, actor="operator:test").films]


def read(database: Engine, folder: Path, uids: Sequence[str], reader: str = "dr1", label: str = "") -> None:
    """What readers say of films, imported: what they are, or this label."""
    path = folder / "read.csv"
    rows = [f"{uid},{label or list(RIGHT)[int(uid.split('.')[1])]},{reader},2026-01-02" for uid in uids]
    path.write_text("\n".join(("sop_instance_uid,label,reader,read_on", *rows)) + "\n")
    imported(database, path)


def found(database: Engine, bundle: Bundle, **options: object) -> DeviceEvidence:
    with snapshot(database) as connection:
        return device_evidence(connection, bundle, AE, margin=MARGIN, **options)  # type: ignore[arg-type]


def test_only_read_draws_of_the_ae_count_in_their_order(database: Engine, bundle: Bundle, tmp_path: Path) -> None:
    films(database, bundle, "normal", range(20), RIGHT)
    film(database, uid="1.0.99", study="9", flags=(), digest=bundle.digest, findings=FLAGS, calling_ae="DX2")
    film(database, uid="1.0.98", study="8", flags=(), digest="0" * 64, findings=FLAGS, calling_ae=AE)
    assert (found(database, bundle).verdict, found(database, bundle).rule.look) == ("undecided", 0)
    one, two = drawn(database, bundle, "one", 10), drawn(database, bundle, "two", 5)
    chosen = next(uid for uid in (f"1.0.{number}" for number in range(20)) if uid not in {*one, *two})
    read(database, tmp_path, [*two, chosen, "1.0.99"])
    read(database, tmp_path, one[:8])
    early = found(database, bundle)
    assert ([draw.draw for draw in early.used], [draw.draw for draw in early.not_used]) == ([], ["one", "two"])
    assert (early.not_used[0].unread, early.films, early.chosen, early.other_bundle) == (2, 0, 1, 0)
    read(database, tmp_path, one[:9])  # nine tenths
    assert [(draw.draw, draw.labelled, draw.without_truth, draw.unread) for draw in found(database, bundle).used] == [
        ("one", 9, 0, 1),
        ("two", 5, 0, 0),
    ]
    read(database, tmp_path, one)
    read(database, tmp_path, one[:1], reader="dr2", label="covid19")  # they do not agree
    done = found(database, bundle)
    assert [(draw.draw, draw.labelled, draw.without_truth, draw.unread) for draw in done.used] == [
        ("one", 9, 1, 0),
        ("two", 5, 0, 0),
    ]
    assert (done.films, done.rule.look) == (14, 2)
    assert {rate.films for rate in done.rates if rate.rate == SPECIFICITY} == {14}
    assert {rate.films for rate in done.rates if rate.rate == SENSITIVITY} == {0}


def test_a_draw_on_which_readers_disagree_does_not_count_until_they_agree(
    database: Engine, bundle: Bundle, tmp_path: Path
) -> None:
    """Those films are often the hard ones: without them the rates look better than they are."""
    films(database, bundle, "normal", range(10), RIGHT)
    one = drawn(database, bundle, "one", 10)
    read(database, tmp_path, one)
    read(database, tmp_path, one[:3], reader="dr2", label="covid19")
    open_still = found(database, bundle)
    assert [(draw.labelled, draw.without_truth, draw.unread) for draw in open_still.not_used] == [(7, 3, 0)]
    assert (open_still.used, open_still.films, open_still.verdict) == ((), 0, "undecided")
    assert "3 films of draw one have no truth, a tenth may: let another reader" in next_step(open_still)
    written = StringIO()
    show(Console(file=written, width=200), open_still)
    assert "draw one: 3 of its 10 films are without a truth" in written.getvalue()
    read(database, tmp_path, one[:2], reader="dr3")
    assert [(draw.labelled, draw.without_truth) for draw in found(database, bundle).used] == [(9, 1)]


def test_films_before_a_reset_before_the_silence_and_of_another_bundle_do_not_count(
    database: Engine, bundle: Bundle, tmp_path: Path
) -> None:
    films(database, bundle, "normal", range(10), RIGHT)
    before = drawn(database, bundle, "before", 10)
    read(database, tmp_path, before)
    silenced = time_of(database)
    films(database, bundle, "normal", range(10, 14), RIGHT)
    read(database, tmp_path, drawn(database, bundle, "after", 4))
    assert (found(database, bundle).films, found(database, bundle).before) == (14, 0)
    since = found(database, bundle, silenced=silenced)
    assert (since.films, since.before, [draw.draw for draw in since.used]) == (4, 10, ["after"])
    label_sample.reset(database, "new detector", actor="operator:test")
    assert (found(database, bundle).films, found(database, bundle).before, found(database, bundle).chosen) == (0, 14, 0)
    films(database, bundle, "normal", range(20, 23), RIGHT)
    read(database, tmp_path, drawn(database, bundle, "new", 3))
    film(database, uid="1.0.20", revision=2, study="2.1.0.20", flags=(), digest="0" * 64, findings=FLAGS, calling_ae=AE)
    assert (found(database, bundle).films, found(database, bundle).other_bundle) == (2, 1)


@pytest.mark.parametrize(
    ("flags", "verdict"),
    [(RIGHT, "go"), (WRONG, "no-go"), (RIGHT | {"covid19": ()}, "no-go")],
    ids=["right", "wrong", "one"],
)
def test_the_verdict_is_of_every_rate(
    database: Engine, bundle: Bundle, tmp_path: Path, flags: dict[str, tuple[str, ...]], verdict: str
) -> None:
    for label in RIGHT:
        films(database, bundle, label, range(24), flags)
    read(database, tmp_path, drawn(database, bundle, "one", 72))
    evidence = found(database, bundle)
    assert evidence.verdict == verdict
    assert len(evidence.rates) == 6
    for rate in evidence.rates:
        wanted = (24 if rate.finding != NOT_NORMAL else 48) if rate.rate == SENSITIVITY else None
        assert wanted is None or rate.films == wanted
        assert rate.films == sum(one.films for one in evidence.rates if one.finding == rate.finding) - next(
            one.films for one in evidence.rates if (one.finding, one.rate != rate.rate) == (rate.finding, True)
        )


def asked(bundle: Bundle, *films_read: tuple[str, str]) -> float:
    """Sensitivity of the flag for anything that is asked for these labels, each with the X-ray device of its film."""
    about = {"instance_id": 1, "received_at": None, "calling_ae": AE, "flags": frozenset()}
    scored = [(ScoredFilm(device=device, **about), label) for label, device in films_read]  # type: ignore[arg-type]
    rates = counted_rates(bundle, scored)
    return next(rate.calibrated for rate in rates if (rate.finding, rate.rate) == (NOT_NORMAL, SENSITIVITY))


def test_what_is_asked_follows_the_mix_of_labels(bundle: Bundle) -> None:
    """85 of 117 films with COVID-19 had the flag, and 42 of 71 with pneumonia."""
    covid19, pneumonia = ("covid19", ""), ("pneumonia", "")
    assert asked(bundle, covid19) == pytest.approx(85 / 117)
    assert asked(bundle, pneumonia, ("normal", "")) == pytest.approx(42 / 71)
    assert asked(bundle, covid19, pneumonia, pneumonia) == pytest.approx((85 / 117 + 2 * 42 / 71) / 3)
    assert asked(bundle) == pytest.approx(0.6755)


def test_what_is_asked_is_of_the_x_ray_devices_calibration(bundle: Bundle) -> None:
    own = device_calibration(bundle, "room-2", 0.3, station="DX2")
    point = next(point for point in bundle.operating_points if point.finding == NOT_NORMAL)
    points = (replace(point, flagged_by_label={"normal": (1, 10), "pneumonia": (5, 10), "covid19": (9, 10)}),)
    both = replace(bundle, devices=(replace(own, operating_points=points),))
    assert asked(both, ("covid19", "room-2")) == pytest.approx(0.9)
    assert asked(both, ("covid19", "room-2"), ("covid19", "")) == pytest.approx((0.9 + 85 / 117) / 2)


# as typed


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle) -> Path:
    """A site whose AE sent 24 films of each label, scored rightly, and a draw that is read."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    for label in RIGHT:
        films(database, bundle, label, range(24), RIGHT)
    return tmp_path


def fill(worklist: Path, rows: int) -> None:
    """As a reader does, from the top."""
    with worklist.open(newline="") as handle:
        listed = list(csv.DictReader(handle))
    for row in listed[:rows]:
        label = list(RIGHT)[int(row["sop_instance_uid"].split(".")[1])]
        row |= {"label": label, "reader": "dr1", "read_on": "2026-01-02"}
    with worklist.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def test_from_a_draw_to_an_accepted_device(home: Path, bundle: Bundle) -> None:
    worklist = home / "worklist.csv"
    with typed_in(home, home=str(home), acceptance_margin=str(MARGIN)) as xrayq:
        code, out, err = xrayq("device", "accept", AE)
        assert (code, "0 labelled films" in out) == (6, True)
        assert "undecided: if CR1 is as calibrated, it takes" in err
        assert re.search(rf"begin with 'xrayq labels sample --ae {AE} --films \d+'", err)
        assert xrayq("labels", "sample", "--ae", AE, "--films", "72", "--draw", "one", "--out", str(worklist))[0] == 0
        fill(worklist, 30)
        xrayq("labels", "import", str(worklist))
        code, out, err = xrayq("device", "check", AE)
        assert (code, "read draw one, 42 films are left" in err) == (6, True)
        assert "Not used: draw one: 42 of its 72 films are not read." in out
        fill(worklist, 72)
        xrayq("labels", "import", str(worklist))
        code, out, err = xrayq("device", "check", AE, "--json")
        assert (code, json.loads(out)["verdict"]) == (0, "go")
        assert "silent" in told(xrayq, "device", "list")
        assert "CR1 is accepted, go: every rate is met; results" in told(xrayq, "device", "accept", AE)
        shown = told(xrayq, "device", "show", AE)
        assert f"digest {bundle.digest[:12]}" in shown
        assert "sensitivity of covid19: 24 of 24 films right" in shown
        assert json.loads(told(xrayq, "device", "show", AE, "--json"))["evidence"]["rates"] == json.loads(out)["rates"]
        assert xrayq("device", "accept", AE)[0] == 0, "again, on new evidence"
        assert xrayq("device", "accept", AE, "--without-evidence", "--reason", "why")[0] == 4
    with reading(make_engine(f"sqlite:///{home / 'xrayq.db'}")) as connection:
        query = select(audit_event.c.detail).where(audit_event.c.action == "device_accepted")
        first, _ = connection.execute(query).scalars()
    assert (first["calling_ae"], first["evidence"]["bundle_digest"]) == (AE, bundle.digest)
    assert first["evidence"]["rates"] == json.loads(out)["rates"]
    assert trail.verify(make_engine(f"sqlite:///{home / 'xrayq.db'}")).broken is None


def test_films_from_before_a_silencing_never_count_again(home: Path) -> None:
    """Also once the AE is accepted without evidence: a later check would take the films from before the drift."""
    worklist = home / "worklist.csv"
    with typed_in(home, home=str(home), acceptance_margin=str(MARGIN)) as xrayq:
        told(xrayq, "labels", "sample", "--ae", AE, "--films", "72", "--draw", "one", "--out", str(worklist))
        fill(worklist, 72)
        told(xrayq, "labels", "import", str(worklist))
        told(xrayq, "device", "accept", AE)
        assert json.loads(told(xrayq, "device", "show", AE, "--json"))["silenced_at"] is None
        told(xrayq, "device", "silence", AE, "--reason", "drift")
        told(xrayq, "device", "accept", AE, "--without-evidence", "--reason", "known")
        code, out, _ = xrayq("device", "check", AE)
        assert code == 6
        assert "72 films drawn before the last reset, or that came before the AE was silenced" in out
        assert xrayq("device", "accept", AE)[0] == 6


def test_evidence_of_another_bundle_is_told_and_the_device_stays_accepted(home: Path, tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    other = found(database, bundles.load(bundles.REFERENCE))
    before = json.loads(json.dumps(other.as_dict())) | {"bundle_digest": "0" * 64, "bundle_version": "0.3.0"}

    class Kept:
        def as_dict(self) -> dict[str, object]:
            return before

    acceptance.accept(database, AE, reason="", actor="operator:test", evidence=Kept())  # type: ignore[arg-type]
    with typed_in(home, home=str(home), results_to="*:PACS@127.0.0.1:104") as xrayq:
        (one,) = json.loads(told(xrayq, "device", "list", "--json"))
        assert one["state"] == "accepted"
        assert "another bundle's" in told(xrayq, "device", "list")
        assert "Another bundle is live" in told(xrayq, "device", "show", AE)
        code, _, err = xrayq("device", "check", AE)
        assert (code, f"; {AE} stays accepted until 'xrayq device silence {AE}'" in err) == (6, True)
        results = next(check for check in json.loads(xrayq("doctor", "--json")[1]) if check["check"] == "results")
        assert results["ok"]
        assert results["text"].startswith(f"of {AE} are sent to PACS@127.0.0.1:104; every other AE is silent")
        assert f"accepted on evidence of another bundle: {AE}" in results["text"]


def test_whoever_accepts_a_device_hears_of_its_alarms(home: Path) -> None:
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    for rule, subject in (("drift", AE), ("drift", "DX2"), ("performance", "covid19"), ("backlog", "")):
        days.stood(database, rule, subject, "", time_of(database))
    with typed_in(home, home=str(home)) as xrayq:
        assert xrayq("device", "accept", "CR7")[0] == 3, "no film of it has come"
        _, _, err = xrayq("device", "accept", AE, "--without-evidence", "--reason", "known")
    assert err.splitlines() == [
        f"xrayq: the alarm drift of {AE} stands: 'xrayq alarm list'",
        "xrayq: the alarm performance of covid19 stands: 'xrayq alarm list'",
    ]


@pytest.mark.parametrize("columns", ["60", "120"])
def test_every_value_is_whole_at_every_width(home: Path, columns: str) -> None:
    with typed_in(home, home=str(home)) as xrayq, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", columns)
        out = xrayq("device", "check", AE)[1]
    assert "…" not in out
    for text in ("sensitivity", "specificity", "0.413, 0.513 calibrated", "open"):
        assert text in out


def told(xrayq: Xrayq, *words: str) -> str:
    code, out, err = xrayq(*words)
    assert code == 0, err
    return out
