"""xrayq submit: feeds files through the same ingest as the gateway."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.common import JsonOption, load_settings, print_json
from worker.errors import ConfigurationError, NotFound
from worker.processes.parts import comparing, open_database, open_spool, prepare_spool, start_logging

REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of a file."""

    file: Path
    outcome: str
    """An `ArrivalKind`, or REFUSED."""
    instance: int | None = None
    reason: str | None = None
    changed: list[str] | None = None
    """Keywords of what a revision has otherwise; None where it is none."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        changed = {} if self.changed is None else {"changed": self.changed}
        return {
            "file": str(self.file),
            "outcome": self.outcome,
            "instance": self.instance,
            "reason": self.reason,
        } | changed


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
    results: list[Submitted] = []
    pictures, quiet = comparing(settings), timedelta(seconds=settings.study_seconds)
    for file in files:
        try:
            kept = settings.keep_other_objects or orphaned  # an orphan is in the spool already
            stored = store_file(file, spool, settings.ae_title, keep_other_objects=kept)
            if isinstance(stored, Received):
                came, reason = ingest(database, spool, stored, pictures.same_picture, quiet=quiet), None
            else:
                came, reason = other_objects.record(database, stored, quiet=quiet), NOT_A_FILM
            outcome, instance_id = came
            changed = None
            if outcome is ArrivalKind.REVISION:
                changed = list(history(database, instance_id)[0].detail.get("changed", []))
            results.append(
                Submitted(file=file, outcome=outcome.value, instance=instance_id, reason=reason, changed=changed)
            )
        except OSError as error:
            results.append(Submitted(file=file, outcome=REFUSED, reason=error.strerror or "not readable"))
        except Refusal as refusal:
            results.append(Submitted(file=file, outcome=REFUSED, reason=refusal.comment))
    pictures.close()
    refused = sum(result.outcome == REFUSED for result in results)
    if as_json:
        print_json([result.as_dict() for result in results])
    else:
        for result in results:
            why = f"changed: {spoken(result.changed)}" if result.changed else result.reason or ""
            typer.echo(f"{result.outcome:<10} {result.instance or '-':>6}  {result.file}  {why}".rstrip())
        typer.echo(f"{len(results) - refused} of {len(results)} taken")
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
