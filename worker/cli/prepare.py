"""xrayq prepare: labelled films to the arrays that training and evaluation read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.findings import FINDINGS
from worker.cli.common import (
    JsonOption,
    must_be_writable,
    must_exist,
    one_line_errors,
    parse_names,
    parse_views,
    print_json,
    progress,
    wide_console,
)
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from model.data.prepare import Prepared
    from model.data.raw_films import RawFilm

SHOWN = 10
"""Most look-alikes in the table."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(prepare)


def prepare(
    films: Annotated[
        list[Path],
        typer.Argument(help="Folders with metadata.csv and the files, or tar shards, it names.", metavar="FOLDER..."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")] = Path("runs/films"),
    views: Annotated[str, typer.Option(help="View positions, comma-separated, or 'all'.")] = "PA",
    size: Annotated[int, typer.Option(help="Side of the network's input, pixels; it takes 161 to 224.", min=1)] = 224,
    min_age: Annotated[float, typer.Option(help="Leave out patients known to be younger, years.")] = 18.0,
    split: Annotated[str, typer.Option(help="Shares of train, val, test where the table has no split.")] = "70/15/15",
    seed: Annotated[int, typer.Option(help="Of that split.")] = 2020,
    findings: Annotated[
        str, typer.Option(help="The labels there may be, comma-separated; the negative one first.")
    ] = ",".join(FINDINGS),
    sources: Annotated[str, typer.Option(help="Films of these sources alone, comma-separated.")] = "",
    without_sources: Annotated[str, typer.Option(help="No films of these sources.")] = "",
    licences: Annotated[
        list[str], typer.Option(help="Films with this text in their licence alone; may be given several times.")
    ] = [],  # noqa: B006 - typer makes a new one
    without_licences: Annotated[
        list[str], typer.Option(help="No films with this text in their licence; likewise.")
    ] = [],  # noqa: B006
    list_licences: Annotated[
        bool, typer.Option("--list-licences", help="Print the licences as stated, with films of each, and stop.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check labelled films and write them as arrays, preprocessed exactly as in serving.

    metadata.csv has the columns image_id, file, label (one of --findings) and
    patient_id; it may have split (train, val, test), view, age, sex, source,
    license, label_basis, test_subset, rsna_class and shard. Files are JPEG, PNG
    or DICOM; a film with a shard is the JPEG or PNG of that name in the tar
    file. Films are cropped to squares, so that their shape cannot tell where
    they came from. A patient in two splits of any folders, or one film under
    two labels, is an error. Test films of the subset more are a part of their
    own, beside test.

    \b
    xrayq prepare films/
    xrayq prepare films/ more/ --views all --out runs/all
    xrayq prepare films/ --list-licences
    xrayq prepare films/ --licences "CC BY" --without-licences NC --out runs/free
    """
    from rich.console import Console

    from model.data.listed_films import Choice, choose, read_tables
    from model.data.listed_films import licences as licence_counts
    from model.data.prepare import ABOUT, REQUIRED_COLUMNS
    from model.data.prepare import prepare as run_prepare
    from model.preprocess import PreprocessSpec
    from worker import logs

    logs.silence_readers()
    must_exist(*films)
    choice = Choice(
        sources=parse_names(sources),
        without_sources=parse_names(without_sources),
        licences=tuple(licences),
        without_licences=tuple(without_licences),
    )
    if list_licences:
        with one_line_errors():
            chosen, _ = choose(read_tables(films, REQUIRED_COLUMNS, ABOUT), choice)
        stated = licence_counts(chosen)
        print_json(stated) if json_output else _show_licences(stated)
        return
    must_be_writable(out)
    console = Console(stderr=True)
    shares = _shares(split)
    with one_line_errors(), progress(console, "films read") as advance:
        prepared = run_prepare(
            films,
            out,
            spec=PreprocessSpec(size=size),
            read=read_film,
            findings=parse_names(findings),
            choice=choice,
            views=parse_views(views),
            min_age=min_age,
            shares=shares,
            seed=seed,
            advance=advance,
        )
    if json_output:
        print_json(
            {
                "folder": str(out),
                "films": prepared.counts(),
                "left_out": prepared.left_out,
                "licences": prepared.licences,
                "look_alikes": [list(pair) for pair in prepared.look_alikes],
            }
        )
    else:
        _show(prepared, out)


def read_film(path: Path) -> "RawFilm":
    """A JPEG, PNG or DICOM file as a film. Raises DatasetError if it is none."""
    from model.data.raw_films import RawFilm, read_image
    from model.errors import DatasetError

    with path.open("rb") as handle:
        handle.seek(128)
        dicom = handle.read(4) == b"DICM"
    if not dicom:
        return read_image(path)
    from dicom_gateway.errors import PixelError, Refusal
    from dicom_gateway.header import read_header
    from dicom_gateway.pixels import read_radiograph

    try:
        header, film = read_header(path), read_radiograph(path)
    except Refusal as error:
        raise DatasetError(f"not a DICOM film: {error.comment}") from error
    except PixelError as error:
        raise DatasetError(f"no radiograph in it: {error.reason}") from error
    return RawFilm(
        pixels=film.pixels,
        low=film.low,
        high=film.high,
        inverted=film.inverted,
        aspect=film.aspect,
        view="/".join(header.views),
        age=header.age_years,
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        parts = [float(part) for part in text.split("/")]
        return tuple(part / sum(parts) for part in parts)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"--split {text!r}: give shares as 70/15/15") from None


def _show_licences(stated: dict[str, int]) -> None:
    console = wide_console()
    for licence, count in stated.items():
        console.print(f"{count:>6}  {licence}", soft_wrap=True)


def _show(prepared: "Prepared", out: Path) -> None:
    from rich.table import Table

    from model.data.listed_films import NOT_GIVEN

    console, counts = wide_console(), prepared.counts()
    table = Table(title="Films by class and split", title_justify="left")
    table.add_column("class")
    for split in prepared.parts:
        table.add_column(split, justify="right")
    table.add_column("all", justify="right")
    for label, row in counts.items():
        table.add_row(label, *(str(row[split]) for split in prepared.parts), str(sum(row.values())))
    sums = [sum(row[split] for row in counts.values()) for split in prepared.parts]
    table.add_row("all", *map(str, sums), str(sum(sums)), style="bold")
    console.print(table)
    patients = len({film.patient for film in prepared.records})
    console.print(f"{len(prepared.records)} films of {patients} patients; no patient is in two splits.")
    for reason, count in sorted(prepared.left_out.items()):
        console.print(f"left out: {count:>5}  {reason}", soft_wrap=True)
    for licence, count in prepared.licences.items() if set(prepared.licences) != {NOT_GIVEN} else ():
        console.print(f"licence:  {count:>5}  {licence}", soft_wrap=True)
    for first, second in prepared.look_alikes[:SHOWN]:
        console.print(f"look alike, in different splits: {first} and {second}", style="yellow")
    if more := len(prepared.look_alikes[SHOWN:]):
        console.print(f"and {more} more pairs look alike: --json lists them", style="yellow")
    console.print(f"wrote {out}: next, xrayq train {out}")
