"""What a person's name may be: it is part of an actor of the audit trail, and the reader of labels."""

import re
import unicodedata
from collections.abc import Collection, Iterable

from worker.audit.actions import Actor
from worker.errors import ConfigurationError
from worker.web.doors import ANYBODY
from worker.web.people import WebRole

LONGEST = 64 - len("operator:")
"""An actor has 64 characters."""
TAKEN = (*Actor, ANYBODY, "operator", "unknown")
"""What acts under these names is no person."""
PATTERN = re.compile(r"[\w][\w.@+\\ -]*")
"""No colon: an actor is `operator:` and the name."""


def person_name(text: str) -> str:
    """As the trail has it, without capital letters: nobody shall be two readers.

    Raises ConfigurationError, which does not repeat it.
    """
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()
    if len(name) > LONGEST or not PATTERN.fullmatch(name) or name in TAKEN:
        raise ConfigurationError(
            f"a name has 1 to {LONGEST} letters, digits, spaces and . _ - @ + \\, and is none of {', '.join(TAKEN)}"
        )
    return name


def role_of(groups: Collection[str], entries: Iterable[str]) -> WebRole | None:
    """The highest that one of the groups has; None without one.

    Args:
        entries: of XRAYQ_WEB_ROLES, GROUP:ROLE each.
    """
    ranks = list(WebRole)
    pairs = (entry.rpartition(":") for entry in entries)
    had = [WebRole(role) for group, _, role in pairs if group == "*" or group in groups]
    return max(had, key=ranks.index, default=None)
