"""Who looks: a person, with the role that says what it may see and do."""

from dataclasses import dataclass
from enum import StrEnum


class WebRole(StrEnum):
    """What a person may do. Each may do all that those before it may."""

    VIEWER = "viewer"
    """Look at worklist, films with their UIDs, reports and operations; not take a report's `instances.csv`."""
    READER = "reader"
    """Also label films."""
    OPERATOR = "operator"
    """Also acknowledge alarms, requeue and reject films, admit senders."""
    ADMIN = "admin"
    """Also change which bundle is live, and accept or silence devices."""

    def includes(self, least: "WebRole") -> bool:
        ranks = list(WebRole)
        return ranks.index(self) >= ranks.index(least)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is signed in."""

    name: str
    """At most 55 characters; the reader of labels."""
    role: WebRole

    @property
    def actor(self) -> str:
        """In the audit trail."""
        return f"operator:{self.name}"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One person at one browser."""

    person: Person
    csrf: str
    """That every form of this visit sends back; no other site can know it."""
    signed_in: bool = True
    """False: nobody signs in here (this machine alone), and the page says so."""
