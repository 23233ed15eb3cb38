"""The report's answers to the questions that matter: these films against those, normal films flagged, other copies."""

from collections.abc import Iterable

from markupsafe import Markup

from model.evaluation.evaluate import EvaluationContent
from model.evaluation.normals import NormalsFlagged
from model.evaluation.questions import AUXILIARY, Answer
from model.findings import SPOKEN
from model.pages.cells import PARTS, views_of
from model.pages.forest import Line, forest
from model.pages.html import figure, paragraph, table
from model.pages.texts import estimate_text
from model.stats.estimate import Estimate

PLACES = PARTS | {"auxiliary": "auxiliary, held out", "unseen": "source never trained on"}
SHORT = {"test": "test", "test_all": "test of all views", "more": "more", "auxiliary": "held out"}
ALL = ("all", "source")
"""Groups that the figure shows."""


def questions(content: EvaluationContent) -> Iterable[Markup]:
    answers = content.questions or ()
    if not answers:
        yield paragraph("The films' findings are not those that the questions are about.")
        return
    yield paragraph(
        "Films against films of the same source, so that the source alone does not tell. Its films may still differ "
        "in web site, device, view or age. The score is the probability that a flag stands on: the AUROC says what "
        "the flag could reach with another threshold."
    )
    lines = [Line(name=f"{answer.words}, {_parts(answer)}", estimates=(answer.auroc,)) for answer in answers]
    chart = forest(("AUROC",), lines, reference=(0.5,), what="The questions that matter")
    yield figure(chart, "Dotted: guessing. The interval is over patients (DeLong's variance).")
    rows = [
        (
            answer.words,
            _parts(answer),
            answer.score,
            *(f"{side.films} of {side.patients} patients" for side in (answer.positives, answer.negatives)),
            estimate_text(answer.auroc) if answer.auroc else f"– ({answer.reason})",
        )
        for answer in answers
    ]
    yield table(("question", "films of", "score", "first", "second", "AUROC"), rows, caption="The same")
    yield from _never_trained(content)


def normals(content: EvaluationContent) -> Iterable[Markup]:
    rows = content.normals_flagged or ()
    if not rows:
        yield paragraph("This bundle has no operating points: it flags nothing.")
        return
    names = list(rows[0].flags)
    yield paragraph(
        "Every flag on a normal film is a false alarm. No film is among these that the thresholds were chosen on. "
        "Brackets are exact intervals; where patients have several films, those over patients follow."
    )
    shown = [row for row in rows if row.group in ALL]
    lines = [
        Line(name=f"{_place(row)}  n={row.films}", estimates=(row.any_flag,), strong=row.group == "all")
        for row in shown
    ]
    chart = forest(("any flag",), lines, reference=(None,), what="Share of normal films with any flag")
    yield figure(chart, "Share of normal films with at least one flag. Films of one source below the part they are of.")
    cells = [
        (
            f"{_place(row)}, {row.of}",
            f"{row.films} of {row.patients}",
            _share(row.any_flag),
            *(_share(row.flags[name]) for name in names),
        )
        for row in rows
    ]
    yield table(
        ("normal films", "films, of patients", "any flag", *(SPOKEN[name] for name in names)),
        cells,
        caption=f"Share of normal films flagged; the bundle's views are {views_of(content)}",
        strong=frozenset(number for number, row in enumerate(rows) if row.group == "all"),
    )


def copies(content: EvaluationContent) -> Iterable[Markup]:
    found = content.copies
    if not found:
        return
    agreement = found.agreement
    by_part = ", ".join(f"{films} of {PARTS[name]}" for name, films in found.films.items())
    yield Markup("<h3>The same films from other copies</h3>")
    yield table(
        ("", ""),
        [
            ("films", f"{agreement.films} ({by_part})"),
            ("films with other flags", f"{agreement.films_with_other_flags} ({agreement.share_with_other_flags:.3f})"),
            ("largest difference of a probability", f"{agreement.largest_difference:.4f}"),
            ("mean difference, over films and findings", f"{agreement.mean_difference:.4f}"),
            ("accuracy, of the evaluated films and of the copies", "{:.3f}, {:.3f}".format(*agreement.accuracy)),
        ],
        caption=f"Copies prepared from: {', '.join(found.sets)}",
    )


def _never_trained(content: EvaluationContent) -> Iterable[Markup]:
    """Which films that no training of the network saw were scored."""
    never_trained = content.other_films
    if not never_trained:
        return
    rows = [
        (
            f"{PLACES[films.part]}: {films.source}",
            films.films,
            films.patients,
            ", ".join(f"{reading or 'no reading'} {count}" for reading, count in films.readings.items()),
        )
        for films in never_trained.films
    ]
    yield table(("films", "films", "patients", "radiologists' reading"), rows, caption="Films beside the prepared set")
    yield paragraph(
        "No training of the network saw these films. Where the bundle has a gate, it may have been trained on them; it "
        "gives no score."
    )
    if AUXILIARY in never_trained.digests:
        yield paragraph(
            f"Held out: {never_trained.held_out:g} of the auxiliary sets' patients, in every training of this network, "
            "as its record says. Those with films in train or validation are left out, and children."
        )


def _parts(answer: Answer) -> str:
    return " + ".join(SHORT[name] for name in answer.part.split(" + "))


def _place(row: NormalsFlagged) -> str:
    return PLACES[row.part] if row.group == "all" else f"{PLACES[row.part]}, {row.group}: {row.name}"


def _share(share: Estimate) -> str:
    over = getattr(share, "bootstrap95", None)
    return estimate_text(share) + (f", patients [{over[0]:.2f}, {over[1]:.2f}]" if over else "")
