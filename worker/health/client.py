"""Asking a process of this host for its `/readyz`."""

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from worker.errors import ConfigurationError, Unhealthy
from worker.health.probes import Check, reachable
from worker.words import printable

SECONDS = 10.0
LARGEST_ANSWER = 64 << 10


@dataclass(frozen=True, kw_only=True)
class ProcessAddress:
    """Where a process of ours answers."""

    role: str
    host: str
    port: int
    """0: it has no endpoint."""
    installation: str
    """Its database, as `worker.db.session.identity` has it."""
    token: str = field(default="", repr=False)
    """Bearer token that it asks for, "" where it asks for none."""


def ask(process: ProcessAddress, *, seconds: float = SECONDS) -> list[Check]:
    """What the checks of this process found.

    Raises:
        ConfigurationError: it has no endpoint.
        Unhealthy: nobody answers, or somebody else does.
    """
    role, port = process.role, process.port
    variable = f"XRAYQ_{role.upper()}_HTTP_PORT"
    if not port:
        raise ConfigurationError(f"{variable} is 0: the {role} has no endpoint to ask; give it a port")
    connection = HTTPConnection(reachable(process.host), port, timeout=seconds)
    try:
        shown = {"Authorization": f"Bearer {process.token}"} if process.token else {}
        connection.request("GET", "/readyz", headers=shown)
        answer = json.loads(connection.getresponse().read(LARGEST_ANSWER))
        if answer["role"] != role:
            raise Unhealthy(f"port {port} is the {printable(answer['role'])}'s, not the {role}'s: see {variable}")
        if answer["installation"] != process.installation:
            raise Unhealthy(
                f"port {port} is the {role} of another installation, with another database: "
                f"see {variable} and XRAYQ_DATABASE_URL"
            )
        return [
            Check(
                check=printable(check["check"]),
                ok=check["ok"] is True,
                text=printable(check["text"]),
                needed=check.get("needed") is not False,
            )
            for check in answer["checks"]
        ]
    except TimeoutError:
        raise Unhealthy(
            f"the {role} listens on port {port} and does not answer within {seconds:g} s: it hangs; restart it"
        ) from None
    except OSError:
        raise Unhealthy(
            f"no {role} answers on port {port}: start 'xrayq up' or 'xrayq {role}', see {variable}"
        ) from None
    except (HTTPException, ValueError, KeyError, TypeError):
        raise Unhealthy(f"what answers on port {port} is no xrayq {role}: see {variable}") from None
    finally:
        connection.close()
