"""Tables for people: at every width each value is whole, or its column is named as left out."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from worker.cli.common import wide_console
from worker.cli.console import PlainConsole, print_rows
from worker.cli.instance_view import ALIKE, print_score, print_table
from worker.db.scores import FindingView, ScoreView
from worker.instances import InstanceView

WIDTHS = range(60, 141)
FILM = InstanceView(
    id=10482,
    sop_instance_uid="1.2.826.0.1.3680043.8.498.81370912345678901234567890123456789",
    revision=1,
    digest="0" * 64,
    in_spool=True,
    sop_class="Digital X-Ray Image Storage - For Presentation",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.4.70",
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.4",
    modality="DX",
    body_part="CHEST",
    view_position="PA",
    view_code="",
    patient_orientation="L\\F",
    views=["PA"],
    age_years=45.0,
    burned_in="",
    quality_control="",
    derived="",
    state="scored",
    reason=None,
    probabilities={"normal": 0.005, "pneumonia": 0.27, "covid19": 0.725},
    flags=["not_normal", "pneumonia", "covid19"],
    prediction_set=["pneumonia", "covid19"],
    unsure=True,
    bundle_digest="b" * 64,
    engine="onnxruntime-1-int8",
    calling_ae="RADIOLOGY_MAIN_1",
    called_ae="XRAYQ",
    received_at=datetime(2026, 11, 23, tzinfo=UTC),
    scored_at=datetime(2026, 11, 23, tzinfo=UTC),
)
REFUSED = replace(FILM, state="ineligible", reason="not_a_chest_film", probabilities=None, flags=None, unsure=None)
PLAIN = replace(FILM, flags=[], prediction_set=["normal"], unsure=False)
SCORE = ScoreView(
    role="live",
    bundle_digest="b" * 64,
    engine="onnxruntime-1-int8",
    software_version="1",
    scored_at=datetime(2026, 11, 23, tzinfo=UTC),
    findings={
        "pneumonia": FindingView(
            logit=-1.25,
            probability=0.6601,
            interval=(0.81, 0.999),
            operating_point=0.2055,
            operating_point_id="pneumonia@sensitivity-0.9",
            flag=True,
        )
    },
    prediction_set=["normal", "pneumonia"],
    notes=[],
)


def console(width: int) -> PlainConsole:
    return PlainConsole(width=width, file=io.StringIO())


def shown(of: PlainConsole) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


@pytest.mark.parametrize(("columns", "longest"), list(product((3, 6, 9), (4, 9, 17))))
def test_every_value_is_whole_or_named_as_left_out(columns: int, longest: int) -> None:
    headings = [f"h{at}" for at in range(columns)]
    row = [f"{at}".rjust(longest, "x") for at in range(columns)]
    for width in WIDTHS:
        of = console(width)
        print_rows(of, headings, [row], drops=headings[1:3])
        text = shown(of)
        left_out = text.partition("Not shown for want of room: ")[2].partition(".")[0].split(", ")
        for heading, value in zip(headings, row, strict=True):
            assert (heading in left_out) != (heading in text.split() and value in text.split()), (width, text)
        assert max(map(len, text.splitlines())) <= width


def test_a_sentence_folds_beside_values_that_do_not() -> None:
    sentence = "no film of this sender has come for longer than is usual at this hour"
    for width in WIDTHS:
        of = console(width)
        print_rows(of, ("a", "what", "b"), [("x" * 16, sentence, "y" * 12)], folds=("what",))
        words = shown(of).split()
        assert {"x" * 16, "y" * 12, *sentence.split()} <= set(words), (width, words)


def test_flags_of_a_film_are_whole_at_every_width() -> None:
    for width in WIDTHS:
        of = console(width)
        print_table(of, [FILM, REFUSED, PLAIN, replace(PLAIN, unsure=True)])
        said = "not normal, pneumonia, COVID-19; unsure"
        for value in ("not_a_chest_film", said, "no flag", "no flag; unsure"):
            assert value in shown(of), width
        left_out = " ".join(shown(of).split()).partition("Not shown for want of room: ")[2]
        assert ("RADIOLOGY_MAIN_1" in shown(of)) != (", from" in left_out), width
        assert "0.725" in shown(of) or "from, view, rev, normal" in left_out, "scores are left out last"


def test_a_film_that_came_again_is_one_row_of_a_table() -> None:
    again = replace(FILM, identity_changed=["PatientID", "StudyInstanceUID", "PatientBirthDate"], replaced_by=10483)
    of = console(80)
    print_table(of, [FILM, again])
    text = shown(of)
    assert [line.split()[0] for line in text.splitlines() if "scored" in line] == [str(FILM.id)] * 2
    assert f"instance {FILM.id} changed: Patient ID, Study Instance UID, Patient's Birth Date; replaced by 10483" in (
        " ".join(text.split())
    )


def test_a_pipe_gets_every_column_and_the_whole_uid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `xrayq instance list | cat` and `> file` do: one line a film, nothing left out."""
    monkeypatch.delenv("COLUMNS", raising=False)
    again = replace(FILM, identity_changed=["PatientID", "StudyInstanceUID", "PatientBirthDate"], replaced_by=10483)
    print_table(wide_console(), [FILM, again])
    heading, _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(rows) == 2
    assert heading.split()[:5] == ["id", "SOP", "Instance", "UID", "rev"]
    assert all(FILM.sop_instance_uid in row for row in rows)
    assert all(name in heading for name in ("normal", "pneumonia", "covid19", "flags", "came again"))
    assert rows[1].rstrip().endswith("not normal, pneumonia, COVID-19; unsure")
    assert "replaced by 10483" in rows[1]


def test_a_score_says_whose_the_interval_is() -> None:
    for width in WIDTHS:
        of = console(width)
        print_score(of, SCORE)
        for text in (ALIKE, "0.810 to 0.999", "0.2055", "prediction set: normal, pneumonia; unsure"):
            assert text in shown(of), width
        assert "ruled out" not in shown(of)
    assert "pneumonia@sensitivity-0.9" in shown(of)
