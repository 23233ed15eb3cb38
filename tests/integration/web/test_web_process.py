"""The web page's own process: over TLS, with users of `xrayq user`."""

import io
import ssl
import sys
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority, Certified
from tests.integration.web.test_signing_in import PASSWORD, token_in
from tests.services import environment, free_port, listening, process, typed, wait_until


def shown(port: int) -> str:
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


@pytest.mark.slow
def test_a_person_signs_in_over_tls_and_a_new_certificate_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, port = Authority(folder=tmp_path), free_port()
    first, second = authority.issue("first"), authority.issue("second")
    ours = Certified(certificate=tmp_path / "web.pem", key=tmp_path / "web.key")

    def show(certified: Certified) -> None:
        ours.key.write_bytes(certified.key.read_bytes())
        ours.certificate.write_bytes(certified.certificate.read_bytes())

    show(first)
    settings = {"home": str(tmp_path), "web": f"tls:127.0.0.1:{port}", "web_sign_in": "local"}
    settings |= {"tls_certificate": str(ours.certificate), "tls_key": str(ours.key)}
    assert typed("db", "upgrade", **settings).returncode == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\nshort\n"))
    said = typed("user", "add", "Jones", "--role", "operator", **settings)
    assert (said.returncode, said.stdout) == (0, "jones may sign in as operator\n")
    assert typed("user", "add", "kim", **settings).returncode == 2
    with process("web", environment(**settings), tmp_path / "log"):
        wait_until(lambda: listening(port), 30, "the page")
        trusted = ssl.create_default_context(cafile=authority.file)
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, trust_env=False) as browser:
            form = {"csrf": token_in(browser.get("/sign-in").text), "name": "jones", "password": PASSWORD}
            answer = browser.post("/sign-in", data=form)
            assert answer.status_code == 303
            (cookie,) = (text for text in answer.headers.get_list("set-cookie") if "session" in text)
            assert cookie.startswith("__Host-xrayq-session=")
            assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
            assert "jones <small>operator</small>" in browser.get("/").text
            assert browser.get("/", headers={"host": "elsewhere.example"}).status_code == 421
            before = shown(port)
            show(second)
            wait_until(lambda: shown(port) != before, what="the second certificate")
            assert shown(port) == second.certificate.read_text().split("-----END CERTIFICATE-----")[0] + (
                "-----END CERTIFICATE-----\n"
            )
            ours.key.write_text("no key")
            assert browser.get("/").status_code == 200
            with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, trust_env=False) as other:
                assert other.get("/sign-in").status_code == 200
            removed = typed("user", "remove", "JONES", **settings)
            assert removed.stdout == "jones is removed\n"
            assert browser.get("/").status_code == 303
            ended = typed("user", "sign-out", "Jones", **settings).stdout
            assert ended == "jones is signed in nowhere now; before it was 0 browsers\n"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    text = (tmp_path / "log").read_text()
    assert "certificates not loaded" in text
    assert PASSWORD not in text
