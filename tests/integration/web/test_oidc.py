"""Signing in at a strict OpenID Connect provider over HTTP, and at one that lies."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry
from sqlalchemy import Engine, select

from tests import oidc_provider
from tests.integration.web.conftest import sqlite_alone
from tests.integration.web.test_signing_in import KEY, LENGTHS, browser_of, told
from tests.oidc_provider import CLIENT, SECRET, Forge, Provider, new_key
from worker.db.session import reading
from worker.db.tables import web_session
from worker.web.signing_in import provider as ours
from worker.web.signing_in.oidc import Mapped, oidc_way
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.site import Site

pytestmark = sqlite_alone
BACK = "http://xrayq.example/sign-in/return"


@dataclass
class Browser:
    """One person's."""

    site: Site
    theirs: Provider
    secret: str = SECRET

    def __post_init__(self) -> None:
        doors = SessionDoors(self.site.database, KEY, LENGTHS)
        client = ours.Client(issuer=self.theirs.issuer, id=CLIENT, secret=self.secret)
        mapped = Mapped(name="preferred_username", groups="groups", roles=("readers:reader",))
        self.page = browser_of(self.site, oidc_way(self.site, doors, KEY, ours.Provider(client), mapped))

    def begin(self) -> str:
        """To the provider, which sends it back. The address of ours that it is sent to."""
        answer = self.page.get("/sign-in?next=/reading")
        assert answer.status_code == 303, answer.text
        back = httpx.get(answer.headers["location"])
        assert back.status_code == 302, back.text
        return back.headers["location"]

    def sign_in(self) -> tuple[int, str]:
        """Status, and where to or what it says."""
        answer = self.page.get(self.begin())
        return answer.status_code, answer.headers.get("location", answer.text)


@pytest.fixture(scope="module")
def listening() -> Iterator[Provider]:
    with oidc_provider.provider(BACK) as found:
        yield found


@pytest.fixture
def theirs(listening: Provider) -> Provider:
    """As it was at first, whatever a test before has changed."""
    vars(listening).update(vars(Provider(redirect_uri=BACK, issuer=listening.issuer)))
    return listening


@pytest.fixture
def browser(site: Site, theirs: Provider) -> Browser:
    return Browser(site, theirs)


def nobody_is_in(database: Engine) -> bool:
    with reading(database) as connection:
        return connection.execute(select(web_session)).first() is None


def test_who_is_signed_in_there_is_signed_in_here(browser: Browser, database: Engine) -> None:
    assert browser.sign_in() == (303, "/reading")
    assert "kim <small>reader</small>" in browser.page.get("/reading").text
    assert told(database) == [("signed_in", "operator:kim", "")]
    assert set(browser.page.cookies) == {"xrayq-session"}
    browser.page.cookies.clear()
    assert browser.page.get("/reading").status_code == 303


def test_two_tabs_sign_in_at_once_and_a_client_may_have_no_secret(site: Site, theirs: Provider) -> None:
    theirs.secret = ""
    browser = Browser(site, theirs, secret="")
    first, second = browser.begin(), browser.begin()
    assert browser.page.get(first).headers["location"] == "/reading"
    assert browser.page.get(second).headers["location"] == "/reading"


def changed(**values: Any) -> Forge:
    """Signed by the provider's own key; None: without that claim."""

    def forge(claims: dict[str, Any], key: RSAKey) -> str:
        left = {name: value for name, value in (claims | values).items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": str(key.kid)}, left, key)

    return forge


def by_key(other: RSAKey) -> Forge:
    return lambda claims, _: jwt.encode({"alg": "RS256", "kid": str(other.kid)}, claims, other)


def with_its_key(claims: dict[str, Any], key: RSAKey) -> str:
    other = ECKey.generate_key("P-256")
    return jwt.encode({"alg": "ES256", "jwk": other.as_dict(private=False)}, claims, other)


def by_secret(claims: dict[str, Any], key: RSAKey) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])


def by_nobody(claims: dict[str, Any], key: RSAKey) -> str:
    return jwt.encode({"alg": "none"}, claims, OctKey.import_key(b"x" * 32), registry=JWSRegistry(algorithms=["none"]))


def by_public_key(claims: dict[str, Any], key: RSAKey) -> str:
    """By hand: joserfc takes no public key for a secret."""
    parts = (json.dumps({"alg": "HS256", "kid": str(key.kid)}), json.dumps(claims))
    text = ".".join(urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    code = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{urlsafe_b64encode(code).decode().rstrip('=')}"


FORGED: dict[str, tuple[Forge, str]] = {
    "another key": (by_key(new_key("first")), "BadSignatureError"),
    "a key that was never published": (by_key(new_key("x")), "InvalidKeyIdError"),
    "a key that it brings along": (with_its_key, "InvalidKeyTypeError"),
    "no signature": (by_nobody, "UnsupportedAlgorithmError"),
    "the secret of both": (by_secret, "UnsupportedAlgorithmError"),
    "the public key as a secret": (by_public_key, "UnsupportedAlgorithmError"),
    "no token": (lambda *_: "a.b.c", "DecodeError"),
    "another audience": (changed(aud=["another client"]), "InvalidClaimError aud"),
    "also for another": (changed(aud=[CLIENT, "another client"], azp="another client"), "InvalidClaimError azp"),
    "another issuer": (changed(iss="https://elsewhere.example"), "InvalidClaimError iss"),
    "expired": (changed(exp=int(time.time()) - 120), "ExpiredTokenError exp"),
    "not yet": (changed(nbf=int(time.time()) + 3600), "InvalidClaimError nbf"),
    "no end": (changed(exp=None), "MissingClaimError exp"),
    "another sign-in": (changed(nonce="n" * 43), "InvalidClaimError nonce"),
    "no nonce": (changed(nonce=None), "MissingClaimError nonce"),
    "of another access token": (changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "InvalidClaimError at_hash"),
}
"""And why it is refused, as the log has it."""


def test_a_forged_token_signs_nobody_in(browser: Browser, database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    for why, (forge, reason) in FORGED.items():
        browser.theirs.forge = forge
        status, words = browser.sign_in()
        assert (status, "could not be verified" in words) == (403, True), why
        said = [str(vars(record)["reason"]) for record in caplog.records if record.msg == "an ID token was refused"]
        assert said[-1] == reason, why
    assert nobody_is_in(database)
    assert told(database) == [("sign_in_failed", "unknown", "bad_token")] * len(FORGED)


def test_an_answer_counts_once_in_the_browser_that_asked(site: Site, browser: Browser, database: Engine) -> None:
    back = browser.begin()
    assert Browser(site, browser.theirs).page.get(back).status_code == 403  # the browser of somebody else
    assert browser.page.get(back.replace("state=", "state=x")).status_code == 403
    assert browser.page.get(f"{back}&iss=https://elsewhere.example").status_code == 403
    back = browser.begin()
    begun = dict(browser.page.cookies)
    assert browser.page.get(back).status_code == 303
    browser.page.cookies.update(begun)
    assert "began too long ago" in browser.page.get(back).text
    # To another process of ours, which does not know that it was used, the provider gives no second token.
    other = Browser(site, browser.theirs)
    other.page.cookies.update(begun)
    assert "did not sign you in" in other.page.get(back).text
    for path in ("/sign-in/return", "/sign-in/return?state=%00&code=a", "/sign-in/return?state=" + "a" * 43):
        assert browser.page.get(path).status_code == 403


def test_who_is_refused_there_or_has_no_role_is_told_so(browser: Browser, database: Engine) -> None:
    refused = browser.begin().replace("code=", "error=access_denied&was=")
    assert "did not sign you in" in browser.page.get(refused).text
    for user, words in (
        ({"preferred_username": "kim"}, "None of your groups"),
        ({"preferred_username": "kim", "groups": ["others", 7, None]}, "None of your groups"),
        ({"preferred_username": "kim", "groups": {"readers": True}}, "None of your groups"),
        ({"groups": ["readers"]}, "gave no name"),
        ({"preferred_username": ["kim"], "groups": ["readers"]}, "gave no name"),
        ({"preferred_username": "relay", "groups": "readers"}, "gave no name"),
    ):
        browser.theirs.user = {"sub": "7"} | user
        status, said = browser.sign_in()
        assert (status, words in said) == (403, True), user
    assert nobody_is_in(database)
    browser.theirs.user = {"sub": "7", "preferred_username": "kim", "groups": "readers"}
    assert browser.sign_in() == (303, "/reading")


def test_new_keys_are_fetched_and_not_for_each_token(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, database: Engine
) -> None:
    assert browser.sign_in()[0] == 303
    browser.page.cookies.clear()
    browser.theirs.key = new_key("second")
    browser.theirs.published.append(browser.theirs.key)
    assert browser.sign_in()[0] == 403  # within the minute
    assert browser.theirs.keys_asked == 1
    monkeypatch.setattr(ours, "ANEW_SECONDS", 0.0)
    assert browser.sign_in()[0] == 303
    assert browser.theirs.keys_asked == 2


@pytest.mark.parametrize(
    "broken", ["/.well-known/openid-configuration", "/keys", "/token", "issuer", "address", "away"]
)
def test_a_provider_of_no_use_is_said_to_be_so(broken: str, browser: Browser, database: Engine) -> None:
    if broken == "/token":
        back = browser.begin()
        browser.theirs.broken = broken
        answer = browser.page.get(back)
    else:
        wrong = {
            "issuer": {"issuer": "https://elsewhere.example"},
            "address": {"token_endpoint": "ftp://a"},
            "away": {"jwks_uri": "http://127.0.0.1:1/"},
        }
        browser.theirs.broken = broken
        browser.theirs.metadata = wrong.get(broken, {})
        answer = browser.page.get("/sign-in")
    assert (answer.status_code, "does not answer as it should" in answer.text) == (503, True)
    assert told(database) == [("sign_in_failed", "unknown", "provider_silent")]
