"""Debian's Orthanc as the PACS: it pushes what it was given, and keeps what it is sent."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.certificates import Certified
from tests.services import free_port, listening, tool, wait_until

PROGRAM, TITLE = "Orthanc", "ORTHANC"


@dataclass(kw_only=True)
class Orthanc:
    """One running server."""

    http: int
    dicom: int
    """Port, 0 where it takes nothing by DICOM."""
    server: "subprocess.Popen[bytes]"

    def post(self, path: str, body: bytes) -> Any:
        with urlopen(Request(f"{self._url}{path}", body, method="POST"), timeout=120) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        return json.loads(self.bytes_of(path))

    def bytes_of(self, path: str) -> bytes:
        with urlopen(f"{self._url}{path}", timeout=120) as answer:
            content: bytes = answer.read()
            return content

    def instances(self, modality: str) -> list[str]:
        """Orthanc's own ids of the instances of series of this modality."""
        series = self.get("/series?expand")
        return [
            one for found in series if found["MainDicomTags"].get("Modality") == modality for one in found["Instances"]
        ]

    def modalities(self) -> Counter[str]:
        """Instances by the modality of their series."""
        series = self.get("/series?expand")
        return Counter(found["MainDicomTags"].get("Modality", "") for found in series for _ in found["Instances"])

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


@dataclass(frozen=True, kw_only=True)
class MutualTls:
    """What it shows, and whom it lets in and calls."""

    own: Certified
    authorities: Path


@contextmanager
def orthanc(
    folder: Path,
    gateway: int = 0,
    *,
    http: int = 0,
    dicom: int = 0,
    tls: MutualTls | None = None,
    most_found: int = 0,
) -> Iterator[Orthanc]:
    """A server whose storage lies in the folder: a second one there goes on with it.

    Args:
        gateway: port of its modality `xrayq`.
        http, dicom: ports; without the second it takes nothing by DICOM.
        tls: then it neither takes nor sends anything without TLS.
        most_found: matches of a C-FIND that it sends at most; 0: all.
    """
    program, http = tool(PROGRAM, "orthanc"), http or free_port()
    folder.mkdir(exist_ok=True)
    config = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http,
        "DicomServerEnabled": bool(dicom),
        "DicomPort": dicom or 104,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": TITLE,
        "DicomCheckCalledAet": True,
        "LimitFindResults": most_found,
        "LimitFindInstances": most_found,
        "DicomModalities": {
            "xrayq": {"AET": "XRAYQ", "Host": "127.0.0.1", "Port": gateway or 104, "UseDicomTls": bool(tls)}
        },
        "Plugins": [],
    }
    if tls:
        settings |= {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(tls.own.certificate),
            "DicomTlsPrivateKey": str(tls.own.key),
            "DicomTlsTrustedCertificates": str(tls.authorities),
            "DicomTlsRemoteCertificateRequired": True,
        }
    config.write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("ab") as log:
        server = subprocess.Popen([program, str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(http) and (not dicom or listening(dicom)), 30, "Orthanc")
        yield Orthanc(http=http, dicom=dicom, server=server)
    finally:
        server.terminate()
        server.wait(timeout=30)
