"""The gateway's own process with `XRAYQ_STOW`: beside C-STORE, killed, and asked by whom it does not know."""

import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from pydicom.filereader import dcmread
from sqlalchemy import Engine, func, select

from dicom_gateway import scu
from dicom_gateway.spool import INCOMING
from tests.certificates import Authority
from tests.endpoints import request, samples
from tests.integration.http_push.conftest import SHOWN, TOKEN
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, free_port, kill, listening, process, settings_of, typed_in, wait_until
from tests.stow import RELATED, outcomes, payload
from worker.db.session import reading
from worker.db.tables import audit_event, instance

HEADERS = {"Content-Type": RELATED} | SHOWN


def push(port: int, films: Sequence[Path]) -> list[str]:
    """UIDs that were answered with success."""
    url = f"http://127.0.0.1:{port}/studies"
    answer = httpx.post(url, content=payload(films), headers=HEADERS, timeout=120, trust_env=False)
    return [uid for uid, _ in outcomes(answer.json()).get("kept", [])]


@pytest.mark.slow
def test_fifty_films_by_web_and_by_c_store_at_once_and_a_kill(
    database: Engine, database_url: str, tmp_path: Path
) -> None:
    films = [write_film(tmp_path, f"{number}", pixels=chest_pixels(64, 48, seed=number)) for number in range(50)]
    uids = {dcmread(film).SOPInstanceUID for film in films}
    stow, port, tokens = free_port(), free_port(), tmp_path / "tokens"
    tokens.write_text(f"ROUTER:{TOKEN}\n")
    settings = {"home": str(tmp_path), "database_url": database_url, "port": str(port), "stow": f"127.0.0.1:{stow}"}
    env = environment(**settings, stow_tokens_file=str(tokens))
    promised: list[str] = []

    def rows() -> int:
        with reading(database) as connection:
            return int(connection.execute(select(func.count()).select_from(instance)).scalar_one())

    def by_web() -> None:
        for start in range(0, 50, 5):
            try:
                promised.extend(push(stow, films[start : start + 5]))
            except httpx.TransportError:
                return

    with process("gateway", env, tmp_path / "log") as gateway:
        wait_until(lambda: listening(stow) and listening(port), 30, "the gateway")
        web = threading.Thread(target=by_web)
        web.start()
        wait_until(lambda: rows() >= 10, 60, "some films")
        kill(gateway.pid)
        web.join()
    with process("gateway", env, tmp_path / "log"):
        wait_until(lambda: listening(stow) and listening(port), 30, "the gateway")
        known = rows()
        web = threading.Thread(target=by_web)
        web.start()
        answers = list(scu.send("127.0.0.1", port, films, called_ae="XRAYQ", calling_ae="CR1"))
        web.join()
    assert {answer.status for answer in answers} == {0}
    assert set(promised) == uids
    with reading(database) as connection:
        found = connection.execute(select(instance.c.sop_instance_uid, instance.c.revision)).all()
        digests = set(connection.execute(select(instance.c.digest)).scalars())
        actions = Counter(connection.execute(select(audit_event.c.action)).scalars())
    assert sorted(found) == sorted((uid, 1) for uid in uids), "each once, nothing lost, nothing a revision"
    assert (actions["received"], actions["duplicate"]) == (50, 50 + known)
    spool = tmp_path / "spool"
    assert {path.stem for path in spool.glob("*/*.dcm")} == digests
    assert list((spool / INCOMING).iterdir()) == []


@pytest.mark.slow
def test_over_tls_with_curl_as_the_guide_has_it(tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    own = authority.issue("xrayq")
    film = write_film(tmp_path, "film")
    stow, http = free_port(), free_port()
    settings = {
        "home": str(tmp_path),
        "port": str(free_port()),
        "stow": f"tls:127.0.0.1:{stow}",
        "stow_tokens": f"ROUTER:{TOKEN}",
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_clients": "any",
        "gateway_http_port": str(http),
        "http_token": "a-token-of-prometheus",
    }
    guide = (Path(__file__).parents[3] / "worker/GUIDE.md").read_text(encoding="utf-8")
    begin = guide.index("(printf -- '--film")
    command = guide[begin : guide.index("\n```", begin)].replace("xrayq.example:8443", f"localhost:{stow}")
    command = command.replace("authorities.pem", str(authority.file)).replace("curl ", "curl -4 -s ", 1)
    env = environment(**settings)
    with typed_in(tmp_path, **settings_of(env)) as xrayq:
        xrayq("db", "upgrade")
        assert "nobody answers on tls:127.0.0.1" in xrayq("doctor")[1]
        with process("gateway", env, tmp_path / "log"):
            wait_until(lambda: listening(stow), 30, "the gateway")
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env={"PATH": env["PATH"], "TOKEN": TOKEN, "no_proxy": "*"},
                capture_output=True,
                text=True,
                timeout=180,
                check=True,
            )
            assert dcmread(film).SOPInstanceUID in done.stdout
            assert f"pushes by web are taken on tls:127.0.0.1:{stow}" in xrayq("doctor")[1]
            assert xrayq("health", "gateway")[0] == 0, "it shows the token"
            assert request(http, "/metrics").status == 401
            counted = samples(http, token="a-token-of-prometheus")
            assert counted["xrayq_stow_instances_total", "ROUTER", "0x0000"] == 1
            assert counted["xrayq_certificate_expires_seconds",] > 0
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{stow}/studies", timeout=20, trust_env=False)
            context = ssl.create_default_context(cafile=authority.file)
            stranger = httpx.post(f"https://localhost:{stow}/studies", verify=context, timeout=20, trust_env=False)
            assert stranger.status_code == 401
    assert TOKEN not in (tmp_path / "log").read_text()
