"""xrayq doctor: is everything there that is needed?"""

from dataclasses import asdict

import typer

from worker.cli.common import JsonOption, load_settings, print_json
from worker.errors import Unhealthy


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after")(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Check gateway, spool, database, Redis, worker, bundle and backlog. Exit code 5 names what is wrong.

    \b
    xrayq doctor
    xrayq doctor --json
    """
    from worker import checks, logs

    settings = load_settings()
    logs.configure("ERROR", settings.log_format)
    findings = checks.run(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style("ok   ", fg="green") if finding.ok else typer.style("WRONG", fg="red", bold=True)
            typer.echo(f"{mark}  {finding.check:<9} {finding.text}")
    wrong = [finding.check for finding in findings if not finding.ok]
    if wrong:
        raise Unhealthy(f"{len(wrong)} of {len(findings)} checks failed: {', '.join(wrong)}")
