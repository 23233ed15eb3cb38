"""xrayq user: people who sign in to the web page with a password (XRAYQ_WEB_SIGN_IN=local)."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, must_be_one_of, operator, print_json, wide_console
from worker.errors import ConfigurationError
from worker.processes.parts import open_database
from worker.words import counted

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.web.people import WebRole

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="People who sign in to the web page with a password of xrayq (XRAYQ_WEB_SIGN_IN=local).",
)
Name = Annotated[str, typer.Argument(help="As they sign in; capital letters make no difference.")]
ROLE_HELP = "viewer: look; reader: also label films; operator: also look after them; admin: also change the bundle."


@app.command()
def add(name: Name, role: Annotated[str, typer.Option(help=ROLE_HELP)] = "viewer") -> None:
    """Let somebody sign in. The password is asked for, or read from standard input.

    \b
    xrayq user add jones --role reader
    xrayq user add chief --role admin < password.txt
    """
    from worker.web.signing_in import users
    from worker.web.signing_in.names import person_name

    settings, chosen = load_settings(), _role(role)
    person_name(name)  # before a password is typed
    kept = users.add(open_database(settings, writes=True), name, chosen, _password(), actor=operator())
    typer.echo(f"{kept} may sign in as {chosen}{_unless_local(settings)}")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List who may sign in, and as what.

    \b
    xrayq user list
    """
    from worker.cli.console import print_rows
    from worker.web.signing_in import users

    settings = load_settings()
    found = users.listed(open_database(settings))
    if as_json:
        print_json([user.as_dict() for user in found])
        return
    if not found:
        typer.echo("no users: 'xrayq user add NAME --role admin' makes the first")
        return
    rows = [(user.name, user.role, clock(user.changed_at, settings.zone), user.changed_by) for user in found]
    print_rows(wide_console(), ("name", "role", "changed", "by"), rows)


@app.command()
def role(name: Name, role: Annotated[str, typer.Argument(help=ROLE_HELP)]) -> None:
    """Change what somebody may do. They are signed out everywhere.

    \b
    xrayq user role jones operator
    """
    from worker.web.signing_in import users
    from worker.web.signing_in.names import person_name

    chosen = _role(role)
    users.change_role(open_database(load_settings(), writes=True), name, chosen, actor=operator())
    typer.echo(f"{person_name(name)} is {chosen} now")


@app.command()
def password(name: Name) -> None:
    """Give somebody another password, asked for or read from standard input. They are signed out everywhere.

    \b
    xrayq user password jones
    """
    from worker.web.signing_in import users
    from worker.web.signing_in.names import person_name

    database = open_database(load_settings(), writes=True)
    users.must_be_there(database, name)
    users.change_password(database, name, _password(), actor=operator())
    typer.echo(f"{person_name(name)} has another password now")


@app.command()
def remove(name: Name) -> None:
    """Let somebody sign in no more. They are signed out everywhere; what they did stays in the audit trail.

    \b
    xrayq user remove jones
    """
    from worker.web.signing_in import users
    from worker.web.signing_in.names import person_name

    users.remove(open_database(load_settings(), writes=True), name, actor=operator())
    typer.echo(f"{person_name(name)} is removed")


@app.command("sign-out")
def sign_out(name: Name) -> None:
    """Sign somebody out everywhere, also whom a proxy or a provider signed in. They may sign in again.

    \b
    xrayq user sign-out jones
    """
    from worker.web.signing_in import users
    from worker.web.signing_in.names import person_name

    ended = users.sign_out(open_database(load_settings(), writes=True), name, actor=operator())
    typer.echo(f"{person_name(name)} is signed in nowhere now; before it was {counted(ended, 'browser')}")


def _role(text: str) -> "WebRole":
    from worker.web.people import WebRole

    must_be_one_of(text, list(WebRole), "the role")
    return WebRole(text)


def _password() -> str:
    """Typed twice at a terminal, else the first line of standard input. Raises ConfigurationError."""
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="The same again"))
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError("the password on standard input is no text in UTF-8") from None


def _unless_local(settings: "Settings") -> str:
    how = settings.web_sign_in
    return "" if how == "local" else f"; not yet, as XRAYQ_WEB_SIGN_IN is {how}, and not local"
