"""Which sender's results go where."""

import re
from datetime import UTC, datetime

import pytest

from worker.reporting.destinations import Hl7Destination, StoreDestination, routes_of
from worker.setting_values import result_routes

PACS = StoreDestination(called_ae="PACS", host="pacs.test", port=104)
RIS = StoreDestination(called_ae="RIS 1", host="::1", port=11112)


def test_a_sender_with_entries_has_those_alone() -> None:
    routes = routes_of(("CR1:PACS@pacs.test:104", "CR1:RIS 1@[::1]:11112", "*:PACS@pacs.test:104"))
    assert routes.of("CR1") == (PACS, RIS)
    assert routes.of("DX2") == (PACS,)
    assert set(routes.every) == {PACS, RIS}
    assert [destination.name for destination in (PACS, RIS)] == ["PACS@pacs.test:104", "RIS 1@[::1]:11112"]


def test_without_a_star_other_senders_results_go_nowhere() -> None:
    assert routes_of(("CR1:PACS@pacs.test:104",)).of("DX2") == ()
    assert routes_of(()).every == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CR1=PACS@pacs.test:104", "entry 2 should be like CR1:PACS@pacs.example:104"),
        ("CR1:PACS@pacs.test", "entry 2 should end with a port, as in host:104"),
        ("*:mllp://ris.test", "entry 2 should end with a port, as in host:104"),
        ("*:tls:mllp://ris.test", "entry 2 should end with a port, as in host:104"),
        ("*:tls:@pacs.test:104", "entry 2 has a destination that should be an AE title"),
        ("CR1:PACS@pacs.test:70000", "entry 2 should end with a port of 1 to 65535"),
        ("CR1:SEVENTEEN LETTERS@pacs.test:104", "entry 2 has a destination that should be an AE title"),
        ("SEVENTEEN LETTERS:PACS@pacs.test:104", "entry 2 has a sender that should be an AE title"),
        ("CR1:PACS@pacs/x:104", "entry 2 should name a host"),
        ("*:mllp://ris..hospital.test:2575", "entry 2 should name a host: 1 to 63 characters between its dots"),
        (f"CR1:PACS@{'p' * 64}.test:104", "entry 2 should name a host: 1 to 63 characters between its dots"),
        ("*:PACS@pacs.test:104", "to one destination twice"),
    ],
)
def test_what_cannot_be_read_says_which_and_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        result_routes(("*:PACS@pacs.test:104", text))


def test_the_address_says_how_results_go_there() -> None:
    entries = (
        "*:mllp://[::1]:2575",
        "*:tls:MLLP://[::1]:2576",
        "*:HTTPS://hook.test/x?key=secret",
        "*:mailto:chest@hospital.test",
        "*:PACS@pacs.test:104",
    )
    ris, secure, webhook, mail, pacs = routes_of(entries).every
    assert (ris, pacs) == (Hl7Destination(host="::1", port=2575), PACS)
    assert secure == Hl7Destination(host="::1", port=2576, tls=True)
    assert [ris.name, secure.name, mail.name] == [
        "mllp://[::1]:2575",
        "tls:mllp://[::1]:2576",
        "mailto:chest@hospital.test",
    ]
    assert re.fullmatch(r"https://hook\.test#[0-9a-f]{8}", webhook.name)


def test_only_webhook_and_mail_go_by_flags() -> None:
    entries = (
        "*:mllp://ris.test:2575",
        "*:https://hook.test/x",
        "*:mailto:chest@hospital.test",
        "*:PACS@pacs.test:104",
    )
    now = datetime(2026, 11, 28, tzinfo=UTC)
    found = routes_of(entries).every
    assert [destination.due([], now) for destination in found] == [now, None, None, now]
    assert [destination.due(["pneumonia"], now) for destination in found] == [now] * 4
