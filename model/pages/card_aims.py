"""What this project's own network was to reach, and whether it did: of test films, missed ones first.

The aims were set before the network was trained. A bundle that others make has none, and no such section.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from model.evaluation.evaluate import EvaluationContent
from model.findings import SPOKEN
from model.pages.markdown import cell, table
from model.stats.estimate import Estimate

MISSED, MET = "**missed**", "met"
ACCURACY, NORMAL_AREA = 0.82, 0.93
AREAS = {"covid19_normal_siim_more": 0.85, "pneumonia_normal_nih_more": 0.92}
"""By question, the area under the ROC curve."""
FAIR = "covid19_pneumonia_ieee8023"
NORMALS = 0.15
"""Largest share of a source's normal films under any flag, on test films and those of the subset more."""
LEFT_OUT = 0.20
"""Largest share of a source's normal films under the COVID-19 flag, by a network trained without the source."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    words: str
    aimed: str
    found: str
    met: bool


def aims_table(evaluation: EvaluationContent) -> Iterable[str]:
    """Nothing for an evaluation that the paper's figures do not stand beside."""
    if not evaluation.paper:
        return
    rows = sorted(aims(evaluation), key=lambda aim: aim.met)
    yield from table(
        ["aim", "aimed at", "measured", ""],
        ([aim.words, aim.aimed, aim.found, MET if aim.met else MISSED] for aim in rows),
    )


def aims(evaluation: EvaluationContent) -> Iterable[Aim]:
    """Those that this evaluation has figures for, in the order of this module."""
    test, views = evaluation.parts["test"], ", ".join(evaluation.data.views)
    yield _at_least(f"accuracy, test films of view {views}", test.summary.accuracy, ACCURACY)
    if normal := test.curves.get("normal"):
        yield _at_least(f"AUROC of normal, test films of view {views}", normal.roc.auroc, NORMAL_AREA)
    for answer in evaluation.questions or ():
        if answer.auroc and answer.name in AREAS:
            words = f"AUROC by {answer.score}, {answer.words}, {answer.part}"
            yield _at_least(words, answer.auroc, AREAS[answer.name])
        if answer.auroc and answer.auroc.interval95 and answer.name == FAIR:
            yield Aim(
                words=f"AUROC, {answer.words}, {answer.part}",
                aimed="interval above .5",
                found=cell(answer.auroc),
                met=answer.auroc.interval95[0] > 0.5,
            )
    for row in evaluation.normals_flagged or ():
        if row.group == "source" and row.part in ("test", "more") and row.any_flag.value is not None:
            yield Aim(
                words=f"normal films of {row.name} under any flag, {row.part}",
                aimed=f"{NORMALS:g} or less",
                found=f"{cell(row.any_flag)} of {row.films}",
                met=row.any_flag.value <= NORMALS,
            )
    if set_rates := test.sets:
        for name, held in (set_rates.coverage_by_finding or {}).items():
            yield Aim(
                words=f"prediction sets hold {SPOKEN[name]}, test films of view {views}",
                aimed="interval reaches .9",
                found=cell(held),
                met=held.interval95 is not None and held.interval95[1] >= 0.9,
            )
    yield from _left_out(evaluation)


def _left_out(evaluation: EvaluationContent) -> Iterable[Aim]:
    for study in evaluation.studies:
        if study.study != "source":
            continue
        column = study.columns.index("covid19 flag")
        for row in study.rows:
            yield Aim(
                words=f"normal films under the COVID-19 flag: {row[0]}",
                aimed=f"{LEFT_OUT:g} or less",
                found=f"{row[column]} of {row[1]}",
                met=float(str(row[column]).split()[0]) <= LEFT_OUT,
            )


def _at_least(words: str, found: Estimate, aimed: float) -> Aim:
    return Aim(
        words=words, aimed=f"{aimed:g} or more", found=cell(found), met=found.value is not None and found.value >= aimed
    )
