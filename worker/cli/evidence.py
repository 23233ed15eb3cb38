"""xrayq evidence: how one result came about, in one signed file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    JsonOption,
    load_settings,
    must_be_new,
    must_be_one_of,
    operator,
    print_json,
    writing_to,
)

if TYPE_CHECKING:
    from worker.evidence.verify import PackCheck

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="How a result came about, as one signed file.")


@app.command()
def keygen(
    out: Annotated[Path | None, typer.Option(help="Folder; default: that of XRAYQ_EVIDENCE_KEY.")] = None,
) -> None:
    """Make the key pair that evidence packs are signed with.

    evidence.key is private: it stays on this machine, readable by its owner
    alone, and in its backup. evidence.pem is public: give it, and the
    fingerprint that is printed, to whoever shall verify your packs, and keep
    both where nobody who can change this machine can change them. A key that is
    there is never replaced.

    \b
    xrayq evidence keygen
    xrayq evidence keygen --out /srv/keys
    """
    from worker.evidence import keys

    settings = load_settings()
    private = out / keys.PRIVATE if out else settings.signing_key
    with writing_to(private):
        public = keys.make_pair(private)
    typer.echo(f"private key {private}, public key {public}")
    typer.echo(f"fingerprint {keys.fingerprint(keys.public_key(public))}")
    if private != settings.signing_key:
        typer.echo(f"sign with it: XRAYQ_EVIDENCE_KEY={private.absolute()}")


@app.command()
def make(
    name: Annotated[
        str,
        typer.Argument(
            help="Instance id, SOP Instance UID, Study Instance UID or Accession Number.",
            metavar="STUDY|ACCESSION|INSTANCE",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; default: evidence-ID.zip, a film's id.")] = None,
    by: Annotated[
        str, typer.Option(help="instance, film, study or accession, where a number can be several of them.")
    ] = "",
    with_film: Annotated[bool, typer.Option("--with-film", help="Put the films in, too.")] = False,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="A folder to look for a score's bundle in; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an evidence pack: everything that is known of the films' results, one signed ZIP file.

    Every revision of each film: its row, its scores as written, the same
    computed again, its events of the audit trail, alarms of those days, the
    objects that went to the PACS and when. What is not there any more is named
    with the reason. Nothing is written to the database. README.txt in the pack
    says what is proved and how to verify it, also without xrayq. A score that
    is not as the audit trail tells is in the pack as it is; a warning names it.

    The pack holds patient data: the objects for the PACS name the patient. An
    Accession Number stands in the shell's history, too.

    \b
    xrayq evidence make 17
    xrayq evidence make 1.2.840.99999.1.17 --with-film --out study.zip
    """
    from worker.cli.bundle import load_bundle
    from worker.evidence import films, pack
    from worker.processes.evidence_options import evidence_options, evidence_sources

    if by:
        must_be_one_of(by, list(films.Kind), "--by")
    must_be_new(out)
    settings = load_settings()
    named = [load_bundle(str(folder)) for folder in bundle or ()]
    with evidence_sources(settings, named) as sources:
        found = films.find(sources.database, name, films.Kind(by) if by else None)
        path = out or Path(f"evidence-{found.films[0]}.zip")
        must_be_new(path)
        options = evidence_options(settings, actor=operator(), with_film=with_film)
        with writing_to(path):
            made = pack.make(found, path, sources, options)
    for wrong in made.wrong:
        typer.echo(f"WARNING: {wrong.words}. The pack has it as it is, and will not verify as whole", err=True)
    if as_json:
        said = {"file": str(path), "films": made.films, "files": made.files, "fingerprint": made.fingerprint}
        print_json(said | {"wrong_scores": [wrong.as_dict() for wrong in made.wrong]})
        return
    typer.echo(f"{path}: {made.films} {'film' if made.films == 1 else 'films'}, {made.files} files")
    typer.echo(f"signed with the key {made.fingerprint}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="An evidence pack.", metavar="FILE")],
    key: Annotated[Path | None, typer.Option(help="The hospital's public key, from a source that you trust.")] = None,
    trail: Annotated[
        Path | None, typer.Option(help="The hospital's whole audit trail, of 'xrayq audit export'.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check an evidence pack, on any machine: no database and no settings are needed.

    Every file, the signature, each event of the audit trail and each score. Exit
    code 0: whole. Exit code 1: a line for each fault. Without --key nobody knows
    who signed it: whoever changes a pack can sign it anew with a key of their own.
    With --trail the film's events are also looked up in the hospital's chain, and
    none of them may be left out.

    \b
    xrayq evidence verify evidence-17.zip --key hospital.pem
    xrayq evidence verify evidence-17.zip --key hospital.pem --trail trail.jsonl
    """
    from worker.evidence import keys
    from worker.evidence.verify import verify as check

    found = check(file, keys.public_key(key) if key else None, trail)
    if as_json:
        print_json(found.as_dict())
    else:
        _print(file, found)
    if not found.whole:
        raise typer.Exit(1)


def _print(file: Path, found: "PackCheck") -> None:
    from worker.evidence.layout import UNSIGNED
    from worker.words import counted

    for fault in found.faults:
        _say(f"not whole: {fault}")
    if not found.whole or found.manifest is None:
        return
    said = found.manifest
    files = len(said.files) + len(UNSIGNED)  # all that are in the ZIP file, as `make` counts them
    _say(f"{file} is whole: {counted(len(said.films), 'film')}, {counted(files, 'file')}")
    _say(f"made {said.made_at} by {said.made_by}{f' at {said.site}' if said.site else ''}")
    if found.origin:
        _say(f"signed with the key that you gave, fingerprint {found.fingerprint}")
    else:
        _say("WHO MADE IT WAS NOT CHECKED: the key came with the pack. Give the hospital's public key with --key,")
        _say(f"or compare this fingerprint with the hospital's: {found.fingerprint}")
    if found.trail:
        _say("its events stand in the audit trail that you gave, which is whole, and none is left out")
    for remark in found.remarks:
        _say(f"it says: {remark}")


def _say(words: str) -> None:
    """One line, with words that come from the pack."""
    from worker.words import printable

    typer.echo(printable(" ".join(words.split())))
