"""What is documented exists, and what exists is documented."""

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from dicom_gateway.contexts import FILM_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from dicom_gateway.errors import REFUSALS, Refusal
from dicom_gateway.notes import NOTES
from model.bundle import REFERENCE, load
from model.evaluation.evaluate import json_text
from model.findings import FINDINGS
from model.gate.reasons import REASONS as GATE_REASONS
from model.pages.card import EVALUATION, card, read_evaluation
from model.pages.card_file import CARD as CARD_FILE
from model.pages.card_file import read_card
from model.pages.card_json import card_json
from model.pages.guidelines import page as guidelines
from model.pages.guidelines.item import MET, NOT_APPLICABLE, NOT_MET
from model.promotion.rule import RULE
from model.study_table import read_study
from tests.unit.worker.cli.test_cli import commands
from worker import settings_page
from worker.errors import EXIT_CODES
from worker.scoring.outcomes import known_reasons
from worker.secret_files import SECRETS, variable_of
from worker.settings import CONFIG_VARIABLE, Settings
from worker.states import DUPLICATE, NOT_A_FILM, NOT_ADMITTED, REPLACED, State

ROOT = Path(__file__).parents[2]
README, CONFORMANCE, SETTINGS = "README.md", "dicom_gateway/CONFORMANCE.md", "worker/SETTINGS.md"
COMMANDS, CARD, PROMOTION = "worker/COMMANDS.md", "model/CARD.md", "model/promotion/README.md"
GUIDELINES = "model/GUIDELINES.md"
BOTH = (README, CONFORMANCE)
ALL = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in path.relative_to(ROOT).parts)
)
FOR_USERS = (
    *BOTH,
    COMMANDS,
    SETTINGS,
    CARD,
    GUIDELINES,
    "worker/README.md",
    "model/README.md",
    "model/TRAINING.md",
    "model/CALIBRATION.md",
)
NOT_THE_GATES = {NOT_A_FILM, NOT_ADMITTED, DUPLICATE, REPLACED, "operator"}
REASONS = sorted({*(one for of in known_reasons().values() for one in of if one)} | NOT_THE_GATES)
PROCESSES = {"up", "gateway", "relay", "worker", "web"}
VARIABLES = {f"XRAYQ_{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
VARIABLES |= {variable_of(name) for name in SECRETS}
OTHER_VARIABLES = {"XRAYQ_TEST_FILMS", "XRAYQ_TEST_NIGHT_FILMS", "XRAYQ_REQUIRE_GPU", "XRAYQ_REQUIRE_SERVICES"}


def page(*names: str) -> str:
    missing = [name for name in names if not (ROOT / name).is_file()]
    if missing:
        pytest.fail(f"{', '.join(missing)} is missing")
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def said(word: str, text: str) -> bool:
    """Whether the word stands in the text on its own, not as a part of another."""
    return re.search(rf"(?<![\w.]){re.escape(word)}(?![\w]|\.\d)", text) is not None


@pytest.mark.parametrize("words", commands())
def test_command_is_documented(words: str) -> None:
    """In full, or in a table row that begins with another command of its group: `xrayq db upgrade` · `check`."""
    *group, last = words.split()
    rows = [line for line in page(COMMANDS).splitlines() if line.startswith("| `xrayq " + " ".join(group))]
    assert said(f"xrayq {words}", page(COMMANDS)) or any(f"`{last}`" in row for row in rows)


def test_every_command_that_shows_has_json() -> None:
    without = {words for words, one in commands().items() if all("--json" not in option.opts for option in one.params)}
    changes = {"instance requeue", "instance reject", "instance admit", "peer add", "peer import", "peer remove"}
    changes |= {f"backfill {word}" for word in ("start", "pause", "resume", "cancel")}
    changes |= {f"user {word}" for word in ("add", "role", "password", "remove", "sign-out")}
    changes |= {"peer admit", "peer reject", "bundle activate", "bundle shadow", "bundle retire"}
    changes |= {
        "device silence",
        "bundle rollback",
        "drift freeze",
        "db upgrade",
        "audit export",
        "evidence keygen",
        "train",
        "pretrain",
        "trunk convert",
    }
    assert without == changes | PROCESSES | {words for words in commands() if words.startswith("study ")}


@pytest.mark.parametrize("name", FOR_USERS)
def test_every_page_says_what_this_is_not(name: str) -> None:
    assert "Not a medical device" in page(name)


@pytest.mark.parametrize("code", EXIT_CODES)
def test_exit_code_is_documented(code: int) -> None:
    meaning = re.escape(re.split(r"[;(]", EXIT_CODES[code])[0].strip())
    assert re.search(rf"(?<!\w)`?{code}`?[\s|:]+{meaning}", " ".join(page(COMMANDS).split()))


@pytest.mark.parametrize("state", State)
def test_state_is_documented(state: str) -> None:
    assert f"`{state}`" in page(README)


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_documented(reason: str) -> None:
    assert f"`{reason}`" in page(*BOTH)


def test_the_reasons_of_the_gate_stand_in_the_order_in_which_they_are_asked() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", page(CONFORMANCE), re.MULTILINE)
    assert [reason for reason in listed if reason in GATE_REASONS] == list(GATE_REASONS)


@pytest.mark.parametrize("code", NOTES)
def test_note_on_the_display_is_documented(code: str) -> None:
    assert f"| `{code}` | {NOTES[code]} |" in page(CONFORMANCE)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_status_is_documented_with_its_comment(refusal: type[Refusal]) -> None:
    lines = [line for line in page(CONFORMANCE).splitlines() if re.search(rf"\b(0x)?{refusal.status:04X}H?\b", line)]
    assert any(refusal.comment in line for line in lines), lines


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.name)
def test_transfer_syntax_is_documented(syntax: object) -> None:
    uid, name = str(syntax.uid), str(syntax.name)  # type: ignore[attr-defined]
    assert any(said(uid, line) and name in line for line in page(CONFORMANCE).splitlines())


@pytest.mark.parametrize("uid", [VERIFICATION, *map(str, FILM_CLASSES)])
def test_sop_class_is_documented(uid: str) -> None:
    assert said(uid, page(CONFORMANCE))


def test_conformance_promises_no_other_transfer_syntax() -> None:
    known = {str(syntax.uid) for syntax in TRANSFER_SYNTAXES}
    named = set(re.findall(r"1\.2\.840\.10008\.1\.2(?:\.\d+)*", page(CONFORMANCE)))
    assert named == known


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    lines = [line for line in page(SETTINGS).splitlines() if said(f"XRAYQ_{name.upper()}", line)]
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    expected = "" if default is None else str(default)
    assert any(expected.lower() in line.lower() and (field.description or "")[:-1] in line for line in lines), (
        f"no line of {SETTINGS} with XRAYQ_{name.upper()}, its default {expected!r} and: {field.description}"
    )


def test_configuration_file_is_documented() -> None:
    assert said(CONFIG_VARIABLE, page(SETTINGS))


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    named = set(re.findall(r"\bXRAYQ_[A-Z][A-Z0-9_]*[A-Z0-9]", page(*ALL)))
    assert named - VARIABLES - OTHER_VARIABLES == set()


def test_no_document_names_a_command_that_does_not_exist() -> None:
    known = set(commands())
    first = {words.split()[0] for words in known}
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page(*ALL), re.DOTALL))
    named = set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*xrayq ([a-z]+(?: [a-z]+)?)", code, re.MULTILINE))
    wrong = {
        words
        for words in named
        if words.split()[0] not in first
        or (words.split()[0] in ("instance", "bundle", "db") and len(words.split()) == 2 and words not in known)
    }
    assert wrong == set()


def test_the_model_card_is_the_shipped_bundles() -> None:
    assert page(CARD) == card(load(REFERENCE), read_evaluation(EVALUATION))


def test_the_card_for_programs_is_the_shipped_bundles() -> None:
    bundle = load(REFERENCE)
    assert (REFERENCE / CARD_FILE).read_text(encoding="utf-8") == card_json(bundle, read_evaluation(EVALUATION))
    found = read_card(bundle)
    assert found is not None
    assert (found["bundle"]["digest"], found["notice"]) == (bundle.digest, "Research software. Not a medical device.")


def test_the_page_of_guidelines_is_generated() -> None:
    """`test_pages` asks whether every page and heading that it names is there."""
    assert page(GUIDELINES) == guidelines.page()


def numbered(*parts: str) -> list[str]:
    """2a-c is 2a, 2b, 2c; 1-3 is 1, 2, 3; else as it stands."""
    found: list[str] = []
    for part in parts:
        item, _, last = part.partition("-")
        if not last:
            found.append(item)
        elif last.isdigit():
            found += [str(number) for number in range(int(item), int(last) + 1)]
        else:
            found += [f"{item[:-1]}{chr(letter)}" for letter in range(ord(item[-1]), ord(last) + 1)]
    return found


ITEMS = {
    "TRIPOD+AI (2024)": numbered(
        *("1-2", "3a-c", "4", "5a-b", "6a-c", "7", "8a-c", "9a-c", "10-11", "12a-g", "13-17", "18a-f", "19", "20a-c"),
        *("21-22", "23a-b", "24-26", "27a-c"),
    ),
    "CLAIM (2024 update)": numbered("1-44"),
    "DECIDE-AI (2022)": numbered(
        *("1", "I", "2a-b", "II", "III", "3a-c", "4a-c", "5a-b", "IV", "6a-b", "7", "V", "8", "VI", "9a-b", "10a-b"),
        *("VII", "VIII", "11-12", "13a-b", "14a-b", "15-16", "IX", "17", "X"),
    ),
}
"""As the guidelines number them."""


def test_every_item_of_a_guideline_has_an_answer() -> None:
    known = {guideline.name: guideline for guideline in guidelines.GUIDELINES}
    for name, numbers in ITEMS.items():
        assert [item.number for item in known[name].items] == numbers
    assert (len(ITEMS["TRIPOD+AI (2024)"]), len(ITEMS["DECIDE-AI (2022)"])) == (52, 38)
    parts = [item.number.partition(".")[0] for item in known["MI-CLAIM (2020)"].items]
    assert {part: parts.count(part) for part in parts} == {"1": 5, "2-3": 5, "4": 3, "5": 5, "6": 1}
    for item in (item for guideline in guidelines.GUIDELINES for item in guideline.items):
        assert item.where or item.status in (NOT_MET, NOT_APPLICABLE), item
        assert item.why or item.status == MET, item


def test_the_shipped_evaluation_holds_every_shipped_study() -> None:
    shipped = sorted((ROOT / "model/studies").glob("*.json"))
    assert read_evaluation(EVALUATION).studies == tuple(map(read_study, shipped))


def test_the_shipped_evaluation_is_read_whole() -> None:
    """Read as values and written again, it has the same bytes."""
    assert json_text(read_evaluation(EVALUATION)) == EVALUATION.read_text(encoding="utf-8")


def test_the_readme_quotes_the_evaluation() -> None:
    """The accuracy on the PA test films, with its interval; the card has all else."""
    found = json.loads(EVALUATION.read_text(encoding="utf-8"))["parts"]["test"]["summary"]["accuracy"]
    low, high = found["interval95"]
    quoted = f"accuracy {found['value']:.3f} [{low:.2f}, {high:.2f}]".replace("0.", ".")
    assert quoted in " ".join(page(README).split())


@pytest.mark.parametrize("name", ["network", "svm", "shortcut"])
def test_the_card_sets_the_network_beside_its_rivals(name: str) -> None:
    """Accuracy and recalls on the PA test films, with intervals, in one row."""
    found = json.loads(EVALUATION.read_text(encoding="utf-8"))
    part = found["parts"]["test"] if name == "network" else found["baselines"][name]["test"]
    figures = [part["summary"]["accuracy"], *(part["summary"]["recall"][finding] for finding in FINDINGS)]
    cells = [f"{one['value']:.3f} [{one['interval95'][0]:.2f}, {one['interval95'][1]:.2f}]" for one in figures]
    assert f"| {' | '.join(cells)} |" in page(CARD)


def test_the_card_has_each_figure_of_the_gate() -> None:
    """Each rate that was measured on all test films of a kind, as it stands in the bundle's manifest."""
    gate = load(REFERENCE).gate
    assert gate is not None
    found = gate["metrics"]["test"]
    rates = [found["eligible_refused"], found["ap_tagged_pa_refused"], found["view"]["accuracy"]]
    rates += [*found["untagged_scored"].values(), found["inverted"]["refused"], *found["made_others"].values()]
    rates += [turned["refused"] for turned in found["turned"].values()]
    for one in rates:
        low, high = one["interval95"]
        assert f"| {one['value']:.3f} [{low:.2f}, {high:.2f}] ({one['n']}) |" in page(CARD)


def test_the_page_of_promotion_quotes_its_rule() -> None:
    rows = dict(line.strip("| ").split(" | ", 1) for line in page(PROMOTION).splitlines() if line.startswith("| "))
    assert rows["films scored by both"] == f"{RULE.films} or more"
    assert rows["films the shadow could not score"].startswith(f"{RULE.missed:.0%} or fewer".replace("%", " %"))
    assert rows["films with other flags"].startswith(f"{RULE.other_flags:.0%} or fewer".replace("%", " %"))
    assert rows["films with a probability that moved"].startswith(
        f"by more than {RULE.moved:g}: {RULE.films_moved:.0%}".replace("%", " %")
    )
    assert f"{RULE.unsure:.0%}".replace("%", " %") in rows["unsure films"]
    lost = rows["lost, each flag and label"]
    assert f"{RULE.lost:.0%} or fewer".replace("%", " %") in lost
    assert f"takes {RULE.judged} films" in lost
    assert f"{RULE.brier:g}" in rows["Brier score, 0 to 1"]
    assert f"{RULE.coverage:.0%}".replace("%", " %") in rows["prediction sets that hold the label"]


def test_the_card_names_the_evaluations_engine() -> None:
    """And the reference's accuracy on the same films."""
    engine = json.loads(EVALUATION.read_text(encoding="utf-8"))["engine"]["name"]
    accuracy = f"{load(REFERENCE).metrics['test']['accuracy']['value']:.3f}"
    shown = " ".join(page(CARD).split())
    assert f"scored by `{engine}`" in shown
    assert re.search(rf"In fp32 the accuracy is .*{accuracy} on test", shown)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DRIFT_REFERENCE_FILMS", "At least 100."),
        ("PORT", "At least 0, at most 65535."),
        ("DRIFT_ALPHA", "Above 0, below 1."),
        ("AE_TITLE", "At least 1, at most 16 characters."),
    ],
)
def test_a_setting_is_documented_with_its_range(name: str, words: str) -> None:
    (line,) = (line for line in page(SETTINGS).splitlines() if line.startswith(f"| `XRAYQ_{name}` "))
    assert words in line


def test_the_settings_page_is_generated() -> None:
    assert page(SETTINGS) == settings_page.page()
