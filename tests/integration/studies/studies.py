"""A site's studies: films and dose reports that come and end, the time that passes, and the relay's look."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select, update

from dicom_gateway.encode import derived_uid
from tests.integration.receiving.test_other_objects import dose
from tests.integration.reporting.site import Site
from worker.db.session import reading, writing
from worker.db.tables import audit_event, study_outcome
from worker.receiving.other_objects import record
from worker.studies import view
from worker.studies.closing import close_due
from worker.studies.opening import QUIET
from worker.studies.view import StudyInFull, StudyView


@dataclass(frozen=True, kw_only=True)
class Studies:
    """Studies are named by a word."""

    site: Site

    @property
    def database(self) -> Engine:
        return self.site.database

    def film(self, study: str, name: str = "one", state: str = "scored", **about: Any) -> int:
        """One that came and ended; `state` "received": it waits."""
        ends = {key: about.pop(key) for key in ("flag", "prediction_set", "reason") if key in about}
        about = {"StudyInstanceUID": uid_of(study)} | about
        key = self.site.film(f"{study} {name}", end=False, **about)
        if state != "received":
            self.site.end(key, state, **ends)
        return key

    def dose(self, study: str) -> int:
        return record(self.database, dose(derived_uid("dose", study), study_instance_uid=uid_of(study)))[1]

    def later(self) -> None:
        """QUIET later."""
        moved = ("first_received_at", "last_received_at", "quiet_until", "due_at")
        with writing(self.database) as connection:
            for row in connection.execute(select(study_outcome)).all():
                times = {name: getattr(row, name) and getattr(row, name) - QUIET for name in moved}
                connection.execute(update(study_outcome).where(study_outcome.c.id == row.id).values(times))

    def close(self) -> int:
        """QUIET later the relay looks."""
        self.later()
        return close_due(self.database)

    def all(self) -> list[StudyView]:
        """The oldest first."""
        with reading(self.database) as connection:
            return view.list_studies(connection)[::-1]

    def find(self, study: str) -> StudyInFull:
        with reading(self.database) as connection:
            return view.find(connection, uid_of(study))

    def said(self, study: str) -> tuple[str, str | None, int | None, int]:
        """Outcome, reason, film and version."""
        found = self.find(study).study
        return found.outcome.value, found.reason, found.used_instance_id, found.version

    def events(self) -> list[tuple[str, int | None, dict[str, Any]]]:
        """Of studies: action, film and detail."""
        with reading(self.database) as connection:
            query = select(audit_event).where(audit_event.c.action.like("study%")).order_by(audit_event.c.id)
            return [(row.action, row.instance_id, row.detail) for row in connection.execute(query)]


def uid_of(study: str) -> str:
    return derived_uid("study", study)
