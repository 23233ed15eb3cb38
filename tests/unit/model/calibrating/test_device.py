"""`xrayq calibrate --device`: a calibration more in the bundle, fitted on the device's own films and taken for them."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import MANIFEST, Bundle
from model.calibrating.calibrate import calibrate_on_table
from model.calibrating.calibration_content import Calibrated
from model.calibrating.cross_fit import Wish, fit_all
from model.calibrating.labelled_films import LabelledLogits, read_table
from model.calibrating.scored_table import read_scores
from model.engine.base import EngineSpec
from model.errors import BundleError, DatasetError
from model.findings import FINDINGS
from model.pages.calibration_report import write
from model.scorer import score
from model.stats.thresholds import default_targets
from model.xray_devices import DeviceMatch, XrayDevice
from tests.bundles import small_bundle

WISH = Wish(targets=default_targets(FINDINGS))
ROOM_2 = DeviceMatch(name="room-2", match={"station": "DX2"})
COLUMNS = ("calling_ae", "manufacturer", "model_name", "station")
PER_FINDING = {"DX1": 70, "DX2": 65, "DX3": 10}
"""Films of each finding by station: of DX3 too few to calibrate on."""
SHARPNESS = {"DX1": 1.0, "DX2": 3.0, "DX3": 1.0}
"""How far the logits of a station's films lie apart."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """As `xrayq labels export` writes it: films of three rooms behind one archive, each of another scale of logits."""
    dice, path = np.random.default_rng(1), tmp_path_factory.mktemp("table") / "site.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["label", "patient_id", "bundle", *COLUMNS, *(f"logit_{name}" for name in FINDINGS)])
        for station, films in PER_FINDING.items():
            for label, name in enumerate(FINDINGS):
                for number in range(films):
                    logits = SHARPNESS[station] * (dice.normal(size=3) + 1.5 * np.eye(3)[label])
                    about = [
                        name,
                        f"{station}-{label}-{number}",
                        bundle.digest[:12],
                        "PACS",
                        "Acme",
                        "Plate 5",
                        station,
                    ]
                    writer.writerow([*about, *map(repr, map(float, logits))])
    return path


@pytest.fixture(scope="module")
def made(bundle: Bundle, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    return calibrate_on_table(bundle, table, tmp_path_factory.mktemp("made") / "new", WISH, device=ROOM_2)


def device(name: str, **match: str) -> DeviceMatch:
    return DeviceMatch(name=name, match=match)


def rows_of(bundle: Bundle, table: Path, *stations: str) -> LabelledLogits:
    return read_table(bundle, table, lambda row: row["station"] in stations)


def test_only_the_devices_films_count_and_all_else_stays(bundle: Bundle, made: Calibrated, table: Path) -> None:
    new, (block,) = made.bundle, made.bundle.devices
    fitted = fit_all(rows_of(bundle, table, "DX2"), FINDINGS, WISH)
    assert replace(block.calibration, record={}) == replace(fitted.calibration, record={})
    assert block.operating_points == fitted.points
    assert block.conformal.limits == fitted.conformal.limits
    assert all(point.met for point in block.operating_points)
    kept = (
        "findings",
        "preprocess",
        "calibration",
        "operating_points",
        "conformal",
        "metrics",
        "variants",
        "provenance",
    )
    assert {name: getattr(new, name) for name in kept} == {name: getattr(bundle, name) for name in kept}
    old, now = (json.loads((one.path / MANIFEST).read_text()) for one in (bundle, new))
    assert now["files"] == old["files"]
    assert new.parent == bundle.digest
    assert (block.record["films"], block.record["bundle"]) == (195, bundle.digest)
    assert block.metrics["site"]["films"] == 195


def test_a_reader_that_knows_no_devices_cannot_take_it_for_another(bundle: Bundle, made: Calibrated) -> None:
    schemas = [json.loads((one.path / MANIFEST).read_text())["schema"] for one in (bundle, made.bundle)]
    assert schemas == [2, 3]
    assert "devices" not in json.loads((bundle.path / MANIFEST).read_text())
    assert bundles.load(made.bundle.path) == made.bundle
    assert made.bundle.version.startswith(f"{bundle.version}+cal.")


class Fixed:
    """Gives the same logits whatever it sees."""

    spec = EngineSpec(name="fixed-fp32", precision="fp32", device="cpu", batches=(2,))

    def warm_up(self) -> None: ...

    def infer(self, images: object) -> "np.ndarray":  # type: ignore[type-arg]
        return np.array([[0.2, 1.5, 0.1]] * 2, np.float32)

    def close(self) -> None: ...


def test_the_same_picture_of_two_devices_is_judged_by_two_calibrations(bundle: Bundle, made: Calibrated) -> None:
    films = XrayDevice(station="DX1"), XrayDevice(station=" dx2 ")
    names = [made.bundle.device_of(film) for film in films]
    assert names == ["", "room-2"]
    images = np.zeros((2, 1, 8, 8), np.uint8)
    plain, own = score(Fixed(), made.bundle, images, names)
    assert plain == score(Fixed(), bundle, images)[0]
    assert own.device == "room-2"
    assert own.probabilities != plain.probabilities
    points = {point.finding: point.threshold for point in made.bundle.devices[0].operating_points}
    assert own.thresholds == points
    assert own.thresholds != plain.thresholds
    assert own.intervals
    with pytest.raises(BundleError, match="no calibration of a device room-9"):
        score(Fixed(), made.bundle, images, ["", "room-9"])


def test_too_few_films_are_refused_before_anything_is_written(bundle: Bundle, table: Path, tmp_path: Path) -> None:
    few = DeviceMatch(name="room-3", match={"station": "DX3"})
    with pytest.raises(DatasetError, match=r"device room-3 has too few films.*normal 10 / 20"):
        calibrate_on_table(bundle, table, tmp_path / "new", WISH, device=few)
    none = DeviceMatch(name="room-4", match={"station": "DX4"})
    with pytest.raises(DatasetError, match=r"no films of device room-4 \(station DX4\)"):
        calibrate_on_table(bundle, table, tmp_path / "new", WISH, device=none)
    (tmp_path / "site.csv").write_text(table.read_text().replace("station", "room", 1))
    with pytest.raises(DatasetError, match="has no column station; it needs label, station and a logit"):
        calibrate_on_table(bundle, tmp_path / "site.csv", tmp_path / "new", WISH, device=ROOM_2)
    assert not (tmp_path / "new").exists()


def test_a_second_and_a_third_device_and_one_anew(
    bundle: Bundle, made: Calibrated, table: Path, tmp_path: Path
) -> None:
    """All of one table, whose logits are of the first bundle: the network stays the same."""
    wide = DeviceMatch(name="acme", match={"manufacturer": "ACME"})
    two = calibrate_on_table(made.bundle, table, tmp_path / "two", WISH, device=wide).bundle
    assert two.devices[0] == made.bundle.devices[0]
    assert two.devices[1].record["films"] == 3 * (PER_FINDING["DX1"] + PER_FINDING["DX3"])  # the rest is of room-2
    room_1 = device("room-1", station="DX1", calling_ae="PACS")
    three = calibrate_on_table(two, table, tmp_path / "three", WISH, device=room_1)
    names = [one.name for one in three.bundle.devices]
    assert names == ["room-1", "room-2", "acme"]  # more attributes first
    again = calibrate_on_table(
        three.bundle, table, tmp_path / "again", replace(WISH, coverage=0.8), device=ROOM_2
    ).bundle
    assert sorted(one.name for one in again.devices) == ["acme", "room-1", "room-2"]
    assert {one.name: one.conformal.coverage for one in again.devices}["room-2"] == 0.8
    assert again.version != three.bundle.version
    with pytest.raises(BundleError, match="device room-2 takes the same films as other"):
        calibrate_on_table(again, table, tmp_path / "x", WISH, device=device("other", station="dx2"))


def test_the_bundles_own_calibration_leaves_the_devices_films_out(
    made: Calibrated, table: Path, tmp_path: Path
) -> None:
    new = calibrate_on_table(made.bundle, table, tmp_path / "new", WISH).bundle
    assert new.calibration.record["films"] == 3 * (PER_FINDING["DX1"] + PER_FINDING["DX3"])
    assert new.devices == made.bundle.devices
    assert len(read_scores(new, table).labels) == 240
    assert len(read_scores(new, table, device="room-2").labels) == 195


def test_the_report_names_the_device(made: Calibrated, tmp_path: Path) -> None:
    write(made, tmp_path)
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert content["device"] == {"name": "room-2", "match": {"station": "DX2"}}
    assert "for device room-2: station DX2" in (tmp_path / "calibration.html").read_text()


@pytest.mark.parametrize(
    ("name", "match", "said"),
    [
        ("", {"station": "A"}, "a name has 1 to 28"),
        ("room 2", {"station": "A"}, "a name has 1 to 28"),
        ("r" * 29, {"station": "A"}, "a name has 1 to 28"),
        ("room", {}, "match one or more of calling_ae, manufacturer, model_name, station"),
        ("room", {"serial": "7"}, "station, not serial"),
        ("room", {"station": "  "}, "a value to match has 1 to 64"),
    ],
)
def test_what_is_no_device(name: str, match: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DeviceMatch(name=name, match=match)


def test_all_attributes_must_hold_and_case_and_blanks_do_not_count() -> None:
    room = device("room", manufacturer="Acme  Imaging", station="DX2")
    assert room.takes(XrayDevice(manufacturer="ACME Imaging ", station="dx2", calling_ae="ANY"))
    assert not room.takes(XrayDevice(manufacturer="ACME Imaging"))
    assert not room.takes(XrayDevice(manufacturer="ACME Imaging", station="DX21"))
    assert not room.takes(XrayDevice())


def test_a_manifest_with_two_devices_of_one_name_is_refused(made: Calibrated, tmp_path: Path) -> None:
    twice = bundles.derive(made.bundle, tmp_path / "one", devices=made.bundle.devices)
    manifest = json.loads((twice.path / MANIFEST).read_text())
    for changed, said in (
        (manifest["devices"] * 2, "two devices have the same name"),
        ([manifest["devices"][0] | {"match": {}}], "match one or more of"),
        ([{"name": "room"}], "missing or malformed"),
    ):
        (twice.path / MANIFEST).write_text(json.dumps(manifest | {"devices": changed}))
        with pytest.raises(BundleError, match=said):
            bundles.load(twice.path)
