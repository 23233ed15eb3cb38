"""The conformance statement says what the code does: its tables beside the live ones."""

import re
import ssl
from pathlib import Path

import pytest
from pydicom.uid import UID

from dicom_gateway import asking, contexts, negotiation, part10, report_codes, requesting, scu, store_objects
from dicom_gateway.committing import WARNINGS
from dicom_gateway.contexts import (
    FILM_CLASSES,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from dicom_gateway.errors import (
    REFUSALS,
    REPORT_REFUSALS,
    REQUEST_REFUSALS,
    SUCCESS,
    UNRECOGNISED_OPERATION,
    AbortReason,
    in_hexadecimal,
)
from dicom_gateway.options import GatewayOptions
from dicom_gateway.querying import PENDING
from dicom_gateway.retrieve_answer import FAULT_OF
from dicom_gateway.retrieving import CANCEL_SECONDS, MOST_INSTANCES
from dicom_gateway.store_objects import StoreAnswer
from dicom_gateway.tls import SUITES, Profile
from tests import conformance
from worker.committing.report import ReportOptions
from worker.health.probes import ECHO_SECONDS
from worker.pacs import answering
from worker.pacs.options import AskOptions
from worker.reporting.adapters.adapter import SendOptions
from worker.reporting.confirm import MOST_AT_ONCE
from worker.settings import Settings

PAGE = Path(__file__).parents[2] / "dicom_gateway" / "CONFORMANCE.md"


def section(heading: str) -> str:
    """From a heading to the next of any level."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(heading: str) -> list[list[str]]:
    """Cells of each row of its tables."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def row(heading: str, first: str) -> list[str]:
    """The cells behind the first of a row."""
    (found,) = (cells[1:] for cells in rows(heading) if cells[0] == first)
    return found


def is_sop_class(text: str) -> bool:
    return UID(text).is_valid and UID(text).type == "SOP Class"


def test_the_overview_names_each_sop_class_with_its_roles() -> None:
    stated = {uid: (name, scu_, scp) for _, name, uid, scu_, scp in rows("Overview") if re.match(r"1\.2\.", uid)}
    films = {str(uid): ("no", "yes") for uid in FILM_CLASSES}
    results = {str(made[0].SOPClassUID) for made in (conformance.reports(), conformance.pictures())}
    both = {VERIFICATION, STORAGE_COMMITMENT}
    expected = films | dict.fromkeys(both, ("yes", "yes"))
    expected |= dict.fromkeys((STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET), ("yes", "no"))
    expected |= dict.fromkeys(results, ("yes", "as above"))
    assert {uid: roles for uid, (_, *roles) in stated.items()} == {uid: list(roles) for uid, roles in expected.items()}
    assert {uid: name for uid, (name, *_) in stated.items()} == {
        uid: re.sub(r" SOP Class$", "", UID(uid).name) for uid in expected
    }
    served = {name for name, value in vars(contexts).items() if isinstance(value, str) and value in expected}
    assert served == {name for name, value in vars(contexts).items() if isinstance(value, str) and is_sop_class(value)}


def test_what_holds_for_each_association() -> None:
    assert row("Associations", "Application context name") == [negotiation.APPLICATION_CONTEXT]
    assert row("Associations", "Implementation class UID") == [f"`{part10.IMPLEMENTATION_CLASS_UID}`"]
    assert row("Associations", "Implementation version name") == [f"`{part10.IMPLEMENTATION_VERSION}`"]


def test_limits_of_an_association_that_is_accepted() -> None:
    options, text = GatewayOptions(), section("Accepted")
    assert row("Accepted", "Maximum PDU announced")[0].startswith(f"{options.max_pdu:,} bytes")
    assert row("Accepted", "Associations")[0].startswith(f"{options.max_associations:,} open at a time")
    assert f"No whole A-ASSOCIATE-RQ within {options.association_timeout:g} s" in text
    assert f"Silence inside a PDU or a message for {options.network_timeout:g} s" in text
    assert f"Idle for {options.idle_timeout:g} s" in text
    assert f"taken as {negotiation.DEFAULT_MAX_PDU:,} bytes" in text


def test_rejections_and_aborts() -> None:
    stated = {cells[0] for cells in rows("Accepted")}
    assert {"/".join(map(str, one.value)) for one in negotiation.Reject} == {x for x in stated if re.match(r"\d/", x)}
    assert {str(one.value) for one in AbortReason} == {x for x in stated if x.isdigit()}


def test_associations_that_we_open() -> None:
    """PDU, seconds to connect, for the A-ASSOCIATE-AC, for an answer, and for all."""
    stated = [(who.partition(",")[0], what, *cells) for what, who, _, *cells in rows("Opened by us")[1:]]
    ours, send, report = f"{requesting.LARGEST_PDU:,} bytes", SendOptions(calling_ae="", hours=1), ReportOptions
    report_ = report(calling_ae="", hours=1)
    connect = f"{asking.CONNECT_SECONDS:g} s"
    assert asking.CONNECT_SECONDS == store_objects.CONNECT_SECONDS

    def seconds(*values: float) -> list[str]:
        return [f"{value:g} s" for value in values]

    doctor = float((scu.echo.__kwdefaults__ or {})["timeout"])
    asked = AskOptions(pacs=(), calling_ae="", zone=Settings().zone)
    *others, retrieve = (list(cells) for cells in stated)
    assert retrieve[:5] == ["relay", "Retrieve SCU", ours, connect, *seconds(asked.answer_seconds)]
    assert others == [
        ["gateway", "Verification SCU", ours, *seconds(*[ECHO_SECONDS] * 4)],
        ["`xrayq doctor`", "Verification SCU", ours, *seconds(*[doctor] * 4)],
        ["`xrayq doctor`", "Query SCU", ours, *seconds(*[answering.SECONDS] * 4)],
        [
            *("worker", "Storage SCU", f"{store_objects.LARGEST_PDU:,} bytes", connect),
            *seconds(send.answer_seconds, send.send_seconds),
            f"no further object after {send.send_seconds:g} s",
        ],
        [
            *("worker", "Storage Commitment and Query SCU", ours, connect),
            *seconds(send.answer_seconds, send.answer_seconds, send.send_seconds),
        ],
        [
            *("gateway", "Storage Commitment SCP", ours, connect),
            *seconds(report_.answer_seconds, report_.answer_seconds, report_.send_seconds),
        ],
        [
            *("relay", "Query SCU", ours, connect, *seconds(asked.answer_seconds, asked.answer_seconds)),
            f"`XRAYQ_ASK_SECONDS` ({Settings().ask_seconds:g} s), all PACSs together",
        ],
    ]
    assert f"up to {MOST_AT_ONCE} results at once" in section("Opened by us")


@pytest.mark.parametrize(
    ("heading", "refusals", "more"),
    [
        ("C-STORE statuses", REFUSALS, ()),
        ("Storage Commitment and Query SCU", REPORT_REFUSALS, (SUCCESS,)),
        ("Storage Commitment SCP", REQUEST_REFUSALS, (SUCCESS, UNRECOGNISED_OPERATION)),
    ],
)
def test_statuses_that_we_answer_with(heading: str, refusals: tuple[type, ...], more: tuple[int, ...]) -> None:
    """The table is the one whose head says what the status is of."""
    text = section(heading)
    start = text.index("| status |")
    listed = re.findall(r"^\| (0x[0-9A-F]{4}) \|", text[start:].split("\n\n")[0], re.MULTILINE)
    assert sorted(listed) == sorted(map(in_hexadecimal, {*(one.status for one in refusals), *more}))  # type: ignore[attr-defined]


def test_statuses_that_we_are_answered_with() -> None:
    stated = {first: what for first, what, *_ in rows("Storage SCU") if first.startswith("0x")}
    for first, what in stated.items():
        for text in re.findall(r"0x\w{4}", first):
            status = int(text.removeprefix("0x").replace("x", "0"), 16)
            answer = StoreAnswer(sop_instance_uid="1", status=status)
            assert answer.held == what.startswith("it is there"), text
    assert all(in_hexadecimal(status) in section("Storage Commitment SCP") for status in WARNINGS)


def test_statuses_of_a_retrieval() -> None:
    stated = {first for first, *_ in rows("Retrieve SCU") if first.startswith("0x")}
    known = {in_hexadecimal(status) for status in (SUCCESS, PENDING[0], *FAULT_OF)}
    assert stated == known | {"0xCxxx"}
    assert f"most {MOST_INSTANCES} films" in section("Retrieve SCU")
    assert f"{CANCEL_SECONDS:g} s for the last answer" in section("Retrieve SCU")
    assert len({offer.sop_class for offer in asking.FILM_OFFERS}) == 6
    assert len({offer.syntaxes for offer in asking.FILM_OFFERS}) == 16


@pytest.mark.parametrize("heading", conformance.TABLES)
def test_attributes_of_our_objects(heading: str) -> None:
    """`python -m tests.conformance` prints the tables anew."""
    iod, made = conformance.TABLES[heading]
    assert conformance.table(iod, made()) in section(heading)


def test_cipher_suites() -> None:
    def suites(profile: Profile) -> list[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(SUITES[profile])
        return [one["name"] for one in context.get_ciphers()]

    new, old, more = (
        re.findall(r"`([A-Z0-9_-]+)`", row("TLS", first)[0])
        for first in ("cipher suites of TLS 1.3", "cipher suites of TLS 1.2, by OpenSSL's names", "and of B.10")
    )
    assert suites(Profile.BCP195) == [*new, *old]
    assert suites(Profile.NON_DOWNGRADING) == [*new, *old, *more]


def test_defaults_of_the_configuration() -> None:
    for _, setting, default in rows("Configuration")[1:]:
        for name in re.findall(r"`XRAYQ_(\w+)`", setting)[-1:]:
            value = Settings.model_fields[name.lower()].default
            assert default.split()[0] == (f"{value:g}" if isinstance(value, float) else str(value or "none"))


def test_codes_of_our_own_scheme() -> None:
    own = {
        code.value
        for code in vars(report_codes).values()
        if isinstance(code, report_codes.Code) and code.scheme_designator == report_codes.SCHEME
    }
    assert own <= set(re.findall(r"`([A-Z_]+)`", section("Results: the structured report")))
