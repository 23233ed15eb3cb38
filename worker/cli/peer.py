"""xrayq peer: who may come, by AE title, address and certificate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import peer_quarantine
from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dicom_gateway.peers import Peer
    from worker.peers.table import ListedPeer
    from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Peers: who may come, from where, and what they may do; and what unknown ones sent.",
)
peer_quarantine.register(app)

Title = Annotated[str, typer.Argument(help="AE title that the peer calls itself by.", metavar="AE")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace the whole row of a peer that is there.")]


@app.command()
def add(
    title: Title,
    network: Annotated[
        list[str], typer.Option(help="Address or network that it comes from, IPv4 or IPv6; repeatable.", metavar="CIDR")
    ],
    may: Annotated[
        list[str] | None, typer.Option(help="store, echo or commit; repeatable. Without it: all of them.")
    ] = None,
    certificate_subject: Annotated[
        str, typer.Option(help="Subject of its TLS certificate, such as CN=cr1,O=Hospital.")
    ] = "",
    certificate_sha256: Annotated[str, typer.Option(help="SHA-256 of its TLS certificate, in hexadecimal.")] = "",
    per_minute: Annotated[int | None, typer.Option(help="Most C-STOREs a minute; over it answers come later.")] = None,
    associations: Annotated[int | None, typer.Option(help="Most associations at the same time.")] = None,
    replace: ReplaceOption = False,
) -> None:
    """Let an AE in that comes from a network, and from no other.

    With a certificate it must show that one, so it must come over TLS. A running
    gateway knows of it within seconds. What waits of it in quarantine stays
    there until 'xrayq peer admit'. Where its results go is no right of a peer:
    that is XRAYQ_RESULTS_TO, and 'xrayq device accept'.

    \b
    xrayq peer add CR1 --network 10.1.2.7
    xrayq peer add PACS --network 10.1.2.0/24 --network 2001:db8::/64 --associations 8
    """
    from worker.peers.entry import peer_of

    new = peer_of(
        title,
        networks=network,
        may=may or (),
        certificate_subject=certificate_subject,
        certificate_sha256=certificate_sha256,
        per_minute=per_minute,
        associations=associations,
    )
    _add(open_database(load_settings()), [new], replace=replace)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="TOML file with a table [[peer]] for each.", metavar="FILE")],
    replace: ReplaceOption = False,
) -> None:
    """Let the peers of a TOML file in: all of them, or none where one is wrong or is there already.

    Keys of [[peer]]: ae and networks, and where wanted may, certificate_subject,
    certificate_sha256, per_minute, associations. Peers that the file does not
    name stay.

    \b
    xrayq peer import peers.toml
    xrayq peer import peers.toml --replace
    """
    from worker.peers.entry import read_file

    _add(open_database(load_settings()), read_file(file), replace=replace)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the peers: from where they come, and what they may do.

    \b
    xrayq peer list
    xrayq peer list --json
    """
    from worker.peers.table import listed

    settings = load_settings()
    found = listed(open_database(settings))
    if as_json:
        print_json([peer.as_dict() for peer in found])
        return
    if not found:
        typer.echo("no peer is known; 'xrayq peer add' names one, and 'xrayq peer quarantine' shows who came")
        return
    _print(found, settings)


@app.command()
def show(title: Title, as_json: JsonOption = False) -> None:
    """Show a peer with its certificate and limits.

    \b
    xrayq peer show CR1
    """
    from worker.peers.table import find

    settings = load_settings()
    found = find(open_database(settings), title)
    if as_json:
        print_json(found.as_dict())
        return
    _print([found], settings)
    peer = found.peer
    certificate = (
        ("Certificate: subject", peer.certificate_subject),
        ("Certificate: SHA-256", peer.certificate_sha256),
    )
    for what, text in certificate:
        if text:
            typer.echo(f"{what} {text}")


@app.command()
def remove(title: Title) -> None:
    """Make a peer an unknown AE again. What it sent stays as it is.

    An association that is open goes on until it ends; what it sends from now on
    is treated as XRAYQ_UNKNOWN_PEERS says.

    \b
    xrayq peer remove CR1
    """
    from worker.peers.table import remove as remove_peer

    remove_peer(open_database(load_settings()), title, actor=operator())
    typer.echo(f"{title} is no peer any more")


def _add(engine: "Engine", peers: "list[Peer]", *, replace: bool) -> None:
    from worker.db.session import reading
    from worker.peers import table
    from worker.peers.entry import spoken
    from worker.peers.quarantine import held_of

    table.add(engine, peers, actor=operator(), replace=replace)
    for peer in peers:
        typer.echo(f"{peer.calling_ae} may {', '.join(sorted(peer.rights))}, from {spoken(peer.networks)}")
    with reading(engine) as connection:
        waiting = held_of(connection, sorted(peer.calling_ae for peer in peers))
    for title in waiting:
        typer.echo(f"films of {title} wait in quarantine: 'xrayq peer admit {title}' releases what is of this peer")


def _print(peers: "list[ListedPeer]", settings: "Settings") -> None:
    from worker.cli.console import print_rows
    from worker.peers.entry import spoken

    rows = [
        (
            listed.peer.calling_ae,
            spoken(listed.peer.networks),
            ", ".join(sorted(listed.peer.rights)),
            "yes" if listed.peer.certificate_subject or listed.peer.certificate_sha256 else "any",
            str(listed.peer.stores_a_minute or "any"),
            str(listed.peer.most_associations or "any"),
            clock(listed.changed_at, settings.zone),
            listed.changed_by,
        )
        for listed in peers
    ]
    console = wide_console()
    headings = ("AE", "from", "may", "certificate", "a minute", "associations", "since", "by")
    print_rows(console, headings, rows, folds=("from",))
    console.print(
        f"Others: {settings.unknown_peers or 'allowed on this machine, quarantine from elsewhere'} "
        f"(XRAYQ_UNKNOWN_PEERS). Times are {settings.zone.key}.",
        style="dim",
    )
