"""Asking a process of this host for its `/readyz`."""

import json
from http.client import HTTPConnection, HTTPException

from worker.errors import ConfigurationError, Unhealthy
from worker.probes import Finding, reachable

SECONDS = 10.0


def ask(role: str, host: str, port: int) -> list[Finding]:
    """What the role's checks found.

    Raises:
        ConfigurationError: it has no endpoint.
        Unhealthy: nobody answers, or somebody else does.
    """
    variable = f"XRAYQ_{role.upper()}_HTTP_PORT"
    if not port:
        raise ConfigurationError(f"{variable} is 0: the {role} has no endpoint to ask; give it a port")
    connection = HTTPConnection(reachable(host), port, timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        said = json.loads(connection.getresponse().read())
        if said["role"] != role:
            raise Unhealthy(f"port {port} is the {said['role']}'s, not the {role}'s: see {variable}")
        return [Finding(**finding) for finding in said["checks"]]
    except OSError:
        raise Unhealthy(
            f"no {role} answers on port {port}: start 'xrayq up' or 'xrayq {role}', see {variable}"
        ) from None
    except (HTTPException, ValueError, KeyError, TypeError):
        raise Unhealthy(f"what answers on port {port} is no xrayq {role}: see {variable}") from None
    finally:
        connection.close()
