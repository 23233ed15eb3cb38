"""The message to a RIS, read back by two libraries that know HL7 and not us."""

import re
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7apy.parser import parse_message
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicom_gateway.result import FilmResult, FindingResult, Found, NotAnalysed
from tests.unit.gateway.reported import FINDINGS, film_without_pixels, not_analysed, result_of
from worker.errors import ConfigurationError
from worker.reporting.hl7.message import MessageOptions, control_id, oru
from worker.reporting.hl7.template import read_template
from worker.reporting.hl7.values import OF_MESSAGE, OF_OBSERVATION, of_message

RIS = "mllp://ris.test:2575"
OPTIONS = MessageOptions(template=read_template(), site="North & South", urgent=frozenset({"covid19"}))


def made(result: FilmResult, options: MessageOptions = OPTIONS, *, corrects: bool = False) -> hl7.Message:
    """Checked against the structure of ORU_R01 in HL7 2.5.1, then parsed."""
    message = oru(result, options, destination=RIS, corrects=corrects)
    text = message.decode("utf-8" if options.character_set == "UNICODE UTF-8" else "latin-1")
    parse_message(text).validate()
    return hl7.parse(text)


def field(message: hl7.Message, segment: str, number: int, component: int = 1, *, nth: int = 1, rep: int = 1) -> str:
    return str(message.extract_field(segment, nth, number, rep, component, 1))


def observations(message: hl7.Message) -> dict[str, list[hl7.Segment]]:
    """By the code of OBX-3."""
    found: dict[str, list[hl7.Segment]] = {}
    for segment in message.segments("OBX"):
        found.setdefault(str(segment[3][0][0]), []).append(segment)
    return found


def request(**attributes: str) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def test_who_it_is_about_and_which_order() -> None:
    film = film_without_pixels(
        PatientID="4711", IssuerOfPatientID="HOSP", PatientBirthDate="19700131", PatientSex="F", AccessionNumber="A1",
        ReferringPhysicianName="House^Gregory", StudyDate="20261128", StudyTime="120102.5",
        TimezoneOffsetFromUTC="+0100", PatientName="Müller^Anna^Maria^Dr^jun",
    )  # fmt: skip
    film.SpecificCharacterSet = "ISO_IR 100"
    for keyword in ("AcquisitionDate", "ContentDate", "SeriesDate"):
        if keyword in film:
            delattr(film, keyword)
    code = request(CodeValue="CXR2", CodingSchemeDesignator="L", CodeMeaning="Chest, two views")
    asked = request(PlacerOrderNumberImagingServiceRequest="P7", RequestedProcedureID="R1")
    asked.RequestedProcedureCodeSequence = [code]
    film.RequestAttributesSequence = [asked]
    message = made(result_of(film))
    assert [field(message, "PID", 3), field(message, "PID", 3, 4), field(message, "PID", 3, 5)] == [
        "4711",
        "HOSP",
        "PI",
    ]
    assert str(message.segment("PID")[5]) == "Müller^Anna^Maria^jun^Dr^^L", "DICOM has the prefix before the suffix"
    assert (str(message.segment("PID")[7]), str(message.segment("PID")[8])) == ("19700131", "F")
    assert [str(message.segment("ORC")[number]) for number in (1, 2, 3)] == ["RE", "P7", "A1"]
    assert [str(message.segment("OBR")[number]) for number in (2, 3, 18)] == ["P7", "A1", "A1"]
    assert str(message.segment("OBR")[16]) == "^House^Gregory"
    assert str(message.segment("OBR")[7]) == "20261128120102+0100"
    assert str(message.segment("OBR")[22]) == "20261128141415+0100", "the film's zone"
    assert str(message.segment("OBR")[44]) == "CXR2^Chest, two views^L"
    assert field(message, "OBR", 4) == "XRAYQ", "not the code under which the radiologist reports"
    assert "Not for diagnosis" in str(message.segment("NTE")[3])


@pytest.mark.parametrize("result", [result_of(prediction_set=("covid19",)), not_analysed()])
def test_each_result_says_that_it_is_not_for_diagnosis(result: FilmResult) -> None:
    """Many a RIS shows an OBX with its own note, and not the note of the order."""
    behind = str(made(result)).split("\rOBX|")[1:]
    results = [said for said in behind if said.split("|")[10] != "O"]
    assert len(results) == (5 if result.findings else 2)
    assert all(said.count("Not for diagnosis") == 1 for said in results), results


def test_what_was_found() -> None:
    message = made(result_of(prediction_set=("pneumonia", "covid19")))
    found = observations(message)
    (raised,), (down,), (without,) = found["P_PNEUMONIA"], found["P_COVID19"], found["P_NORMAL"]
    assert [str(raised[number]) for number in (2, 5, 7, 8, 11)] == ["NM", "87.3215", "<50", "A", "P"]
    assert str(raised[6]) == "%^percent^UCUM"
    assert [str(down[number]) for number in (5, 7, 8)] == ["0.4106", "<30", ""]
    assert [str(without[number]) for number in (5, 7, 8)] == ["12.2678", "", ""], "no flag, so no range"
    sets = [str(segment[5]) for segment in found["PREDICTION_SET"]]
    assert sets == ["233604007^Pneumonia^SCT~840539006^COVID-19^SCT"]
    notes = [str(segment[3]) for segment in message.segments("NTE")]
    assert any(note.startswith("Unsure: the prediction set is not one finding: Pneumonia, COVID-19") for note in notes)
    assert any("operating point 50.0 %, chosen for specificity at least 0.90; flag raised" in note for note in notes)
    assert str(found["113014"][0][5]) == str(result_of().film.StudyInstanceUID)
    assert [str(found[code][0][11]) for code in ("113014", "SOP_INSTANCE_UID")] == ["O", "O"], "these are no results"
    assert field(message, "OBR", 25) == "P"
    assert len({str(segment[4]) for segment in message.segments("OBX")}) == 1


@pytest.mark.parametrize(("names", "priority"), [(("pneumonia",), "R"), (("covid19",), "S"), ((), "R")])
def test_an_urgent_flag_is_stat(names: tuple[str, ...], priority: str) -> None:
    findings = tuple(replace(found, flag=found.name in names) for found in FINDINGS)
    assert field(made(result_of(findings=findings)), "TQ1", 9) == priority


def test_a_film_that_was_not_analysed_says_so() -> None:
    message = made(not_analysed())
    found = observations(message)
    assert set(found) == {"113014", "SOP_INSTANCE_UID", "121111", "NOT_ANALYSED"}
    assert str(found["NOT_ANALYSED"][0][5]) == "not_pa^not a PA view^99XRAYQ"
    assert "No finding is said to be present or absent" in str(found["121111"][0][5])
    assert field(message, "OBR", 25) == "P", "X would cancel the order"


def test_a_note_is_told() -> None:
    note = NotAnalysed(code="not_pa", meaning="not a PA view")
    (said,) = observations(made(result_of(notes=(note,))))["NOTE"]
    assert str(said[5]) == "not_pa^not a PA view^99XRAYQ"


def test_a_correction_says_so_and_has_the_number_of_the_film_that_it_replaces() -> None:
    first, second = made(result_of()), made(result_of(revision=2), corrects=True)
    assert field(second, "OBR", 25) == "C"
    assert {str(segment[11]) for segment in second.segments("OBX")} == {"O", "C"}
    assert [str(of.segments("OBX")[0][4]) for of in (first, second)] == [str(first.segments("OBX")[0][4])] * 2
    assert field(first, "MSH", 10) != field(second, "MSH", 10)


NOTED = NotAnalysed(code="not_pa", meaning="not a PA view")
SCORED = Found(findings=FINDINGS, prediction_set=("pneumonia",), notes=(NOTED, replace(NOTED, code="rotated")))


@pytest.mark.parametrize(
    ("result", "before", "deleted"),
    [
        (not_analysed(), SCORED, ["P_NORMAL", "P_PNEUMONIA", "P_COVID19", "PREDICTION_SET", "NOTE"]),
        (result_of(findings=FINDINGS[1:], prediction_set=None), SCORED, ["P_NORMAL", "PREDICTION_SET", "NOTE"]),
        (result_of(), Found(not_analysed=NOTED), ["NOT_ANALYSED"]),
        (result_of(notes=(NOTED,)), SCORED, []),
    ],
)
def test_a_correction_deletes_what_it_does_not_say_again(result: FilmResult, before: Found, deleted: list[str]) -> None:
    message = made(replace(result, revision=2, told_before=(before,)), corrects=True)
    sent = list(message.segments("OBX"))
    gone = [segment for segment in sent if str(segment[11]) == "D"]
    assert [str(segment[3][0][0]) for segment in gone] == deleted
    assert gone == sent[len(sent) - len(gone) :]
    assert len({str(segment[4]) for segment in sent}) == 1, "the key is that of the message before"
    assert all("".join(str(segment[number]) for number in range(5, 11)) == "" for segment in gone)


def test_what_is_deleted_follows_the_template(tmp_path: Path) -> None:
    ours = template(tmp_path, """
        observations = ["summary", "not_analysed", "note"]
        [observation.note]
        OBX-3 = "{reason_code}"
    """)  # fmt: skip
    options = replace(OPTIONS, template=read_template(ours))
    message = made(result_of(notes=(NOTED,), revision=2, told_before=(SCORED,)), options, corrects=True)
    assert [(str(segment[3][0][0]), str(segment[11])) for segment in message.segments("OBX")] == [
        ("121111", "C"),
        ("not_pa", "C"),
        ("rotated", "D"),
    ]


@pytest.mark.parametrize(
    ("time", "taken"),
    [
        ("12", "20261128120000"),
        ("1201", "20261128120100"),
        ("120102", "20261128120102"),
        ("120102.123456", "20261128120102"),
        ("25", ""),
        ("1", ""),
        ("12:01", ""),
    ],
)
def test_a_time_without_minutes_or_seconds_is_one(time: str, taken: str) -> None:
    film = film_without_pixels(AcquisitionDate="20261128", AcquisitionTime=time)
    for keyword in ("ContentDate", "SeriesDate", "StudyDate", "TimezoneOffsetFromUTC"):
        film.pop(keyword, None)
    assert of_message(result_of(film), site="", priority="R")["film_time"] == taken


def test_there_always_is_a_filler_number() -> None:
    """The same for every revision of the film, and nobody's name."""
    film = film_without_pixels()
    film.pop("AccessionNumber", None)
    first, second = made(result_of(film)), made(result_of(film, revision=2), corrects=True)
    number = str(first.segments("OBX")[0][4])
    assert re.fullmatch("[0-9a-f]{12}", number)
    for message in (first, second):
        assert [str(message.segment("OBR")[3]), str(message.segment("ORC")[3])] == [number] * 2


def test_the_same_result_is_the_same_bytes_under_the_same_control_id() -> None:
    def sent(result: FilmResult, options: MessageOptions = OPTIONS, destination: str = RIS) -> bytes:
        return oru(result, options, destination=destination, corrects=False)

    assert sent(result_of()) == sent(result_of())
    known = control_id(sent(result_of()))
    assert len(known) == 20
    assert field(made(result_of()), "MSH", 10) == known
    others = [
        sent(result_of(), destination="mllp://other.test:2575"),
        sent(result_of(revision=2)),
        sent(result_of(film_digest="ee" * 32)),
        sent(not_analysed()),
        sent(result_of(), replace(OPTIONS, site="another word in it")),
    ]
    assert len({known, *map(control_id, others)}) == 6


def test_separators_in_texts_do_no_harm() -> None:
    film = film_without_pixels(PatientID="A|B^C&D~E", PatientName="O|Neil^Sh&ne", AccessionNumber="1^2")
    message = made(result_of(film), replace(OPTIONS, site="North & South \\ East"))
    plain = message.unescape(str(message.segment("PID")[3][0][0]))
    assert plain == "A|B^C&D~E"
    assert str(message.segment("MSH")[4]) == "North \\T\\ South \\E\\ East"
    assert len(message.segment("PID")) == len(made(result_of()).segment("PID"))


def test_a_line_end_in_a_text_ends_no_segment() -> None:
    found = FindingResult(
        name="pneumonia", probability=0.7, operating_point=0.5, chosen_for="a\r\nMSH|^~\\&|x\nb", flag=True
    )
    message = made(result_of(findings=(found,)))
    assert [str(segment[0]) for segment in message].count("MSH") == 1
    assert "chosen for a\\.br\\MSH\\F\\" in str(message.segments("NTE")[1][3])


def test_ideographic_and_phonetic_names() -> None:
    film = film_without_pixels(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    film.SpecificCharacterSet = "ISO_IR 192"
    names = str(made(result_of(film)).segment("PID")[5]).split("~")
    assert names == ["Yamada^Tarou^^^^^L^A", "山田^太郎^^^^^L^I", "やまだ^たろう^^^^^L^P"]
    latin = replace(OPTIONS, character_set="8859/1")
    message = made(result_of(film), latin)
    assert (field(message, "MSH", 18), str(message.segment("PID")[5]).split("~")[1]) == ("8859/1", "??^??^^^^^L^I")


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "PatientBirthDate", "StudyTime", "AccessionNumber"])
@pytest.mark.parametrize("value", [None, "", "2026\r\nMSH|", "x" * 500])
def test_any_header_makes_a_message_of_one_structure(keyword: str, value: Any) -> None:
    film = film_without_pixels()
    tag = tag_for_keyword(keyword)
    assert tag is not None
    film.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    text = oru(result_of(film), OPTIONS, destination=RIS, corrects=False).decode()
    assert [line[:3] for line in text.split("\r")].count("MSH") == 1
    assert hl7.parse(text).segment("OBR")


def test_the_zone_of_the_site_where_the_film_names_none() -> None:
    at = result_of().at.astimezone(timezone(timedelta(hours=-5)))
    film = film_without_pixels()
    film.pop("TimezoneOffsetFromUTC", None)
    assert str(made(result_of(film, at=at)).segment("MSH")[7]) == "20261128081415-0500"


def template(folder: Path, text: str) -> Path:
    path = folder / "ours.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_site_says_only_what_differs(tmp_path: Path) -> None:
    ours = template(tmp_path, """
        observations = ["summary", "finding"]
        [priority]
        urgent = "S^STAT^HL70485"
        [fields]
        MSH-5 = "RIS^2.16.840.1^ISO"
        OBR-4 = "{requested_procedure|study_description}"
        OBR-27 = "^^^^^{priority}"
        PV1-2 = "U"
        TQ1-9 = ""
        [observation.finding]
        NTE-3 = ""
        OBX-3 = "{finding_code}"
    """)  # fmt: skip
    message = made(
        result_of(film_without_pixels(StudyDescription="Chest")), replace(OPTIONS, template=read_template(ours))
    )
    assert [str(segment[0]) for segment in message] == ["MSH", "PID", "PV1", "ORC", "OBR", "NTE", *["OBX"] * 4]
    assert str(message.segment("OBR")[4]) == "Chest"
    assert str(message.segment("OBR")[27]) == "^^^^^R"
    assert field(message, "MSH", 5, 2) == "2.16.840.1"
    assert str(message.segments("OBX")[1][3]) == "17621005^Normal^SCT"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[fields]\nOBR-4 = "{accesion}"',
            r"fields: OBR-4: \{accesion\} is no placeholder here: choose from patient_id",
        ),
        ('[fields]\nOBR-4 = "{percent}"', "percent"),
        ('[fields]\nOBX-4 = "x"', "OBX-4: should be like OBX-5, a field of MSH, PID"),
        ('[fields]\nOBR-50 = "x"', "OBR ends with field 49"),
        ('[fields]\nOBR-25 = "F"', "OBR-25 is no field for a template"),
        ('[observation.finding]\nOBX-11 = "F"', "OBX-11 is no field for a template"),
        ('[fields]\nOBR-4 = "a|b"', r"has a \|"),
        ('[fields]\nOBR-4 = "{site"', "a brace that is no placeholder"),
        ("[fields]\nOBR-4 = 7", "OBR-4: should be a text in quotes"),
        ("[fields]\nOBR-4 = 'a\\b'", "a backslash that begins no escape"),
        ('[fields]\nOBR-4 = "a\\nb"', "has a control character"),
        ('observations = ["findings"]', "observations: findings: choose from study"),
        ('observations = ["finding", "finding"]', "names one twice"),
        ('observations = "finding"', "should be a list of names"),
        ('[observation.findings]\nOBX-5 = "x"', "observation.findings: choose from"),
        ('[priority]\nstat = "S"', "priority: should have routine, urgent"),
        ('[priority]\nurgent = "{site}"', "priority.urgent: should be a code"),
        ('fields = "x"', "fields: should be a table"),
        ('[field]\nOBR-4 = "x"', "field: a template has fields"),
        ("[fields", "is no TOML file"),
    ],
)
def test_a_template_that_cannot_be_used_says_where_and_why(tmp_path: Path, text: str, fault: str) -> None:
    path = template(tmp_path, text)
    with pytest.raises(ConfigurationError, match=fault) as refused:
        read_template(path)
    assert str(refused.value).startswith(f"XRAYQ_HL7_TEMPLATE: {path}")


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_template(tmp_path / "none.toml")


def test_the_page_names_every_placeholder_and_observation() -> None:
    page = (Path(read_template.__code__.co_filename).parent / "README.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", page))
    assert {*OF_MESSAGE, *OF_OBSERVATION, *(name for more in OF_OBSERVATION.values() for name in more)} <= words
