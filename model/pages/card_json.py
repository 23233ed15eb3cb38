"""The model card for programs: card.json in a bundle's folder, written by `xrayq bundle card`.

It names the digest of its bundle, so it cannot be among the files that the digest covers, and a bundle that is derived
from this one does not inherit it. `card_file.read_card` refuses one that is of another bundle. The same bundle and
evaluation give the same bytes. Rates are 0..1, intervals 95 %, null where something is not known. An estimate has value
and interval95; an exact share of films has n, the films, too.

    schema              1
    notice              what this is not
    bundle              name, version, digest, created, findings, negative (the finding that stands for nothing found),
                        parent (digest), calibration in words
    evaluation          engine; data_digest; trained_on: whether the bundle names the same films
    intended_use        texts: users, setting, uses that are not meant, films, answers
    ignore_when         [{when, because}]
    harms               [{harm, how, against}]
    operating_points    as in the manifest, each with `test`: sensitivity, specificity, precision, negatives_flagged,
                        and `predictive`: [{prevalence, ppv, npv}] on test films
    parts               train, val, test, test_all and, where there is one, more -> films by class, patients, accuracy,
                        balanced_accuracy, recall, precision, auroc (by finding), calibration_error, brier, log_loss,
                        coverage and unsure (of prediction sets)
    slices              as in evaluation.json, test films that are alike in one thing
    questions, normals_flagged, other_films, copies
                        as in evaluation.json, where it has them
    films               views, train_views, films, sources, patients, people, flow: as in evaluation.json
    reference_standard  source -> what, labels, readers, terms; null where the source is not known to this project
    test_influence      [{choice, decided_on, test_films}]
    studies             [{study, title, provenance}]
    gate, variants      as in the manifest
    provenance          as in the manifest, without the learning curve
"""

import json
from typing import Any

from model.bundle import Bundle
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.json_value import plain
from model.notice import MEASURES_NOTICE
from model.pages.card import check, ignore_when, influences, intended_use
from model.pages.card_file import SCHEMA
from model.pages.card_films import sources_of
from model.pages.card_texts import HARMS
from model.pages.known_sources import KNOWN
from model.stats.operating_points import PREVALENCES, predictive_values

MORE_MEASURES = ("questions", "normals_flagged", "other_films", "copies", "other_network")
"""Keys of evaluation.json that it has or has not."""


def card_json(bundle: Bundle, evaluation: EvaluationContent) -> str:
    """The text of card.json. Raises ValueError as `model.pages.card.check`."""
    check(bundle, evaluation)
    return json.dumps(_content(bundle, evaluation), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _content(bundle: Bundle, evaluation: EvaluationContent) -> dict[str, Any]:
    measured = evaluation.as_dict()
    data = measured["data"]
    return {
        "schema": SCHEMA,
        "notice": MEASURES_NOTICE,
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "created": bundle.provenance.get("created"),
            "findings": list(bundle.findings),
            "negative": bundle.negative,
            "parent": bundle.parent,
            "calibration": bundle.calibration.words,
        },
        "evaluation": {
            "engine": measured["engine"],
            "data_digest": data["digest"],
            "trained_on": data["trained_on"],
        },
        "intended_use": [text.replace("**", "") for text in intended_use(bundle, evaluation)],
        "ignore_when": [{"when": when.replace("**", ""), "because": because} for when, because in ignore_when(bundle)],
        "harms": [{"harm": harm, "how": how, "against": against} for harm, how, against in HARMS],
        "operating_points": [
            point.as_dict() | _on_test(point.finding, evaluation.parts["test"]) for point in bundle.operating_points
        ],
        "parts": {name: _part(part) for name, part in evaluation.parts.items()},
        "slices": measured["slices"],
        **{name: measured[name] for name in MORE_MEASURES if measured.get(name)},
        "films": {name: value for name, value in data.items() if name not in ("digest", "trained_on")},
        "reference_standard": {source: plain(KNOWN.get(source)) for source in sources_of(evaluation.data)},
        "test_influence": [
            {"choice": choice, "decided_on": decided, "test_films": answer}
            for choice, decided, answer in influences(bundle, evaluation)
        ],
        "studies": [
            {"study": study["study"], "title": study["title"], "provenance": study["provenance"]}
            for study in measured["studies"]
        ],
        "gate": bundle.gate,
        "variants": bundle.variants,
        "provenance": {name: value for name, value in bundle.provenance.items() if name != "history"},
    }


def _on_test(finding: str, test: PartMeasures) -> dict[str, Any]:
    flag = test.flags[finding]
    predictive = [
        {"prevalence": prevalence} | predictive_values(flag.rates, prevalence).as_dict() for prevalence in PREVALENCES
    ]
    return {
        "test": {name: value for name, value in flag.as_dict().items() if name != "threshold"},
        "predictive": predictive,
    }


def _part(part: PartMeasures) -> dict[str, Any]:
    summary = part.summary.as_dict()
    error, brier, loss = (score.as_dict() for score in part.reliability.after.scores)
    sets = part.sets.as_dict() if part.sets else {}
    return {
        "films": part.films,
        "patients": part.patients,
        "accuracy": summary["accuracy"],
        "balanced_accuracy": part.summary.balanced.as_dict(),
        "recall": summary["recall"],
        "precision": summary["precision"],
        "auroc": {name: curve.roc.auroc.as_dict() for name, curve in part.curves.items()},
        "calibration_error": error,
        "brier": brier,
        "log_loss": loss,
        "coverage": sets.get("coverage"),
        "unsure": sets.get("unsure"),
    }
