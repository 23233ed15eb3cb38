import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from worker.cli.web import sign_in_rules
from worker.processes import alarm_options
from worker.processes.ask_options import ask_options
from worker.secret_files import SECRETS, variable_of
from worker.setting_values import webhook_key
from worker.settings import CONFIG_VARIABLE, Settings, cores

NAMES = sorted(Settings.model_fields)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No XRAYQ_ variable and no xrayq.toml from outside."""
    import os

    for name in os.environ:
        if name.startswith("XRAYQ_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_says_what_it_means(name: str) -> None:
    field = Settings.model_fields[name]
    assert len(field.description or "") > 10
    assert (field.description or "").endswith(".")
    assert not field.is_required()


def test_defaults_are_valid() -> None:
    settings = Settings()
    assert settings.home == Path("~/.xrayq").expanduser()
    assert settings.database == f"sqlite:///{settings.home / 'xrayq.db'}"
    assert settings.spool_folder == settings.home / "spool"
    assert settings.decoders == cores() >= 1
    assert settings.inferences >= 2
    assert Settings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "104", 104),
        ("HOST", "::", "::"),
        ("REQUIRE_CALLED_AE", "true", True),
        ("CALLING_AES", "PACS1,PACS2", ("PACS1", "PACS2")),
        ("CALLING_AES", " PACS1 , ,PACS 2 ", ("PACS1", "PACS 2")),
        ("CALLING_AES", "", ()),
        ("MODALITIES", "", ()),
        ("COMMITMENT_TO", "CR1@a:104, MR 1@[::1]:11112", ("CR1@a:104", "MR 1@[::1]:11112")),
        ("RESULTS_TO", "CR1:PACS@a:104, *:RIS 1@[::1]:11112", ("CR1:PACS@a:104", "*:RIS 1@[::1]:11112")),
        ("RESULTS_NOT_ANALYSED", "no", False),
        ("VIEWS", "PA,AP", ("PA", "AP")),
        ("VIEWS", "PA,PA ERECT, pa", ("PA",)),
        ("VIEWS", "postero-anterior,LL", ("PA", "LATERAL")),
        ("BODY_PARTS", "CHEST", ("CHEST",)),
        ("MIN_AGE", "0", 0.0),
        ("MARK", "view_missing, clipped", ("view_missing", "clipped")),
        ("SPOOL", "/srv/films", Path("/srv/films")),
        ("BUNDLE", "~/b", Path("~/b").expanduser()),
        ("LOG_FORMAT", "json", "json"),
        ("DECODE_PROCESSES", "3", 3),
    ],
)
def test_environment(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any) -> None:
    monkeypatch.setenv(f"XRAYQ_{name}", text)
    assert getattr(Settings(), name.lower()) == value


def test_folders_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XRAYQ_SPOOL", "films")
    assert Settings().spool_folder == tmp_path / "films"


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    path = tmp_path / ("xrayq.toml" if place == "here" else "other/mine.toml")
    path.parent.mkdir(exist_ok=True)
    path.write_text('port = 1104\nviews = ["PA", "AP"]\nmodalities = "CR, DX"\nspool = "/srv/spool"\n')
    if place == "elsewhere":
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    settings = Settings()
    assert (settings.port, settings.views, settings.modalities) == (1104, ("PA", "AP"), ("CR", "DX"))
    assert settings.spool_folder == Path("/srv/spool")


def test_the_configuration_variable_replaces_the_file_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "xrayq.toml").write_text("port = 1\n")
    monkeypatch.setenv(CONFIG_VARIABLE, "/dev/null")
    assert Settings().port == 11112


def test_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "xrayq.toml").write_text("port = 1\nbatch_size = 1\nmax_attempts = 1\n")
    monkeypatch.setenv("XRAYQ_PORT", "2")
    monkeypatch.setenv("XRAYQ_BATCH_SIZE", "2")
    settings = Settings(port=3)
    assert (settings.port, settings.batch_size, settings.max_attempts, settings.max_in_flight) == (3, 2, 1, 128)


BAD: list[tuple[str, Any]] = [
    ("port", -1),
    ("port", 65536),
    ("port", "garbage"),
    ("ae_title", ""),
    ("ae_title", "SEVENTEEN LETTERS"),
    ("batch_size", 0),
    ("batch_size", 257),
    ("max_attempts", 0),
    ("lease_seconds", 0),
    ("lease_seconds", "nan"),
    ("decode_memory_mib", 511),
    ("min_age", -1),
    ("max_megapixels", 0),
    ("log_format", "xml"),
    ("log_level", "TRACE"),
    ("require_called_ae", "maybe"),
    ("prot", 104),
    ("mark", "view_missing, no_such_reason"),
    ("views", "PA, CHEST"),
    ("views", "PATIENT"),
    ("views", "PA, UNKNOWN"),
    ("report_time", "24:00"),
    ("report_time", "1:00"),
    ("report_time", "01:00\n"),
    ("results_hours", 0),
    ("silence_on", "drift, backlog"),
    ("acceptance_margin", "0"),
    ("commitment_to", "CR1:PACS@pacs.test:104"),
    ("commitment_to", "pacs.test:104"),
    ("commitment_to", "CR1@cr1.test:104, CR1@other.test:104"),
    ("commitment_to", "mllp://a@ris.test:2575"),
    ("commitment_to", "mailto:a@hospital.test"),
    ("results_to", "PACS@pacs.test:104"),
    ("results_to", "CR1:PACS@pacs.test"),
    ("results_to", "CR1:PACS@pacs.test:65536"),
    ("results_to", "CR1:PACS@pacs.test:-1"),
    ("results_to", "CR1:PACS@:104"),
    ("results_to", "CR1:@pacs.test:104"),
    ("results_to", "CR1:tls:@pacs.test:104"),
    ("results_to", "SEVENTEEN LETTERS:PACS@pacs.test:104"),
    ("results_to", "CR1:PA:CS@pacs.test:104"),
    ("results_to", "CR1:PACS@fe80::1:104"),
    ("results_to", "CR1:PACS@pacs test:104"),
    ("results_to", "*:PACS@pacs.test:104, *:PACS@pacs.test:104"),
    ("results_to", f"*:PACS@{'a' * 120}:104"),
    ("results_to", "*:mllp://ris.test"),
    ("results_to", "*:mllp://ris test:2575"),
    ("results_to", f"*:mllp://{'a' * 120}:2575"),
    ("results_to", "*:mllp://ris.test:2575, *:mllp:ris.test:2575"),
    ("results_to", "*:https://"),
    ("results_to", f"*:https://{'a' * 120}/flags"),
    ("results_to", "*:mailto:"),
    ("results_to", "*:mailto:nobody"),
    ("results_to", f"*:mailto:{'a' * 120}@hospital.test"),
    ("hl7_character_set", "ISO_IR 100"),
    ("quiet_hours", "20:00"),
    ("quiet_hours", "24:00-07:00"),
    ("quiet_hours", "07:00-07:00"),
    ("link", "https://reading.test/{study}"),
    ("link", "https://reading.test/"),
    ("link", "reading.test/{instance}"),
    ("site", "Here\x1b[2J"),
    ("site", "Here\nBcc: a@b.test"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: value})
    assert [fault["loc"] for fault in caught.value.errors()] == [(name,)]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


MAIL = {"SMTP_HOST": "mail.test", "MAIL_FROM": "xrayq@hospital.test", "MAIL_TO": "a@hospital.test, b@hospital.test"}
WEBHOOK = {"WEBHOOK_URL": "https://hook.test/x", "WEBHOOK_SECRET": "0123456789abcdef"}


def test_whole_channels_of_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (MAIL | WEBHOOK).items():
        monkeypatch.setenv(f"XRAYQ_{name}", text)
    assert Settings().mail_to == ("a@hospital.test", "b@hospital.test")
    assert "0123456789abcdef" not in repr(Settings())


def test_flags_have_the_mail_server_and_the_secret_of_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {
        "RESULTS_TO": "*:mailto:chest@hospital.test, *:https://hook.test/flags",
        "WEBHOOK_SECRET": "0123456789abcdef",
    }
    for name, text in (MAIL | flags | {"MAIL_TO": ""}).items():
        monkeypatch.setenv(f"XRAYQ_{name}", text)
    assert len(Settings().results_to) == 2
    assert set(alarm_options.channels(Settings())) == set(), "alarms go nowhere"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (MAIL | {"MAIL_FROM": ""}, "XRAYQ_SMTP_HOST needs XRAYQ_MAIL_FROM and XRAYQ_MAIL_TO"),
        (MAIL | {"MAIL_TO": ""}, "XRAYQ_SMTP_HOST needs XRAYQ_MAIL_FROM and XRAYQ_MAIL_TO"),
        (MAIL | {"SMTP_HOST": ""}, "XRAYQ_MAIL_TO needs XRAYQ_SMTP_HOST"),
        (MAIL | {"MAIL_FROM": "short"}, "should be mail addresses"),
        (MAIL | {"MAIL_TO": "a@hospital.test,short"}, "should be mail addresses"),
        (MAIL | {"SMTP_USER": "x", "SMTP_SECURITY": "none"}, "a password is not sent in plain text"),
        (WEBHOOK | {"WEBHOOK_SECRET": "short"}, "XRAYQ_WEBHOOK_URL needs XRAYQ_WEBHOOK_SECRET, 16 characters or more"),
        (WEBHOOK | {"WEBHOOK_SECRET": "whsec_short!"}, "XRAYQ_WEBHOOK_SECRET, with base64 after whsec_"),
        (WEBHOOK | {"WEBHOOK_SECRET": "whsec_shorts"}, "24 bytes or more in base64 after whsec_"),
        (WEBHOOK | {"WEBHOOK_URL": ""}, "XRAYQ_WEBHOOK_SECRET needs XRAYQ_WEBHOOK_URL"),
        (WEBHOOK | {"WEBHOOK_URL": "file:///etc/passwd"}, "should be http://... or https://..."),
        (WEBHOOK | {"WEBHOOK_URL": "https://"}, "should be http://... or https://..."),
        ({"RESULTS_TO": "*:https://hook.test/x"}, "A webhook in XRAYQ_RESULTS_TO needs XRAYQ_WEBHOOK_SECRET"),
        ({"RESULTS_TO": "*:mailto:a@hospital.test"}, "mailto: in XRAYQ_RESULTS_TO needs XRAYQ_SMTP_HOST"),
    ],
)
def test_half_a_channel_is_refused(given: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the message does not show what was given: it may be a password."""
    for name, text in given.items():
        monkeypatch.setenv(f"XRAYQ_{name}", text)
    with pytest.raises(ValidationError, match=fault) as refused:
        Settings()
    assert "short" not in "; ".join(one["msg"] for one in refused.value.errors())


def test_a_webhook_secret_is_a_coded_key_or_plain_text() -> None:
    """Plain text of earlier versions stays the key, byte for byte. Some tools leave out the base64's `=`."""
    coded = b64encode(bytes(range(25))).decode()
    assert webhook_key(f"whsec_{coded}") == webhook_key(f"whsec_{coded.rstrip('=')}") == bytes(range(25))
    assert webhook_key("0123456789abcdéf") == "0123456789abcdéf".encode()


@pytest.mark.parametrize(
    "ports",
    [
        {"relay_http_port": 9110},
        {"worker_http_port": 9111},
        {"port": 9112},
    ],
)
def test_two_processes_do_not_share_a_port(ports: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="are both"):
        Settings(**ports)  # type: ignore[arg-type]
    none = dict.fromkeys(("port", "gateway_http_port", "relay_http_port", "worker_http_port"), 0)
    assert Settings(**none, tls_port=2762, **TLS).port == 0  # type: ignore[arg-type]


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for name in SECRETS:
        text = {"database_url": "sqlite:////x.db", "redis_url": "redis://host", "stow_tokens": "CR1:0123456789abcdef"}
        secret.write_text(text.get(name, "0123456789abcdef") + "\n")
        with monkeypatch.context() as patch:
            patch.setenv(variable_of(name), str(secret))
            patch.setenv(f"XRAYQ_{name.upper()}", "")  # as Compose has a variable that nobody set
            if name == "webhook_secret":
                patch.setenv("XRAYQ_WEBHOOK_URL", "https://hook.example")
            value = getattr(Settings(), name)
            assert (value if isinstance(value, str) else value.get_secret_value()) == secret.read_text().strip()
    assert set(SECRETS) >= {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read .*: No such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "it is no text"),
        (b"x" * 70_000, "longer than 64 KiB"),
        (b"both", "are both set"),
    ],
)
def test_a_file_of_a_secret_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("XRAYQ_HTTP_TOKEN_FILE", str(tmp_path / "secret"))
    if content == b"both":
        monkeypatch.setenv("XRAYQ_HTTP_TOKEN", "another")
    with pytest.raises(ValueError, match=f"XRAYQ_HTTP_TOKEN_FILE.*{words}"):
        Settings()


TLS = {"tls_certificate": "/c", "tls_key": "/k", "tls_authorities": "/a"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stow": "127.0.0.1"}, "should be like 127.0.0.1:8042"),
        ({"stow": "0.0.0.0:8443"}, "everybody could push"),
        ({"stow": "tls:0.0.0.0:8443", "tls_clients": "any"} | TLS, "everybody could push"),
        ({"stow": "tls:127.0.0.1:8443"}, "needs XRAYQ_TLS_CERTIFICATE"),
        ({"stow": "tls:127.0.0.1:8443"} | TLS | {"tls_authorities": None}, "needs XRAYQ_TLS_AUTHORITIES"),
        ({"stow": "localhost:9110"}, "XRAYQ_GATEWAY_HTTP_PORT and XRAYQ_STOW are both 9110"),
        ({"stow": "localhost:8042", "web": "localhost:8042"}, "XRAYQ_STOW and XRAYQ_WEB are both 8042"),
        ({"stow_tokens": "CR1"}, "XRAYQ_STOW_TOKENS entry 1 should be AE_TITLE:TOKEN"),
        ({"stow_tokens": "CR1:short"}, "16 characters or more"),
        ({"stow_tokens": "CR1:0123456789abcdef,CR2:0123456789abcdef"}, "one token twice"),
        ({"stow_tokens": "SEVENTEEN LETTERS:0123456789abcdef"}, "AE title"),
        ({"http_token": "with spaces in the middle"}, "XRAYQ_HTTP_TOKEN should have"),
    ],
)
def test_half_of_a_push_by_web_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as failed:
        Settings(**given)
    assert "0123456789abcdef" not in failed.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "given",
    [
        {"stow": "127.0.0.1:8042"},
        {"stow": "[::1]:8042"},
        {"stow": "0.0.0.0:8042", "stow_tokens": "CR1:0123456789abcdef\nCR1:another-token-of-it\n"},
        {"stow": "tls:0.0.0.0:8443"} | TLS,
    ],
)
def test_a_whole_push_by_web(given: dict[str, Any]) -> None:
    assert Settings(**given).stow == given["stow"]


OPEN = {"web": "tls:0.0.0.0:443", "web_hosts": "xrayq.example"} | TLS
OIDC = {
    "web_sign_in": "oidc",
    "web_oidc_issuer": "https://a.example",
    "web_oidc_client_id": "x",
    "web_roles": "*:viewer",
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"web": "0.0.0.0:9120"}, "needs XRAYQ_WEB_SIGN_IN"),
        (OPEN, "needs XRAYQ_WEB_SIGN_IN"),
        ({"web": "0.0.0.0:9120", "web_sign_in": "local", "web_hosts": "a"}, "in plain text"),
        (OPEN | {"web_sign_in": "local", "web_hosts": ""}, "needs XRAYQ_WEB_HOSTS"),
        (OPEN | {"web_sign_in": "local", "web_hosts": "https://a"}, "entry 1 should be the name of a host"),
        ({"web": "tls:127.0.0.1:9120"}, "needs XRAYQ_TLS_CERTIFICATE"),
        ({"web_proxy": "10.0.0.4"}, "XRAYQ_WEB_PROXY needs XRAYQ_WEB_SIGN_IN"),
        ({"web_proxy": "10.0.0.4/8", "web_sign_in": "local"}, "entry 1 should be an IP address"),
        ({"web_sign_in": "proxy", "web_roles": "*:viewer"}, "needs XRAYQ_WEB_PROXY"),
        ({"web_sign_in": "proxy", "web_proxy": "10.0.0.4"}, "needs XRAYQ_WEB_ROLES"),
        ({"web_sign_in": "proxy", "web_proxy": "10.0.0.4", "web_roles": "a:chief"}, "GROUP:ROLE"),
        (OIDC | {"web_oidc_issuer": ""}, "needs XRAYQ_WEB_OIDC_ISSUER"),
        (OIDC | {"web_oidc_issuer": "http://login.example"}, "should be https"),
        (OIDC | {"web_roles": ""}, "needs XRAYQ_WEB_ROLES"),
    ],
)
def test_a_page_that_everybody_or_nobody_could_open_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**given)


@pytest.mark.parametrize(
    "given",
    [
        OPEN | {"web_sign_in": "local"},
        OPEN | OIDC,
        OIDC | {"web_oidc_issuer": "http://127.0.0.1:8080"},
        {
            "web": "10.0.0.5:9120",
            "web_hosts": "a",
            "web_sign_in": "proxy",
            "web_proxy": "10.0.0.4",
            "web_roles": "a:b:admin",
        },
        {"web": "", "web_sign_in": "proxy"},
    ],
)
def test_a_page_for_the_network(given: dict[str, Any]) -> None:
    assert Settings(**given).web_sign_in == given["web_sign_in"]


def test_who_signed_in_before_is_not_taken_for_who_may_now() -> None:
    roles, issuer = {"web_roles": "*:reader"}, {"web_oidc_issuer": "https://b.example"}
    given = ({"web_sign_in": "local"}, OIDC, OIDC | roles, OIDC | issuer)
    assert len({sign_in_rules(Settings(**one)) for one in given}) == len(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("javascript:alert('{study}')", "should be https"),
        ("https://ohif.example/viewer", "with {study} in it"),
        ("https://ohif.example/{study}/{patient}", "takes {study} alone"),
        ("https://ohif.example/a viewer?{study}", "no character that a URL cannot have"),
    ],
)
def test_a_viewer_is_a_url_with_a_study(template: str, words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        Settings(web_viewer=template)
    assert Settings(web_viewer="weasis://?study={study}").web_viewer == "weasis://?study={study}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": 0}, "XRAYQ_PORT 0 needs XRAYQ_TLS_PORT"),
        ({"results_to": "*:tls:mllp://ris.test:2576"}, "XRAYQ_RESULTS_TO tls: needs XRAYQ_TLS_AUTHORITIES"),
    ],
)
def test_half_of_tls_is_no_tls(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**given)
    assert Settings(**given, **TLS, tls_port=2762)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("PACS@pacs.test", "entry 1 should be like PACS@pacs.example:104"),
        ("PACS@pacs.test:104,mllp://pacs.test:2575", "entry 2 should be like PACS@pacs.example:104"),
        ("PACS@pacs.test:104,PACS@other.test:104", "has an AE title twice"),
        ("tls:PACS@pacs.test:2762", "XRAYQ_ASK_PACS tls: needs XRAYQ_TLS_AUTHORITIES"),
    ],
)
def test_a_pacs_that_cannot_be_asked_is_refused(asked: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAYQ_ASK_PACS", asked)
    with pytest.raises(ValidationError, match=fault):
        Settings()


def test_pacs_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XRAYQ_ASK_PACS", "PACS@pacs.test:104, tls:OTHER@[2001:db8::1]:2762")
    monkeypatch.setenv("XRAYQ_TLS_AUTHORITIES", str(tmp_path / "authorities.pem"))
    options = ask_options(Settings())
    assert options
    assert options.tls
    assert [(one.called_ae, one.host, one.port, one.tls) for one in options.pacs] == [
        ("PACS", "pacs.test", 104, False),
        ("OTHER", "2001:db8::1", 2762, True),
    ]
