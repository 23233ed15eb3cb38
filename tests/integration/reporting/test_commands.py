"""xrayq report and xrayq device, as typed."""

import json
import subprocess
from typing import Any

import pytest

from tests.integration.reporting.site import Site
from tests.pacs import pacs
from tests.services import typed


@pytest.fixture
def xrayq(site: Site, database_url: str) -> Any:
    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"database_url": database_url, "bundle": str(site.bundle.path), "results_to": ",".join(site.routes)}
        return typed(*words, cwd=site.folder, home=str(site.folder / "home"), **given | settings)

    return run


def test_what_waits_was_given_up_and_was_sent_is_listed(site: Site, xrayq: Any) -> None:
    assert xrayq("report", "list").stdout == "no results were sent, none wait\n"
    assert "names no destination" in xrayq("report", "list", results_to="").stdout
    there = site.destinations[0]
    lost = site.film("lost")
    site.later(hours=169)
    assert site.send() == ["no_connection"]
    assert f"{there.name}: nothing listens there" in xrayq("instance", "show", str(lost)).stdout
    sent = site.film("sent")
    with pacs(there.port) as found:
        found.statuses = [0xB000]
        assert site.send() == [""]
    waits = site.film("waits")
    listed = json.loads(xrayq("report", "list", "--json").stdout)
    assert [(one["instance"], one["state"], len(one["objects"])) for one in listed] == [
        (lost, "given_up", 0),
        (waits, "waits", 0),
        (sent, "sent", 2),
    ]
    assert [one["reason"] for one in listed] == ["no_connection", "", ""]
    assert listed[0]["attempts"] == 1
    assert {one["destination"] for one in listed} == {there.name}
    text = xrayq("report", "list").stdout
    for said in ("given up", "waits", "sent", there.name, "nothing listens there", site.bundle.digest[:12]):
        assert said in text
    shown = xrayq("report", "show", str(sent)).stdout
    assert "Comprehensive 3D SR Storage" in shown
    assert "warning 0xB000" in shown
    assert found.uids[0] in shown
    (one,) = json.loads(xrayq("report", "show", str(sent), "--json").stdout)
    assert [made["sop_instance_uid"] for made in one["objects"]] == found.uids
    assert "instance 99" in xrayq("report", "show", "99").stderr
    assert "Secret" not in text + shown


def test_resend_is_the_same_object_and_in_the_audit_trail(site: Site, xrayq: Any) -> None:
    film = site.film()
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
        done = xrayq("report", "resend", str(film))
        assert done.stdout == f"instance {film} goes to {site.destinations[0].name} again\n"
        assert site.send() == [""]
    assert found.uids[:2] == found.uids[2:]
    assert len(site.sent()) == 2
    assert site.state(film) == "reported"
    ((_, detail),) = site.events("result_resent")
    assert detail == {"bundle": site.bundle.digest, "destinations": [site.destinations[0].name]}


def test_resend_of_all_that_was_given_up(site: Site, xrayq: Any) -> None:
    first, refused = site.film("one"), site.film("two", state="ineligible")
    site.later(hours=169)
    site.send()
    assert len(site.lost()) == 2
    assert json.loads(xrayq("report", "resend", "--undelivered", "--json").stdout) == {
        "resent": [
            {"instance": key, "destinations": [site.destinations[0].name], "had": [], "replaced_by": None}
            for key in (first, refused)
        ],
        "left": [],
    }
    assert (site.lost(), len(site.waits())) == ([], 2)
    with pacs(site.destinations[0].port) as found:
        assert site.send() == ["", ""]
    assert len(found.kept) == 3
    assert xrayq("report", "resend", "--undelivered").stdout.startswith("nothing was given up")


def test_resend_takes_what_waits_for_a_removed_destination_to_the_new_one(site: Site, xrayq: Any) -> None:
    film = site.film()
    (waits,) = json.loads(xrayq("report", "list", "--json", results_to="*:NEW@127.0.0.1:104").stdout)
    assert (waits["state"], waits["reason"]) == ("waits", "not_configured")
    done = xrayq("report", "resend", "--undelivered", results_to="*:NEW@127.0.0.1:104")
    assert done.stdout == f"instance {film} goes to NEW@127.0.0.1:104\n", "it was never there"
    assert site.waits() == ["NEW@127.0.0.1:104"]


def test_an_outdated_result_does_not_go_out_after_the_newer_one(site: Site, xrayq: Any) -> None:
    before = site.film()
    site.later(hours=169)
    site.send()
    after = site.film(PatientID="PID-CORRECTED")
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
        done = xrayq("report", "resend", "--undelivered")
        assert done.stdout == f"instance {before} was replaced by {after}, whose result counts: nothing is sent\n"
        assert site.send() == []
    assert len(found.kept) == 2
    assert (site.lost(), site.waits()) == ([], [])


def test_what_cannot_be_sent_again_says_why(site: Site, xrayq: Any) -> None:
    waiting = site.film("one", end=False)
    film = site.film("two")
    ignored = site.film("three", calling_ae="CR2")
    for words, settings, code, said in (
        ((str(waiting),), {}, 4, "is received and has no result"),
        ((str(ignored),), {}, 4, "CR2 is silent: 'xrayq device accept CR2' first"),
        ((str(film),), {"results_to": "OTHER:PACS@127.0.0.1:104"}, 4, "results of CR1 go nowhere"),
        (("99",), {}, 3, "no instance 99"),
        ((), {}, 2, "--undelivered"),
        ((str(film), "--undelivered"), {}, 2, "--undelivered"),
    ):
        done = xrayq("report", "resend", *words, **settings)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_device_is_silent_until_it_is_accepted_with_a_reason(site: Site, xrayq: Any) -> None:
    site.film(calling_ae="CR2")
    devices = {one["calling_ae"]: one for one in json.loads(xrayq("device", "list", "--json").stdout)}
    assert {title: one["state"] for title, one in devices.items()} == {"CR1": "accepted", "CR2": "silent"}
    for words in (("CR2",), ("CR2", "--reason", "why")):
        assert xrayq("device", "accept", *words).returncode == 6, "no film has a label"
    done = xrayq("device", "accept", "CR2", "--without-evidence")
    assert (done.returncode, "--without-evidence needs --reason TEXT" in done.stderr) == (2, True)
    assert xrayq("device", "list", "--json").stdout.count("accepted") == 1
    done = xrayq("device", "accept", "CR2", "--without-evidence", "--reason", "trial on the test PACS")
    assert done.stdout.startswith("CR2 is accepted without evidence")
    assert done.stderr == ""
    assert xrayq("device", "accept", "CR2", "--without-evidence", "--reason", "again").returncode == 4
    assert "trial on the test PACS" in xrayq("device", "list").stdout
    shown = xrayq("device", "show", "CR2")
    assert "XRAYQ_RESULTS_TO sends them nowhere." in shown.stdout
    shown = json.loads(xrayq("device", "show", "CR1", "--json").stdout)
    assert (shown["state"], shown["destinations"]) == ("accepted", [site.destinations[0].name])
    done = xrayq("device", "silence", "CR2", "--reason", "new detector")
    assert done.stdout == "CR2 is silent: its films are scored, and no result of them is sent\n"
    assert site.events("device_accepted", "device_silenced")[1:] == [
        ("device_accepted", {"calling_ae": "CR2", "reason": "trial on the test PACS", "evidence": "none"}),
        ("device_silenced", {"calling_ae": "CR2", "reason": "new detector"}),
    ]


def test_an_ae_that_sent_nothing_may_be_a_typing_error(site: Site, xrayq: Any) -> None:
    done = xrayq("device", "accept", "CR11", "--without-evidence", "--reason", "soon")
    assert "no film of CR11 has come yet" in done.stderr
    for words in (("SEVENTEEN LETTERS", "why"), ("CR1", "two\nlines"), ("CR1", "x" * 201)):
        assert xrayq("device", "silence", words[0], "--reason", words[1]).returncode == 2


def test_the_message_of_a_result_can_be_looked_at_before_there_is_a_receiver(site: Site, xrayq: Any) -> None:
    def hl7(**settings: str) -> subprocess.CompletedProcess[str]:
        words = ("--json",) if settings.pop("as_json", "") else ()
        run: subprocess.CompletedProcess[str] = xrayq(
            "report", "hl7", str(film), *words, spool=str(site.spool.root), **settings
        )
        return run

    film = site.film(PatientName="Doe^Jane")
    shown = hl7().stdout.splitlines()
    assert shown[0].startswith("MSH|^~\\&|XRAYQ||RIS|")
    assert any(line.startswith("PID|1||") and "Doe^Jane" in line for line in shown)
    assert hl7(results_to="CR1:mllp://ris.test:2575").stdout.splitlines()[1:] == shown[1:], "another control ID alone"
    ours = site.folder / "ours.toml"
    ours.write_text('[fields]\nOBR-4 = "{site}"', encoding="utf-8")
    lines = json.loads(hl7(as_json="yes", hl7_template=str(ours), site="North").stdout)
    assert any(line.startswith("OBR|1||") and "|North|" in line for line in lines["segments"])
    ours.write_text('[fields]\nOBR-4 = "{sight}"', encoding="utf-8")
    failed = hl7(hl7_template=str(ours))
    assert failed.returncode == 2
    assert "OBR-4: {sight} is no placeholder here" in failed.stderr
    waiting = site.film("waits", end=False)
    assert xrayq("report", "hl7", str(waiting)).returncode == 4


def test_doctor_finds_a_template_and_a_flag_that_are_wrong(site: Site, xrayq: Any) -> None:
    def said(**settings: str) -> str:
        (check,) = [
            one for one in json.loads(xrayq("doctor", "--json", **settings).stdout) if one["check"] == "messages"
        ]
        return str(check["text"])

    assert said().startswith("HL7 template as shipped; flags: ")
    assert "names covid, which is no flag of" in said(urgent="covid")
    ours = site.folder / "ours.toml"
    ours.write_text('[fields]\nOBR-25 = "F"', encoding="utf-8")
    assert "OBR-25 is no field for a template" in said(hl7_template=str(ours))
