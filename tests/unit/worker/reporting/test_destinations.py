"""Which sender's results go where."""

import pytest

from worker.reporting.destinations import StoreDestination, routes_of
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
        ("CR1:PACS@pacs.test:70000", "entry 2 should end with a port of 1 to 65535"),
        ("CR1:SEVENTEEN LETTERS@pacs.test:104", "entry 2 has a destination that should be an AE title"),
        ("SEVENTEEN LETTERS:PACS@pacs.test:104", "entry 2 has a sender that should be an AE title"),
        ("CR1:PACS@pacs/x:104", "entry 2 should name a host"),
        ("*:PACS@pacs.test:104", "to one destination twice"),
    ],
)
def test_what_cannot_be_read_says_which_and_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        result_routes(("*:PACS@pacs.test:104", text))
