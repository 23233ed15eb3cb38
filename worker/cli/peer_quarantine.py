"""xrayq peer quarantine, admit, reject: what unknown peers sent, and what a person makes of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.processes.parts import film_comparison, open_database

if TYPE_CHECKING:
    from worker.peers.admitting import Released

Title = Annotated[str, typer.Argument(help="AE title, as 'xrayq peer quarantine' shows it.", metavar="AE")]
NetworkOption = Annotated[
    list[str] | None, typer.Option(help="Address or network that it comes from; repeatable.", metavar="CIDR")
]


def register(app: typer.Typer) -> None:
    for command in (quarantine, admit, reject):
        app.command()(command)


def quarantine(as_json: JsonOption = False) -> None:
    """Show what unknown peers sent, by AE title and address: kept, not scored, and counted nowhere.

    \b
    xrayq peer quarantine
    xrayq peer quarantine --json
    """
    from worker.db.session import reading
    from worker.peers.quarantine import held_senders

    settings = load_settings()
    with reading(open_database(settings)) as connection:
        held = held_senders(connection)
    if as_json:
        print_json([sender.as_dict() for sender in held])
        return
    if not held:
        typer.echo("nothing is in quarantine")
        return
    from worker.cli.console import print_rows

    rows = [
        (
            sender.calling_ae,
            sender.address,
            sender.why.value if sender.why else "",
            str(sender.films),
            str(sender.other_objects),
            clock(sender.since, settings.zone),
            clock(sender.last, settings.zone),
        )
        for sender in held
    ]
    console = wide_console()
    print_rows(console, ("AE", "address", "why", "films", "other objects", "since", "last"), rows, folds=("why",))
    console.print(
        "'xrayq peer admit AE' makes one a peer: what it sent from there is scored, and from then on what it sends. "
        "'xrayq peer reject AE' takes what it sent out for good; it stays unknown. "
        f"Times are {settings.zone.key}.",
        style="dim",
    )


def admit(title: Title, network: NetworkOption = None) -> None:
    """Make an AE a peer, and let what it sent from there be scored, both at once.

    Without --network it is known by the one address that it sent from. Of a peer
    that is there the network is added, and nothing else of its row changes. What
    came under its title from elsewhere stays in quarantine. A film that is here
    already from another sender is not scored twice: it ends as ineligible, reason
    duplicate, or replaced where a newer one came in between.

    \b
    xrayq peer admit CR1
    xrayq peer admit PACS --network 10.1.2.0/24
    """
    from worker.peers.entry import networks_of, peer_of, spoken
    from worker.peers.leaving import admit_sender
    from worker.words import counted

    settings = load_settings()
    named = networks_of(title, network) if network else ()
    name = peer_of(title, networks=["0.0.0.0/0"]).calling_ae
    with film_comparison(settings) as compare:
        peer, released = admit_sender(open_database(settings), name, named, actor=operator(), compare=compare)
    typer.echo(f"{name} is a peer, from {spoken(peer.networks)}; {_objects(released)} left the quarantine")
    if released.ended:
        typer.echo(f"here already, and not scored again: {counted(released.ended, 'film')}, ineligible now")
    if scored := released.films - released.ended:
        typer.echo(
            f"next: {counted(scored, 'film')} to be scored in turn; 'xrayq device show {name}' says where results go"
        )


def reject(title: Title, network: NetworkOption = None) -> None:
    """Take what an AE sent out for good: ineligible, reason not_admitted. The AE stays unknown.

    With --network only what came from there. The films stay in the spool.

    \b
    xrayq peer reject CR1
    xrayq peer reject CR1 --network 10.9.9.9
    """
    from worker.peers.entry import networks_of
    from worker.peers.leaving import reject_sender

    named = networks_of(title, network) if network else ()
    released = reject_sender(open_database(load_settings()), title, named, actor=operator())
    typer.echo(f"{_objects(released)} of {title} are ineligible (not_admitted)")


def _objects(released: "Released") -> str:
    from worker.words import counted

    return f"{counted(released.films, 'film')} and {counted(released.other_objects, 'other object')}"
