"""Settings in an evidence pack: all of them, and no secret."""

import json

import pytest

from worker.processes.evidence_options import without_secrets
from worker.settings import Settings


def test_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAYQ_CONFIG", "/dev/null")
    settings = Settings(
        database_url="postgresql://xrayq:HIDDEN@db.example:5433/xrayq?sslpassword=HIDDEN",
        redis_url="rediss://:HIDDEN@cache.example:6379/0",
        webhook_url="https://hooks.example/services/HIDDEN?token=HIDDEN",
        webhook_secret="HIDDEN-HIDDEN-HIDDEN",  # type: ignore[arg-type]
        smtp_host="mail.example",
        smtp_password="HIDDEN",  # type: ignore[arg-type]
        mail_from="xrayq@example.org",
        mail_to=("a@example.org",),
        results_to=("*:PACS@pacs.example:104",),
    )
    found = without_secrets(settings)
    assert set(found) == set(Settings.model_fields)
    assert "HIDDEN" not in json.dumps(found)
    assert found["database_url"] == "postgresql://db.example:5433"
    assert found["redis_url"] == "rediss://cache.example:6379"
    assert found["webhook_url"] == "https://hooks.example"
    assert (found["webhook_secret"], found["smtp_password"]) == ("set", "set")
    assert (found["results_to"], found["views"]) == (["*:PACS@pacs.example:104"], ["PA"])
    assert without_secrets(Settings())["smtp_password"] == "not set"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://xrayq:HID/DEN@db/xrayq",
        "postgresql://xrayq:HID?DEN@db/xrayq",
        "postgresql://xrayq:HID#DEN@db/xrayq",
        "postgresql://xrayq:DEN@HID@db/xrayq",
        "postgresql://db/xrayq?user=xrayq&password=HID@DEN",
        "postgresql://xrayq:DEN/12@HID",
    ],
)
def test_a_password_with_signs_of_an_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAYQ_CONFIG", "/dev/null")
    shown = without_secrets(Settings(database_url=url))["database_url"]
    assert "HID" not in shown
    assert "DEN" not in shown
