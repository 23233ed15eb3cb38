"""Which PACSs are asked, and for which films. The nightly report's child is handed these, so they can be pickled."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from dicom_gateway.tls import ClientOptions
from worker.setting_values import result_route


@dataclass(frozen=True, kw_only=True)
class AskedPacs:
    """A Query/Retrieve SCP. No two have one AE title: it is the name of each in tables, reports and alarms."""

    called_ae: str
    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    pacs: tuple[AskedPacs, ...]
    calling_ae: str
    zone: ZoneInfo
    """In which the PACSs' dates and times are, and a day begins."""
    tls: ClientOptions | None = None
    modalities: tuple[str, ...] = ("CR", "DX")
    """Empty: all."""
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG")
    words: tuple[str, ...] = ()
    """One of them is in the description of the study or series, where the body part is missing. Empty: every one."""
    settled_minutes: float = 60.0
    """A younger film that is not here is still on its way."""
    answer_seconds: float = 30.0
    queries_on_record: bool = False
    """Whether the site's audit repository wants to know of each association with questions."""
    total_seconds: float = 300.0
    """For all PACSs and days of a night."""


def asked_pacs(texts: tuple[str, ...]) -> tuple[AskedPacs, ...]:
    """Entries of XRAYQ_ASK_PACS. Raises ValueError where one cannot be read."""
    routes = [result_route(f"*:{text}") for text in texts]
    return tuple(
        AskedPacs(called_ae=route.called, host=route.host, port=route.port, tls=route.scheme == "tls")
        for route in routes
    )
