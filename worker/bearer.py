"""Bearer tokens (RFC 6750): who asks over HTTP is known by what he shows."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

CHALLENGE = 'Bearer realm="xrayq"'
"""WWW-Authenticate of an answer with 401."""


@dataclass(frozen=True, kw_only=True)
class NamedToken:
    name: str
    """Who has it."""
    token: str = field(repr=False)


def bearer(tokens: Sequence[NamedToken], authorization: str) -> str | None:
    """Name of the token that an Authorization header shows; None where it shows none of these.

    Takes as long for a wrong token as for a right one.
    """
    scheme, _, shown = authorization.partition(" ")
    offered = shown.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
    found = None
    for known in tokens:
        if hmac.compare_digest(known.token.encode(), offered):
            found = known.name
    return found
