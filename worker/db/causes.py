"""Why a database did not do what was asked, in words.

`cause` names no host, user or path, so that it may stand on an endpoint and in a log. `located_cause` is for a person
at a command line.
"""

from sqlalchemy import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoConnection

from worker.db.errors import CommitUnknown
from worker.words import printable

STATES: dict[str, str] = {
    "0A000": "it cannot do what was asked: is it an old version, or no PostgreSQL?",
    "22P05": "its encoding cannot keep a character; xrayq needs UTF8",
    "25006": "it is read-only, as a standby is, or one whose disk is full",
    "26000": "a statement was lost: what stands before the database is not made for this",
    "28000": "it does not let this user in from here (pg_hba.conf)",
    "28P01": "the password is wrong",
    "3D000": "there is no such database",
    "3F000": "its search_path names no schema that its user may use",
    "40001": "others changed the same rows",
    "40P01": "two transactions waited for each other",
    "42501": "its user may not do that",
    "42P01": "a table is missing: run 'xrayq db upgrade'",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "53300": "it has no connection free: too many are open",
    "55000": "it accepts no connections",
    "55P03": "others held a lock for too long",
    "57014": "it took too long",
    "57P01": "it shuts down",
    "57P02": "it crashed and starts again",
    "57P03": "it starts, or shuts down",
    "57P05": "it closed a connection that was idle",
    "58030": "it cannot write its files",
}
"""PostgreSQL Appendix A, Error Codes. A pooler calls all of its own 08P01: their texts say more."""

PHRASES: tuple[tuple[str, str], ...] = (
    ("password authentication failed", STATES["28P01"]),
    ("no password supplied", "it wants a password, and none is given"),
    ("sasl authentication failed", STATES["28P01"]),
    ("server does not support ssl", "an encrypted connection is wanted (sslmode), and the server has none"),
    ("pg_hba.conf rejects", STATES["28000"]),
    ("no encryption", "it has no rule for this user from here without encryption: is SSL required? (pg_hba.conf)"),
    ("ssl off", "it has no rule for this user from here without encryption: is SSL required? (pg_hba.conf)"),
    ("ssl required", "it takes encrypted connections only: SSL is required"),
    ("certificate", "its certificate, or ours, is not accepted"),
    ("no pg_hba.conf entry", STATES["28000"]),
    ("peer authentication failed", "it lets in only the operating system's user of the same name (peer)"),
    ("no such user", "there is no such user"),
    ("authentication failed", "it does not let this user in"),
    ("not currently accepting connections", STATES["55000"]),
    ("permission denied for database", "its user may not connect to it"),
    ("unsupported startup parameter", "the pooler before it refused an option of the URL"),
    ("too many clients", STATES["53300"]),
    ("remaining connection slots", STATES["53300"]),
    ("too many connections", STATES["53300"]),
    ("no more connections allowed", STATES["53300"]),
    (
        "statement pooling mode",
        "the pooler before it takes single statements only (pool_mode): it should be transaction",
    ),
    ("query_wait_timeout", "the pooler before it has no connection free"),
    ("server login has been failing", "the pooler before it cannot reach it"),
    ("is starting up", STATES["57P03"]),
    ("is shutting down", STATES["57P03"]),
    ("not yet accepting connections", STATES["57P03"]),
    ("could not translate host name", "its host name is unknown"),
    ("failed to resolve host", "its host name is unknown"),
    ("name or service not known", "its host name is unknown"),
    ("connection refused", "nobody listens there (connection refused)"),
    ("no such file or directory", "nobody listens there (no such socket)"),
    ("network is unreachable", "no network leads there"),
    ("no route to host", "no network leads there"),
    ("server is silent", "it is silent"),
    ("timeout expired", "it is silent"),
    ("connection timed out", "it is silent"),
    ("invalid connection option", "its URL has an option that PostgreSQL does not know"),
    ("invalid sslmode value", "sslmode in its URL is none of PostgreSQL's"),
    ("invalid port number", "the port in its URL is none"),
    ("server closed the connection", "it closed the connection"),
    ("connection reset", "it closed the connection"),
    ("connection is closed", "it closed the connection"),
    ("connection is lost", "it closed the connection"),
    ("unable to open database file", "its file cannot be opened"),
    ("database is locked", "others held a lock for too long"),
    ("readonly database", "its file is read-only"),
    ("disk is full", "its disk is full"),
    ("disk i/o error", "its disk cannot be read or written"),
    ("not a database", "its file is no SQLite database"),
    ("disk image is malformed", "its file is damaged"),
    ("malformed database schema", "its file is damaged"),
    ("no such table", STATES["42P01"]),
)
"""Of texts without a code: libpq's, a pooler's, SQLite's. The first that is found counts."""
NOT_BOUND = ("Error binding parameter", "cannot adapt type")
"""How sqlite3 and psycopg begin when they cannot hand a value to the database."""
NEITHER = (("role", "does not exist", "there is no such user"), ("database", "does not exist", STATES["3D000"]))
LONGEST = 200


def cause(error: SQLAlchemyError) -> str:
    """What is wrong, in a few words."""
    return known(error) or f"it refused ({type(error).__name__})"


def is_of_a_value(error: Exception) -> bool:
    """Whether a value is the cause, and not the database: it, its driver or SQLAlchemy does not take it."""
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        return str(error.orig).startswith(NOT_BOUND)
    return isinstance(error, StatementError)  # SQLAlchemy's own, before the driver saw it


def located_cause(error: SQLAlchemyError, url: URL) -> str:
    """One line with the place; where the cause is not known, with the words of the database. Without a password."""
    words = known(error)
    if not words:
        own = str(error.orig).strip().splitlines() if isinstance(error, DBAPIError) and error.orig else []
        words = printable(own[-1])[:LONGEST] if own else f"it refused ({type(error).__name__})"
    return f"{database_place(url)}: {words}"


def database_place(url: URL) -> str:
    """Where a database is, for a person."""
    if url.get_backend_name() == "sqlite":
        return f"database {url.database}"
    host = url.host or url.query.get("host") or "this host's socket"
    port = f":{url.port}" if url.port else ""
    return f"database {url.database or url.username} at {host if isinstance(host, str) else ', '.join(host)}{port}"


def known(error: SQLAlchemyError) -> str:
    """The cause in a few words, "" where it is none of these."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        # Ours and SQLAlchemy's: no connection became free, or nobody knows whether it was committed.
        return str(error).split(";")[0] if isinstance(error, (NoConnection, CommitUnknown)) else ""
    if words := STATES.get(getattr(error.orig, "sqlstate", None) or ""):
        return words
    text = str(error.orig).lower()
    if found := next((words for phrase, words in PHRASES if phrase in text), ""):
        return found
    return next((words for noun, phrase, words in NEITHER if phrase in text and f'{noun} "' in text), "")
