"""A bundle's model card in Markdown: `xrayq bundle card BUNDLE --markdown FILE`. CARD.md is the shipped bundle's; a
test keeps the two together.

Every figure is from the bundle's manifest or from the evaluation.json that `xrayq evaluate` wrote for it, but for those
of `by_hand`, which name their bundle.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from model.bundle import SHIPPED, Bundle, trunk_stories
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.findings import spoken_findings
from model.pages import card_texts
from model.pages.by_hand import MEASURED, NOTHING
from model.pages.card_aims import aims_table
from model.pages.card_films import data_and_licences, films_and_people, reference_standard
from model.pages.card_questions import more_measures
from model.pages.card_tables import gate_tables, int8_table, measured, promises, views_of
from model.pages.markdown import bullets, paragraph, share, table
from model.pages.texts import value_text

EVALUATION = SHIPPED / "reference.evaluation.json"
NOT_SHOWN = {"history", "intended_use", "pretraining", "flow"}
PARTS = ("val", "test", "test_all")
"""Of an evaluation, that a card is of."""
POOLED = 32
"""Pixels of a film's side for one of the feature map's."""


def read_evaluation(path: Path) -> EvaluationContent:
    """An evaluation.json, of this release or an earlier one. Raises OSError or ValueError."""
    return EvaluationContent.read(json.loads(path.read_text(encoding="utf-8")))


def card(bundle: Bundle, evaluation: EvaluationContent) -> str:
    """The card as Markdown. Raises ValueError as `check`."""
    check(bundle, evaluation)
    sections = {
        "What it is": _what_it_is(bundle),
        "Intended use": bullets(intended_use(bundle, evaluation)),
        "When to ignore a score": table(["leave the score alone when", "because"], ignore_when(bundle)),
        "What it was measured to do": _measured(bundle, evaluation),
        "In int8": _int8(bundle),
        "The gate": _gate(bundle),
        "Films and people": films_and_people(evaluation),
        "Reference standard": reference_standard(evaluation),
        "What test films may have influenced": _influence(bundle, evaluation),
        "Harms": _harms(),
        "What it can and cannot do": _limits(bundle, evaluation),
        "Data and licences": data_and_licences(bundle, evaluation),
        "How it was made": _made(bundle),
        "Reporting guidelines": _guidelines(),
    }
    lines = [
        f"# Model card: {bundle.name} {bundle.version}",
        "",
        f"**Research software. Not a medical device.** Digest `{bundle.digest[:12]}`, {_created(bundle)}.",
        "",
    ]
    if reached := list(aims_table(evaluation)):
        lines += ["## What was aimed at", "", *reached, ""]
    for heading, content in sections.items():
        text = "\n".join(content).strip("\n")
        lines += [f"## {heading}", "", text, ""] if text else []
    return "\n".join(lines)


def check(bundle: Bundle, evaluation: EvaluationContent) -> None:
    """Raises ValueError when the evaluation is of another bundle, or lacks a part that the card is of."""
    if evaluation.bundle.digest != bundle.digest:
        raise ValueError(f"the evaluation is of bundle {evaluation.bundle.digest[:12]}, not {bundle.digest[:12]}")
    if missing := [name for name in PARTS if name not in evaluation.parts]:
        raise ValueError(f"the evaluation has no part {' and no part '.join(missing)}")


def _created(bundle: Bundle) -> str:
    return str(bundle.provenance.get("created", "on a day not said"))[:10]


def _what_it_is(bundle: Bundle) -> Iterable[str]:
    spec, made = bundle.preprocess, bundle.provenance
    dropout = made.get("recipe", {}).get("dropout")
    yield from paragraph(
        "ResNet50 (He et al. 2015) with the head of a 2020 student paper on COVID-19 in chest films: average pool to "
        f"3x3x2048, dropout {'as its recipe says' if dropout is None else f'{dropout:g}'}, one linear layer to "
        f"{', '.join(bundle.findings)}. Input: one grey channel, the film's central square shrunk to {spec.size} x "
        f"{spec.size} by area averaging, windowed, its {spec.stretch_low:g} to {spec.stretch_high:g} percentiles "
        f"stretched. "
        f"Output: softmax, {bundle.calibration.words}, fitted on {_fitted_on(bundle)}."
    )
    yield from paragraph(
        "The aim: a network that this service can be judged with, each figure of which can be measured again. The card "
        "is of its development and of its evaluation on films that were kept back, of the same sources."
    )
    if -(-spec.size // POOLED) == 7:
        yield from paragraph(
            "The pool leaves out the last row and column of the 7x7 feature map, as the paper's does: the bottom "
            "and right "
            "seventh of a film are seen only through overlapping fields."
        )


def _fitted_on(bundle: Bundle) -> str:
    """Films that calibration and thresholds were chosen on, in words."""
    calibrated = bundle.provenance.get("calibrated", {})
    if not calibrated:
        return "the validation split"
    return f"{calibrated.get('films', 'some')} films ({calibrated.get('split', calibrated.get('origin', 'not said'))})"


def intended_use(bundle: Bundle, evaluation: EvaluationContent) -> list[str]:
    """Users, setting, what it is not for, films, answers."""
    findings = spoken_findings(bundle.findings)
    return [
        *card_texts.USERS,
        f"**Films**: frontal chest films of adults, view {views_of(evaluation)}; what else comes is kept and not "
        f"scored.",
        f"**Answers**: a probability of each of {findings}, which sum to 1, with an interval where the bundle has one; "
        "flags at its operating points; a prediction set, and whether the film is unsure. An answer is about these "
        "findings and no others.",
    ]


def ignore_when(bundle: Bundle) -> list[tuple[str, str]]:
    """When to leave a score alone, and why. Where the limits add up to 1 or less, no prediction set is empty."""
    never_empty = not bundle.conformal or sum(bundle.conformal.limits.values()) <= 1
    return [row for row in card_texts.IGNORE if not (never_empty and row is card_texts.EMPTY_SET)]


def _measured(bundle: Bundle, evaluation: EvaluationContent) -> Iterable[str]:
    reliability = evaluation.parts["test"].reliability.after
    fp32 = ", ".join(
        f"{bundle.metrics[name]['accuracy']['value']:.3f} on {name}"
        for name in ("val", "test")
        if name in bundle.metrics
    )
    yield from paragraph(
        f"Films of the data's own split, patients exclusive, scored by `{evaluation.engine.name}`. In fp32 the "
        f"accuracy is "
        f"{fp32}. The weights kept, the calibration and the operating points were chosen on val, never on test: "
        f"rates on val "
        "look better than they are. `xrayq evaluate` regenerates all of it."
    )
    earlier = reliability.ece_in_bins is None
    yield from paragraph(card_texts.EARLIER_INTERVALS if earlier else card_texts.INTERVALS)
    yield from paragraph(card_texts.PREDICTIVE)
    yield from paragraph(card_texts.CALLS_AND_FLAGS)
    if bundle.operating_points:
        yield from [*promises(bundle), ""]
    yield from measured(evaluation)
    yield from more_measures(evaluation.as_dict(), gate=bundle.gate is not None)
    if people := MEASURED.get(bundle.digest, NOTHING).people:
        yield from paragraph(people)


def _int8(bundle: Bundle) -> Iterable[str]:
    variant = bundle.variants.get("int8")
    if variant:
        yield from paragraph(
            "The bundle also holds the network in int8, which CPUs run faster. `XRAYQ_ENGINE=onnxruntime` serves fp32 "
            "everywhere. Difference: of a probability in int8 from the same in fp32."
        )
        yield from [*int8_table(variant), ""]
        yield from paragraph(MEASURED.get(bundle.digest, NOTHING).int8)


def _gate(bundle: Bundle) -> Iterable[str]:
    if bundle.gate:
        chosen = bundle.gate.get("provenance", {}).get("chosen_on", "validation films")
        yield from paragraph(
            f"A small network in the bundle looks at each film before it is scored. Its thresholds were chosen on "
            f"{chosen}. "
            'Below: share of the films (how many), with the exact 95 % interval. "Refused" counts all rules on pixels '
            "together."
        )
        yield from [*gate_tables(bundle.gate, bundle.findings), ""]
        yield from paragraph(f"{card_texts.GATE_LIMITS} {MEASURED.get(bundle.digest, NOTHING).gate}")


def influences(bundle: Bundle, evaluation: EvaluationContent) -> list[tuple[str, str, str]]:
    """Figure or choice, the films that decided it, and whether test films may have had a say."""
    calibrated = _fitted_on(bundle)
    return [
        ("the weights kept", f"val; kept: {bundle.provenance.get('kept', 'not said')}", "no"),
        ("calibration, thresholds, prediction sets", calibrated, "yes" if "test" in calibrated else "no"),
        ("the int8 variant and the gate", "made from train; accepted, and thresholds chosen, on val", "no"),
        *(card_texts.PROJECT_TRIALS if evaluation.paper else ()),
    ]


def _influence(bundle: Bundle, evaluation: EvaluationContent) -> Iterable[str]:
    columns = ["figure or choice", "decided on", "may test films have had a say?"]
    yield from [*table(columns, influences(bundle, evaluation)), ""]
    if not evaluation.paper:
        yield from paragraph(
            "Which recipes were tried before, and whether their test accuracy was looked at, is for whoever trained it "
            "to say. `xrayq train` prints it."
        )


def _harms() -> Iterable[str]:
    yield from paragraph("No harm was observed, because nobody was cared for with it. What may happen:")
    yield from table(["harm", "how", "shown or done against it"], card_texts.HARMS)


def _limits(bundle: Bundle, evaluation: EvaluationContent) -> Iterable[str]:
    return bullets(_limit_texts(bundle, evaluation))


def _limit_texts(bundle: Bundle, evaluation: EvaluationContent) -> Iterable[str]:
    test, findings = evaluation.parts["test"], bundle.findings
    films, wrong = test.summary.films, len(evaluation.wrong)
    yield (
        f"**It is for research.** Of {films} test films of view {views_of(evaluation)} it calls {wrong} wrongly: "
        f"accuracy {share(test.summary.accuracy)}."
    )
    yield from _flagged_negatives(test, bundle)
    for name in findings:
        sources = {one for by_source in evaluation.data.sources.values() for one, has in by_source.items() if has[name]}
        others = {
            one
            for by_source in evaluation.data.sources.values()
            for one, has in by_source.items()
            if any(count for finding, count in has.items() if finding != name)
        }
        if alone := sorted(sources - others):
            yield (
                f"{spoken_findings([name])} films of {', '.join(alone)} have no film of another class beside "
                f"them: there "
                "the class can be told by the source. Cropping to a square and stretching percentiles remove shape and "
                "brightness, not borders, markers and the look of a journal figure."
            )
    yield (
        "Test films come from the sources that the training films come from. A hospital's own films are another "
        "source, "
        "and what the network does there is not known before it was measured there."
    )
    gate = "by tags and pixels" if bundle.gate else "by tags"
    yield f"Children and lateral films are refused by their tags, views that it is not measured on {gate}."
    if "covid19" in findings:
        yield (
            "COVID-19 films of public collections are mostly from 2020. The disease, its variants and its treatment "
            "have changed."
        )
    if evaluation.paper:
        accuracy = evaluation.paper.cnn["test"].accuracy
        yield f"The 2020 paper ({evaluation.paper.citation}) reports {accuracy}. The two differ in this:"
        yield from evaluation.paper.why_different


def _flagged_negatives(test: PartMeasures, bundle: Bundle) -> Iterable[str]:
    rates = {name: flag.negatives_flagged for name, flag in test.flags.items() if flag.negatives_flagged}
    if rates:
        words = ", ".join(f"{spoken_findings([name])} {share(rate)}" for name, rate in rates.items())
        yield f"Share of {spoken_findings([bundle.negative])} test films under each flag: {words}."


def _made(bundle: Bundle) -> Iterable[str]:
    for key, value in bundle.provenance.items():
        if key not in NOT_SHOWN:
            yield f"- {key.replace('_', ' ')}: {value_text(value)}"
    for story in trunk_stories(bundle):
        what = "pretraining" if "films" in story else "start"
        yield from (f"- {what}, {key.replace('_', ' ')}: {value_text(value)}" for key, value in story.items())


def _guidelines() -> Iterable[str]:
    yield from paragraph(
        "Item by item, what this card and this project have of TRIPOD+AI, CLAIM 2024, MI-CLAIM and DECIDE-AI, and what "
        "not: [GUIDELINES.md](GUIDELINES.md). The same figures for programs: card.json in the bundle's folder "
        "(`xrayq bundle card`)."
    )
