"""xrayq bundle: the artefacts that make scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common import JsonOption, did_you_mean, load_settings, print_json, wide_console
from worker.cli.operating_points import POINTS_NOTE, SHIFT_NOTE, print_point, share_text
from worker.errors import NotFound, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from model.bundle import Bundle
    from model.stats.manifest_measures import SplitShares, VariantMeasures

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Bundles: weights with everything they need.")
OTHERWISE = "; 'xrayq evaluate' measures what a variant, such as int8, does"
BundlePath = Annotated[str, typer.Argument(help="Name of a shipped bundle, or a folder.", metavar="BUNDLE")]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the shipped bundles and the one that is live while none is activated.

    \b
    xrayq bundle list
    """
    from model.bundle import MANIFEST, REFERENCE, SHIPPED

    default = load_settings().bundle or REFERENCE
    folders = sorted({manifest.parent for manifest in SHIPPED.glob(f"*/{MANIFEST}")} | {default})
    bundles = [load_bundle(str(folder)) for folder in folders]
    if as_json:
        print_json([_summary(bundle) | {"default": bundle.path == default} for bundle in bundles])
        return
    from worker.cli.console import print_rows

    table = [
        (
            bundle.name,
            bundle.version,
            bundle.digest[:12],
            ", ".join(bundle.findings),
            "yes" if bundle.path == default else "",
        )
        for bundle in bundles
    ]
    print_rows(wide_console(), ("bundle", "version", "digest", "findings", "default"), table)
    typer.echo("default: live while no other is activated; 'xrayq bundle status' says what is")


@app.command()
def show(name: BundlePath = "reference", as_json: JsonOption = False) -> None:
    """Show what a bundle is, how it was made and what it was measured to do. Without a name: the shipped one.

    \b
    xrayq bundle show
    xrayq bundle show runs/mine --json
    """
    from model.errors import BundleError

    bundle = load_bundle(name)
    try:
        card, about_card = card_of(bundle), "none beside it; 'xrayq bundle card' writes one"
    except BundleError as error:
        card, about_card = None, str(error)
    if as_json:
        print_json(
            _summary(bundle)
            | {
                "notice": NOTICE,
                "card": str(card) if card else None,
                "preprocess": bundle.preprocess.as_dict(),
                "calibration": bundle.calibration.as_dict(),
                "variants": bundle.variants,
                "conformal": bundle.conformal and bundle.conformal.as_dict(),
                **({"devices": [device.as_dict() for device in bundle.devices]} if bundle.devices else {}),
                "parent": bundle.parent,
                "gate": bundle.gate,
                "operating_points": [point.as_dict() for point in bundle.operating_points],
                "metrics": bundle.metrics,
                "provenance": bundle.provenance,
            }
        )
        return
    from rich.text import Text

    from model.pages.texts import value_text
    from model.stats.manifest_measures import split_shares, variant_measures
    from model.stats.repeated_films import independence_note, patient_note
    from worker.cli.console import print_rows

    try:
        splits, gate = split_shares(bundle), gate_lines(bundle)
        device_splits = {device.name: split_shares(bundle.for_device(device.name)) for device in bundle.devices}
        variants = {precision: variant_measures(bundle, precision) for precision in bundle.variants}
    except BundleError as error:
        raise Unhealthy(str(error)) from None
    console = wide_console()
    about = f" {bundle.version}  digest {bundle.digest[:12]}  {bundle.calibration.words}"
    console.print(Text.assemble((bundle.name, "bold"), about))
    engine = bundle.provenance.get("calibrated", {}).get("engine", "fp32") or "the engine of the table's logits"
    console.print(f"measured with {engine}{OTHERWISE if bundle.variants else ''}")
    console.print(f"model card: {card or about_card}", soft_wrap=True)
    measured = [
        (split, str(found.films), *map(share_text, (found.accuracy, *map(found.recall.get, bundle.findings))))
        for split, found in splits.items()
    ]
    print_rows(console, ("split", "films", "accuracy", *(f"recall {name}" for name in bundle.findings)), measured)
    _show_decisions(console, bundle, splits)
    for device in bundle.devices:
        own = bundle.for_device(device.name)
        head = f": {device.words}; {own.calibration.words}, on {device.record.get('films', '?')} films"
        console.print(Text.assemble("device ", (device.name, "bold"), head))
        _show_decisions(console, own, device_splits[device.name])
    for precision, variant in variants.items():
        console.print(f"variant {precision}: {_agreement(precision, variant)}")
    for line in gate:
        console.print(line)
    for key, value in bundle.provenance.items():
        if key == "history":
            value = f"{len(value)} epochs; --json has them, 'xrayq evaluate' draws them"
        console.print(f"  {key.replace('_', ' ')}: {value_text(value)}", style="dim")
    shown = [(bundle, splits), *((bundle.for_device(name), own) for name, own in device_splits.items())]
    if note := independence_note(pair for own, shares in shown for pair in _film_counts(own, shares)):
        console.print(note)
    records = [bundle.provenance.get("calibrated", {}), *(device.record for device in bundle.devices)]
    for films in [record["films_as_patients"] for record in records if record.get("films_as_patients")]:
        console.print(f"calibration: {patient_note(films)}")
    console.print(f"Brackets are 95 % intervals, exact for shares of films. {POINTS_NOTE} {NOTICE}", style="dim")


def _show_decisions(console: "Console", bundle: "Bundle", splits: "dict[str, SplitShares]") -> None:
    """Operating points and prediction sets, of the bundle or as it is for a device."""
    for point in bundle.operating_points:
        found = {split: shares.flags.get(point.finding) for split, shares in splits.items()}
        print_point(
            console,
            point,
            [
                (f"{split}, chosen on it" if point.chosen_on.startswith(split) else split, flag)
                for split, flag in found.items()
                if flag
            ],
        )
    if bundle.conformal:
        limits = ", ".join(f"{name} {bundle.conformal.limits[name]:.4f}" for name in bundle.findings)
        console.print(
            f"prediction sets: promised to hold {bundle.conformal.coverage:.0%} of the films of each finding; "
            f"p at or over: {limits}",
        )
    if bundle.calibration.prior_shift:
        console.print(SHIFT_NOTE)


def _film_counts(bundle: "Bundle", splits: "dict[str, SplitShares]") -> "Iterator[tuple[int, int | None]]":
    """Films and their patients, of each rate; a bundle of an earlier release counted those that a point promises."""
    from model.decision import SENSITIVITY

    for point in bundle.operating_points:
        yield point.positives if point.target == SENSITIVITY else point.negatives, point.patients
    for shares in splits.values():
        for flag in shares.flags.values():
            yield from ((rate.n, rate.patients) for rate in (flag.sensitivity, flag.specificity))


@app.command()
def verify(name: BundlePath = "reference", as_json: JsonOption = False) -> None:
    """Check every digest of a bundle and its card, load its network and run it once. Exit code 5 if anything is wrong.

    Without a name: the shipped bundle.

    \b
    xrayq bundle verify
    """
    from model.errors import BundleError
    from worker.bundles.changes import run_once

    bundle = load_bundle(name)
    try:
        card_of(bundle)
    except BundleError as error:
        raise Unhealthy(str(error)) from None
    names = run_once(bundle)
    if as_json:
        print_json(_summary(bundle) | {"engine": names[0], "engines": names, "ok": True})
    else:
        typer.echo(f"{bundle.path} is whole: digest {bundle.digest}, runs on {', '.join(names)}")


def load_bundle(name: str) -> "Bundle":
    from model.bundle import MANIFEST, SHIPPED, load
    from model.errors import BundleError

    shipped, folder = SHIPPED / name, Path(name).absolute()
    path = shipped if (shipped / MANIFEST).is_file() else folder
    if not path.is_dir():
        hint = did_you_mean(name, (manifest.parent.name for manifest in SHIPPED.glob(f"*/{MANIFEST}")))
        raise NotFound(f"no bundle {name}: neither shipped ('xrayq bundle list') nor a folder{hint}")
    if not (path / MANIFEST).exists():
        raise NotFound(f"{name} is not a bundle, it has no {MANIFEST}: 'xrayq bundle list' shows those shipped")
    try:
        return load(path)
    except BundleError as error:
        raise Unhealthy(str(error)) from None


def card_of(bundle: "Bundle") -> Path | None:
    """Where its model card is; None where it has none. Raises BundleError where it is not this bundle's."""
    from model.pages.card_file import CARD, read_card

    return bundle.path / CARD if read_card(bundle) else None


def _summary(bundle: "Bundle") -> dict[str, Any]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "path": str(bundle.path),
        "findings": list(bundle.findings),
    }


def gate_lines(bundle: "Bundle") -> list[str]:
    """What was measured of the gate, a line for each split; that there is none. Raises BundleError."""
    from model.stats.manifest_measures import gate_shares

    if bundle.gate is None:
        return ["gate: header and image quality alone; 'xrayq gate train' adds one that looks at view and orientation"]
    return [
        f"gate on {split}: PA from AP {share_text(found.view.accuracy)}; refused: "
        f"eligible films {share_text(found.eligible_refused)}, "
        f"AP films called PA {share_text(found.ap_tagged_pa_refused)}"
        for split, found in gate_shares(bundle).items()
    ]


def _agreement(precision: str, variant: "VariantMeasures") -> str:
    """What was measured of a variant, in words."""
    val, speeds = variant.val, variant.images_per_s
    speed = f"{speeds[precision] / speeds['fp32']:.1f}" if {precision, "fp32"} <= speeds.keys() else "unknown"
    return (
        f"on {val.films} validation films probabilities differ by {val.mean_difference:.4f}, at most "
        f"{val.largest_difference:.3f}; flags change on {val.films_with_other_flags}; "
        f"{speed} times as fast as fp32, one thread, where it was compiled"
    )
