"""What storage commitment as SCP needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dicom_gateway.spool import Spool
    from worker.committing.report import Committing
    from worker.settings import Settings


def committing(settings: "Settings", database: "Engine", spool: "Spool") -> "Committing":
    """Raises ConfigurationError where a certificate cannot be used."""
    from worker.committing.holding import Holding
    from worker.committing.report import Committing, ReportOptions
    from worker.processes.tls_options import tls_of_commitment

    options = ReportOptions(
        calling_ae=settings.ae_title, hours=settings.commitment_hours, tls=tls_of_commitment(settings)
    )
    return Committing(holding=Holding(database=database, spool=spool), options=options)
