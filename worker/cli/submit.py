"""xrayq submit: feeds files through the same ingest as the gateway."""

from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.common import JsonOption, load_settings, print_json
from worker.errors import ConfigurationError, NotFound
from worker.processes.parts import comparing, open_database, open_spool, prepare_spool, start_logging


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(submit)


def submit(
    paths: Annotated[list[Path] | None, typer.Argument(help="DICOM files, or folders of them.", metavar="PATH")] = None,
    orphaned: Annotated[
        bool, typer.Option("--orphans", help="Films of the spool that are not in the database.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take DICOM files into the spool and the queue, as the gateway would.

    \b
    xrayq submit film.dcm
    xrayq submit /archive/2026-11 --json
    xrayq submit --orphans
    """
    from dicom_gateway.errors import Refusal
    from dicom_gateway.local import store_file
    from dicom_gateway.options import Received
    from dicom_gateway.revision import spoken
    from worker.instances import history
    from worker.receiving import other_objects
    from worker.receiving.arrivals import ArrivalKind
    from worker.receiving.ingest import ingest
    from worker.receiving.orphans import orphans
    from worker.states import NOT_A_FILM

    if bool(paths) == orphaned:
        raise ConfigurationError("give files or folders, or --orphans")
    settings = load_settings()
    start_logging(settings)
    database, spool = open_database(settings), open_spool(settings)
    prepare_spool(settings, spool)
    if orphaned:
        files = [spool.path_of(digest) for digest in orphans(database, spool.root) or ()]
    else:
        files = _files(paths or [])
    results: list[dict[str, Any]] = []
    pictures = comparing(settings)
    for file in files:
        try:
            kept = settings.keep_other_objects or orphaned  # an orphan is in the spool already
            stored = store_file(file, spool, settings.ae_title, keep_other_objects=kept)
            if isinstance(stored, Received):
                (outcome, instance_id), reason = ingest(database, spool, stored, pictures.same_picture), None
            else:
                (outcome, instance_id), reason = other_objects.record(database, stored), NOT_A_FILM
            told = {"file": str(file), "outcome": outcome.value, "instance": instance_id, "reason": reason}
            if outcome is ArrivalKind.REVISION:
                told["changed"] = history(database, instance_id)[0]["detail"].get("changed", [])
            results.append(told)
        except OSError as error:
            results.append(
                {"file": str(file), "outcome": "refused", "instance": None, "reason": error.strerror or "not readable"}
            )
        except Refusal as refusal:
            results.append({"file": str(file), "outcome": "refused", "instance": None, "reason": refusal.comment})
    pictures.close()
    refused = [one for one in results if one["outcome"] == "refused"]
    if as_json:
        print_json(results)
    else:
        for one in results:
            why = f"changed: {spoken(one['changed'])}" if one.get("changed") else one["reason"] or ""
            typer.echo(f"{one['outcome']:<10} {one['instance'] or '-':>6}  {one['file']}  {why}".rstrip())
        typer.echo(f"{len(results) - len(refused)} of {len(results)} taken")
    if refused:
        raise typer.Exit(1)


def _files(paths: list[Path]) -> list[Path]:
    """Raises NotFound without any."""
    files = [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
    if not files:
        raise NotFound(f"no file under {', '.join(str(path) for path in paths)}")
    return files
