"""A real repository: rsyslog of Debian, over TLS with certificates on both sides."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lxml import etree

from tests.audit_repository import valid
from tests.certificates import Authority, Certified
from tests.integration.audit_messages.conftest import OPTIONS, Site, tls_to
from tests.services import REQUIRED, free_port, kill, listening, wait_until

CONFIGURATION = """
global(
  DefaultNetstreamDriver="{driver}" DefaultNetstreamDriverCAFile="{authorities}"
  DefaultNetstreamDriverCertFile="{certificate}" DefaultNetstreamDriverKeyFile="{key}"
  workDirectory="{folder}" maxMessageSize="64k"
)
module(load="imtcp" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{file}" template="raw")
"""


@dataclass(frozen=True, kw_only=True)
class Rsyslog:
    port: int
    file: Path
    pid: int

    def xmls(self) -> list[bytes]:
        """The whole lines, without what rsyslog says of itself."""
        written = self.file.read_bytes() if self.file.exists() else b""
        whole = written[: written.rfind(b"\n") + 1].splitlines()
        return [line.partition(b"\xef\xbb\xbf")[2] for line in whole if b"<AuditMessage>" in line]


@contextmanager
def rsyslog(folder: Path, driver: str, shown: Certified, authority: Authority, port: int) -> Iterator[Rsyslog]:
    """Until the block ends."""
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None or not any(path.stem == f"lmnsd_{driver}" for path in Path("/usr/lib").glob("*/rsyslog/*.so")):
        package = {"gtls": "rsyslog-gnutls", "ossl": "rsyslog-openssl"}[driver]
        (pytest.fail if REQUIRED else pytest.skip)(f"rsyslog is not installed (apt install {package})")
    file, configuration = folder / "messages", folder / "rsyslog.conf"
    configuration.write_text(
        CONFIGURATION.format(
            driver=driver,
            authorities=authority.file,
            certificate=shown.certificate,
            key=shown.key,
            folder=folder,
            port=port,
            file=file,
        )
    )
    pid_file = folder / "rsyslog.pid"
    pid_file.unlink(missing_ok=True)
    started = subprocess.Popen([str(program), "-n", "-f", str(configuration), "-i", str(pid_file)])
    try:
        wait_until(lambda: listening(port), 20, "rsyslog")
        yield Rsyslog(port=port, file=file, pid=started.pid)
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(timeout=10)
            except subprocess.TimeoutExpired:
                started.kill()
        started.wait(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_rsyslog_gets_every_message_though_it_is_killed(
    site: Site, authority: Authority, tmp_path: Path, driver: str
) -> None:
    shown, port = authority.issue("rsyslog"), free_port()
    site.options, site.to = replace(OPTIONS, rows=3), tls_to(port, authority, seconds=60)
    studies = {f"1.2.{number}" for number in range(20)}
    for study in sorted(studies):
        site.film("a", study=study)
    with rsyslog(tmp_path, driver, shown, authority, port) as there:
        wait_until(lambda: all_sent(site), 120, "the trail's end")
        wait_until(lambda: len(studies_of(there)) == 20, 10, "all messages")
        site.film("bb", study="1.2.100")
        kill(there.pid)
        assert site.send() == 1
        assert site.stands().reason in ("no_connection", "hung_up")
    with rsyslog(tmp_path, driver, shown, authority, port) as there:
        wait_until(lambda: all_sent(site), 120, "the trail's end")
        wait_until(lambda: len(studies_of(there)) == 21, 10, "what it missed")
    assert all(map(valid, there.xmls()))
    assert studies_of(there) == studies | {"1.2.100"}


def all_sent(site: Site) -> bool:
    """Tried again where a busy rsyslog hung up: some messages may then be there twice."""
    site.later()
    site.send()
    return site.stands().waiting == 0


def studies_of(there: Rsyslog) -> set[str]:
    path = "//ParticipantObjectIdentification[1]/@ParticipantObjectID"
    return {etree.fromstring(xml).xpath(path)[0] for xml in there.xmls()}
