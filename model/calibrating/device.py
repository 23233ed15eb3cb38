"""A bundle with a calibration more, or another one, for one X-ray device: the network and all else stay as they are.

It is fitted on a table of the site's films: those rows that the new bundle would score as the device's, and no others.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from model.bundle import Bundle, derive, refuse_existing
from model.calibrating.calibrate import (
    Calibrated,
    CalibratedBundle,
    CalibrationContent,
    CalibrationFilms,
    called,
    fit_recorded,
)
from model.calibrating.cross_fit import Wish, cross_fit
from model.calibrating.faster_variants import JudgedVariant
from model.calibrating.labelled_films import LabelledLogits, check, check_finite, read_table, to_calibrate_on
from model.calibrating.measured_part import measure
from model.data.bundle_films import Progress
from model.digest import file_digest
from model.errors import BundleError
from model.stats.operating_points import bundle_metrics
from model.xray_devices import DeviceCalibration, DeviceMatch, XrayDevice, device_of, with_device


@dataclass(frozen=True, kw_only=True)
class _Films:
    """The device's films of a table."""

    device: DeviceMatch
    part: LabelledLogits
    basis: CalibrationFilms


def calibrate_device(
    bundle: Bundle,
    table: Path,
    out: Path,
    wish: Wish,
    device: DeviceMatch,
    *,
    name: str = "",
    version: str = "",
    report: Progress = lambda _line: None,
) -> Calibrated:
    """Calibrate one device on its films of a table with logits and labels, write `out`.

    Faster variants stay as they are: what was measured of them is of the bundle's own flags, which do not change.

    Args:
        device: a device of this name in the bundle is replaced.
        name, version: of the new bundle, as of `calibrate_on_table`.

    Raises:
        BundleError: `out` exists, the new bundle would have the name and version of the old one, or another device
            takes the same films.
        DatasetError: as of `read_table` and `check`.
    """
    refuse_existing(out)
    films = _films(bundle, table, device)
    check(f"device {device.name}", films.part.labels, bundle.findings, wish.targets, wish.coverage)
    check_finite(films.part)
    names = called(bundle, name, version, films.basis, wish, device)
    report(f"device {device.name}: fitting on {len(films.part)} films of {len(set(films.part.patients))} patients")
    return _calibrate(bundle, films, out, wish, names)


def _films(bundle: Bundle, table: Path, device: DeviceMatch) -> _Films:
    """Those that the new bundle would take for the device's."""
    others = [other for other in bundle.devices if other.name != device.name]
    if same := next((other for other in others if other.same_films(device)), None):
        raise BundleError(f"device {same.name} takes the same films as {device.name}: {device.words}")
    order = with_device(bundle.devices, device)
    asked = order[: order.index(device) + 1]  # a film of one of these is no other's
    part = read_table(
        bundle,
        table,
        lambda row: to_calibrate_on(row) and device_of(XrayDevice.of_row(row), order) == device.name,
        asked=f"of device {device.name} ({device.words}) to calibrate on",
        columns=sorted({name for one in asked for name in one.match}),
    )
    return _Films(device=device, part=part, basis=CalibrationFilms(origin="table", digest=file_digest(table)))


def _calibrate(bundle: Bundle, films: _Films, out: Path, wish: Wish, names: tuple[str, str]) -> Calibrated:
    findings, device, part, basis = bundle.findings, films.device, films.part, films.basis
    fitted, made = fit_recorded(part, findings, wish, basis)
    known = any(one.name == device.name for one in bundle.devices)
    before = bundle.for_device(device.name if known else "")
    metrics = bundle_metrics(fitted.calibration, part.logits, part.labels, findings, fitted.points)
    block = DeviceCalibration(
        name=device.name,
        match=device.match,
        calibration=fitted.calibration,
        operating_points=fitted.points,
        conformal=fitted.conformal,
        metrics={part.name: metrics.as_dict()},
        record=made
        | {"patients": len(set(part.patients)), "origin": basis.origin, "coverage": wish.coverage}
        | {"targets": [point.id for point in fitted.points], "bundle": bundle.digest},
    )
    new = derive(bundle, out, name=names[0], version=names[1], devices=with_device(bundle.devices, block))
    content = CalibrationContent(
        bundle=CalibratedBundle(
            name=bundle.name,
            version=bundle.version,
            digest=bundle.digest,
            findings=findings,
            calibration=replace(before.calibration, record={}, bins={}),
        ),
        made=new.digest,
        name=new.name,
        version=new.version,
        engine="",
        data=basis,
        device=DeviceMatch(name=device.name, match=device.match),
        calibration=fitted.calibration,
        operating_points=fitted.points,
        conformal=fitted.conformal,
        parts={part.name: measure(part, cross_fit(part, findings, wish), before, wish, "cross-fitted")},
        variants={precision: JudgedVariant(faults=[], agreement={}) for precision in bundle.variants},
    )
    return Calibrated(bundle=new, content=content)
