"""xrayq instance: what arrived, what became of it, and what to do about it."""

from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common import (
    JsonOption,
    did_you_mean,
    load_settings,
    must_be_one_of,
    operator,
    print_json,
    to_the_second,
    wide_console,
)
from worker.cli.instance_view import print_score, print_table, styled
from worker.cli.one_instance import find_one
from worker.processes.parts import film_comparison, open_database

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Instances and their scores.")

TIMES = ("received_at", "scored_at")
EXPLAINED = (
    "Of films like it: of the calibration films with about this probability, so many had the finding (exact 95 % "
    "interval). It is no interval around the probability, which may lie outside. A prediction set is meant to hold the "
    "finding of a film as often as its bundle says ('xrayq bundle show'); it rules out nothing."
)
Name = Annotated[str, typer.Argument(help="Instance id, or SOP Instance UID.", metavar="ID")]


def _states(begun: str) -> list[str]:
    """For the shell's completion."""
    from worker.states import State

    return [state for state in State if state.startswith(begun)]


@app.command("list")
def list_(
    state: Annotated[
        str, typer.Option(help="quarantined, received, scored, ineligible, failed or reported.", autocompletion=_states)
    ] = "",
    reason: Annotated[str, typer.Option(help="Why ineligible or failed, a code of 'xrayq instance reasons'.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Newest so many; 0 shows all.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """List instances, oldest first.

    \b
    xrayq instance list
    xrayq instance list --state failed --limit 20
    xrayq instance list --reason view_conflict
    xrayq instance list --json | jq '.[] | select(.state == "failed") | .reason'
    """
    from worker.instances import count_by_reason, count_instances, list_instances
    from worker.states import State

    if state:
        must_be_one_of(state, State, "--state")
    engine = open_database(load_settings())
    views = list_instances(
        engine, state=State(state) if state else None, reason=reason, limit=limit, newest_first=bool(limit)
    )
    views.sort(key=lambda view: view.id)
    if reason and not views:
        known = {known_reason for _, known_reason, _ in count_by_reason(engine) if known_reason}
        if reason not in known:
            typer.echo(f"xrayq: no instance has reason {reason}{did_you_mean(reason, known)}", err=True)
    if as_json:
        print_json([view.as_dict() for view in views])
        return
    console = wide_console()
    print_table(console, views)
    number = count_instances(engine, state=State(state) if state else None, reason=reason) if limit else len(views)
    shown = f"{len(views)} of " if len(views) < number else ""
    console.print(f"{shown}{number} instance{'' if number == 1 else 's'}. {NOTICE}", style="dim")


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show an instance, its scores and its history; with a SOP Instance UID, every revision of it.

    Beside the live score stand the shadows', with operating points, prediction
    sets and the gate's notes, where the bundle has them; and what became of
    the calibration films that scored alike. Times are of XRAYQ_TIME_ZONE with
    its offset; in the JSON they are UTC.

    \b
    xrayq instance show 17
    xrayq instance show 1.2.826.0.1.3680043.8.498.1 --json
    """
    from dicom_gateway.revision import spoken
    from worker.instances import find, history, scores_of

    settings = load_settings()
    engine = open_database(settings)
    found = [(view, scores_of(engine, view.id), history(engine, view.id)) for view in find(engine, name)]
    if as_json:
        print_json(
            [
                view.as_dict()
                | {"scores": [score.as_dict() for score in scores], "history": [event.as_dict() for event in events]}
                for view, scores, events in found
            ]
        )
        return
    from rich.table import Table

    from worker.dead_letters import in_words
    from worker.states import State
    from worker.status.film_life import lines_of, plain_text

    console = wide_console()
    for view, scores, events in found:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        console.print(f"instance {view.id}, revision {view.revision}")
        for key, value in view.as_dict().items():
            if key in TIMES and value:
                table.add_row(key, to_the_second(value, settings.zone))
            elif key == "identity_changed" and value:
                table.add_row(key, spoken(value))
            elif key == "sop_class_uid":
                continue
            elif key == "sop_class":
                table.add_row(key, value if value == view.sop_class_uid else f"{value}, {view.sop_class_uid}")
            elif key not in ("id", "revision"):
                table.add_row(key, plain_text(value))
        console.print(table)
        if view.state == State.FAILED and view.reason:
            console.print(in_words(view.reason, view.id), style="yellow")
        for score in scores:
            print_score(console, score)
        for event in events:
            at = to_the_second(event.at, settings.zone)
            console.print(f"  {at}  {event.action:<12} by {event.actor}", style="dim")
            for line in lines_of(event):
                console.print(f"    {line.text}", style="red" if line.warns else "dim")
    if any(scores for _, scores, _ in found):
        console.print(EXPLAINED, style="dim")
    console.print(NOTICE, style="dim")


@app.command()
def reasons(as_json: JsonOption = False) -> None:
    """Count the instances of each state by reason, most first.

    \b
    xrayq instance reasons
    xrayq instance reasons --json
    """
    from worker.instances import count_by_reason

    rows = count_by_reason(open_database(load_settings()))
    if as_json:
        print_json([{"state": state, "reason": reason, "instances": count} for state, reason, count in rows])
        return
    from worker.cli.console import print_rows

    console = wide_console()
    table = [(styled(state), reason or "", str(count)) for state, reason, count in rows]
    print_rows(console, ("state", "reason", "instances"), table)
    console.print(NOTICE, style="dim")


@app.command()
def admit(name: Name) -> None:
    """Let one quarantined instance be scored. Its sender stays unknown; 'xrayq peer admit AE' admits that.

    
    xrayq instance admit 17
    """
    from worker.peers.leaving import admit_instance
    from worker.states import State

    settings = load_settings()
    engine = open_database(settings)
    instance_id = find_one(engine, name, {State.QUARANTINED})
    with film_comparison(settings) as compare:
        reason = admit_instance(engine, instance_id, actor=operator(), compare=compare)
    typer.echo(f"instance {instance_id} left the quarantine{f', and is ineligible: {reason}' if reason else ''}")


@app.command()
def requeue(name: Name) -> None:
    """Send a failed instance back to work, with fresh attempts.

    \b
    xrayq instance requeue 17
    """
    from worker.instances import requeue as requeue_instance
    from worker.states import State

    engine = open_database(load_settings())
    instance_id = find_one(engine, name, {State.FAILED})
    requeue_instance(engine, instance_id, operator())
    typer.echo(f"instance {instance_id} is received again")


@app.command()
def reject(name: Name) -> None:
    """Take a waiting or failed instance out for good: ineligible, reason operator; not_admitted from the quarantine.

    Where it corrects a film whose result was told, that is taken back.

    \b
    xrayq instance reject 17
    """
    from worker.bundles.roles import default_of
    from worker.instances import reject as reject_instance
    from worker.processes.result_options import take_back
    from worker.states import State, sources

    settings = load_settings()
    engine = open_database(settings)
    instance_id = find_one(engine, name, sources(State.INELIGIBLE))
    default = default_of(settings.bundle)
    rejected = reject_instance(engine, instance_id, operator(), take_back(settings, default))
    typer.echo(f"instance {instance_id} is ineligible ({rejected.reason})")
    for destination in rejected.back.told:
        typer.echo(f"what was told of the film before is taken back at {destination}")
    for destination in rejected.back.not_told:
        typer.echo(f"WARNING: {destination} has a result of the film before, and cannot be told: tell them", err=True)
