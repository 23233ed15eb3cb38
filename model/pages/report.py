"""report.html: an evaluation as one page, in the order in which a reader asks."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from model.activation_map import ActivationMaps
from model.evaluation.evaluate import Evaluation, EvaluationContent
from model.evaluation.scored import CalledFilm
from model.findings import SPOKEN
from model.heat import overlay, placed
from model.notice import MEASURES_NOTICE
from model.pages import cells, figures, questions, sections, slices
from model.pages.forest import Line, forest
from model.pages.html import figure, film, films, page, paragraph, section, table
from model.pages.texts import number_text, value_text
from model.pages.verdicts import verdicts
from model.stats.estimate import Estimate

EXAMPLES = 6
SECTIONS = (
    ("short", "In short"),
    ("claims", "What it can and cannot do"),
    ("films", "The films"),
    ("calls", "Right and wrong calls"),
    ("curves", "Ranking: ROC and precision-recall"),
    ("calibration", "Probabilities and flags"),
    ("questions", "The questions that matter"),
    ("normals", "Normal films that are flagged"),
    ("slices", "Slices"),
    ("origin", "Disease or origin?"),
    ("paper", "Beside the 2020 paper"),
    ("learning", "Learning curve"),
    ("studies", "Studies"),
    ("wrong", "Films called wrongly, one by one"),
    ("right", "Films called rightly, most confident"),
    ("made", "How it was made"),
)


def render(evaluation: Evaluation, maps: ActivationMaps) -> str:
    """The whole page; the same evaluation gives the same text."""
    content = evaluation.content
    bundle = content.bundle
    built = {
        "short": _short(content),
        "claims": _claims(content),
        "films": _films(evaluation),
        "calls": sections.calls(content),
        "curves": sections.ranking(content),
        "calibration": sections.calibration(content),
        "questions": questions.questions(content),
        "normals": questions.normals(content),
        "slices": slices.slices(content),
        "origin": sections.origin(content),
        **({"paper": sections.paper(content, content.paper)} if content.paper else {}),
        "learning": sections.learning(content),
        "studies": sections.studies(content),
        "wrong": _wrong(evaluation, maps),
        "right": _right(evaluation, maps),
        "made": _made(content),
    }
    shown = [(anchor, title) for anchor, title in SECTIONS if anchor in built]
    links = (Markup('<a href="#{}">{}</a>').format(anchor, title) for anchor, title in shown)
    head = Markup(
        "<h1>Evaluation of bundle {name} {version}</h1>"
        '<p class="quiet">Bundle {digest}, data {films}, scored by {engine}. Brackets are 95 % intervals: exact for '
        "shares of films, over patients for the rest.</p><nav>{links}</nav>"
    ).format(
        name=bundle.name,
        version=bundle.version,
        digest=bundle.digest[:12],
        films=content.data.digest[:12],
        engine=cells.engine_of(content),
        links=Markup("").join(links),
    )
    body = [head, *(section(anchor, title, *built[anchor]) for anchor, title in shown)]
    return page(f"Evaluation of {bundle.name} {bundle.version}", MEASURES_NOTICE, body)


def _short(content: EvaluationContent) -> Iterable[Markup]:
    test, rivals, paper = content.parts["test"], content.baselines, content.paper
    views, findings = cells.views_of(content), content.bundle.findings
    tiles = [
        ("Accuracy", test.summary.accuracy),
        ("Balanced accuracy", test.summary.balanced),
        *((f"AUROC, {SPOKEN[name]}", test.curves[name].roc.auroc) for name in findings),
        ("Calibration error", test.reliability.after.scores[0]),
    ]
    yield paragraph(
        f"{test.summary.films} test films of {test.patients} patients, view {views}; all figures of this "
        "section are on these unless they say otherwise. Epoch, temperature and flags were chosen on validation films."
    )
    yield Markup('<div class="tiles">{}</div>').format(Markup("").join(_tile(name, value) for name, value in tiles))
    own_views = rivals.svm_own_views
    named: list[tuple[str, cells.Rated, str]] = [
        ("This network", test.summary, "strong"),
        ("SVM, same training films", rivals.svm.test.summary, ""),
        *([(f"SVM, training films of view {views}", own_views.test.summary, "")] if own_views else []),
        ("Source statistics, no lung seen", rivals.shortcut.test.summary, ""),
        ("Random guess, one draw", rivals.random["test"].summary, ""),
    ]
    if rivals.covidnet:
        named.append(("COVID-Net, published (other films)", rivals.covidnet, "hollow"))
    if paper:
        theirs = cells.published(paper.cnn["test"], paper.films["test"])
        named.append(("The paper's CNN, published (other films)", theirs, "hollow"))
    lines = [
        Line(
            name=name,
            estimates=(rated.accuracy, rated.balanced, rated.recall[findings[-1]]),
            strong=kind == "strong",
            hollow=kind == "hollow",
        )
        for name, rated, kind in named
    ]
    chart = forest(
        ("accuracy", "balanced accuracy", f"recall of {SPOKEN[findings[-1]]}"),
        lines,
        reference=(None, 1 / len(findings), 1 / len(findings)),
        what="This network beside what it must beat",
    )
    yield figure(
        chart, f"Filled: on our test films. {'Hollow: published, on other films. ' if paper else ''}Dotted: guessing."
    )
    rows = [cells.row(name, rated) for name, rated, _ in named]
    yield table(
        cells.columns_of(content, "", "n"), rows, caption="The same, and recall and precision", strong=frozenset({0})
    )
    if paper:
        yield paragraph(
            "Intervals of published figures are ours, exact, from the number of films they rest on.", "quiet"
        )


def _claims(content: EvaluationContent) -> Iterable[Markup]:
    rows = [(claim.text, Markup("<b>{}</b>").format(claim.verdict), claim.evidence) for claim in verdicts(content)]
    made = table(("claim", "verdict", "evidence"), rows, caption="Each verdict follows from the interval in its row")
    yield Markup('<div class="prose">{}</div>').format(made)
    films = (
        ", the labels are partly words mined from reports, and all COVID-19 films are from the first months of 2020"
        if content.paper
        else ""
    )
    yield paragraph(
        "It is for research on posteroanterior films of adults. It must not be used to find, rule out or follow "
        f"disease in a person: no clinical study was made{films}."
    )


def _films(evaluation: Evaluation) -> Iterable[Markup]:
    content, scored = evaluation.content, evaluation.scored
    basis, views = content.data, cells.views_of(content)
    yield figure(
        figures.distribution(basis.films, basis.views, content.bundle.findings),
        f"Films of each class. Solid: view {views}, which validation and test are measured on. Hatched: other views. "
        f"Trained on: {', '.join(basis.train_views)}.",
    )
    yield sections.tally("view", basis.films, content.bundle.findings, "Class distribution, films by view")
    yield sections.tally(
        "source",
        basis.sources,
        content.bundle.findings,
        "Films by source, all views: a class with a source of its own can be recognised by its source",
    )
    test = scored.where(lambda film: film.part == "test" and (basis.views == ("all",) or film.view in basis.views))
    for index, name in enumerate(content.bundle.findings):
        rows_of = np.flatnonzero(test.labels == index)
        spread = rows_of[np.unique(np.linspace(0, len(rows_of) - 1, EXAMPLES).astype(int))]
        yield Markup("<h3>Example films: {}</h3>").format(SPOKEN[name])
        images = test.films.take(spread)
        records = [test.films.records[row] for row in spread]
        yield films(
            film(
                [(image[0], f"Test film {record.identifier}, {SPOKEN[name]}")], f"{record.identifier}, {record.source}"
            )
            for image, record in zip(images, records, strict=True)
        )
    yield paragraph("Test films at even steps by name, as the network sees them: cropped, shrunk, stretched.", "quiet")


def _wrong(evaluation: Evaluation, maps: ActivationMaps) -> Iterable[Markup]:
    entries = evaluation.content.wrong
    of = evaluation.content.parts["test"].summary.films
    if not entries:
        yield paragraph(f"None of {of} test films.")
        return
    yield paragraph(
        f"{len(entries)} of {of} test films: {_pairs(entries)}. Most confident first. Each: the film as the network "
        "sees it; where its last feature map spoke for the class it called; where it spoke for the true class. "
        "Brighter colours are more, the white line is half of the most. A map is what each place adds to the class's "
        "logit, where that is more than nothing (class activation map, Zhou et al. 2016; HiResCAM, Draelos and Carin "
        "2020; in fp32). It shows where, never why. The head leaves out the feature map's last row and column: "
        "beyond the grey line there is no map."
    )
    yield films(_explained(evaluation, maps, entries, both=True), "triples")


def _right(evaluation: Evaluation, maps: ActivationMaps) -> Iterable[Markup]:
    yield paragraph("Film, and where the map spoke for the class. Right for a wrong reason shows here, if anywhere.")
    for name, entries in evaluation.content.right.items():
        yield Markup("<h3>{}</h3>").format(SPOKEN[name])
        if entries:
            yield films(_explained(evaluation, maps, entries, both=False), "pairs")
        else:
            yield paragraph("None was called rightly.")


def _explained(
    evaluation: Evaluation, maps: ActivationMaps, entries: Sequence[CalledFilm], *, both: bool
) -> Iterable[Markup]:
    place = {name: row for row, name in enumerate(evaluation.scored.films.identifiers)}
    for entry in entries:
        image = evaluation.scored.films.take(np.array([place[entry.identifier]]))
        name, truth, called = entry.identifier, entry.label, entry.called
        pictures = [(image[0, 0], f"Film {name}, {SPOKEN[truth]}, called {SPOKEN[called]}")]
        explained = (called, truth) if both else (called,)
        (found,) = maps.of(image)
        for finding in explained:
            heat = placed(found.evidence(finding), found.lattice, *image.shape[2:])
            alt = f"Activation map of {name} for {SPOKEN[finding]}, strongest {_where(heat)}"
            pictures.append((overlay(image[0, 0], heat), alt))
        chances = ", ".join(f"{SPOKEN[finding]} {chance:.2f}" for finding, chance in entry.probabilities.items())
        verdict = Markup("<b>{}</b>").format(SPOKEN[truth])
        if both:
            verdict += Markup(", called <b>{}</b>").format(SPOKEN[called])
        said = _said(entry)
        about = f". {chances}; {said}. {name}, {entry.source}, label: {entry.label_basis or 'not said'}"
        yield film(pictures, verdict + about)


def _said(entry: CalledFilm) -> str:
    """Its flags, and whether it is unsure."""
    flags = ", ".join(SPOKEN.get(name, name) for name in entry.flags or ())
    return f"{f'flagged {flags}' if flags else 'no flag'}{', unsure' if entry.unsure else ''}"


def _pairs(entries: Sequence[CalledFilm]) -> str:
    counts = Counter((entry.label, entry.called) for entry in entries)
    return ", ".join(
        f"{count} {SPOKEN[label]} called {SPOKEN[called]}" for (label, called), count in counts.most_common()
    )


def _made(content: EvaluationContent) -> Iterable[Markup]:
    bundle, basis = content.bundle, content.data
    made = bundle.provenance
    if not basis.trained_on:
        yield paragraph(
            "The bundle names another digest of its data than these films have: it was trained on other films, or on "
            "these as an earlier version prepared them. In the first case check that no test patient was trained on."
        )
    facts = [
        ("bundle", f"{bundle.name} {bundle.version}, SHA-256 {bundle.digest}"),
        ("these films", f"digest {basis.digest}, the bundle's: {made.get('data_digest', 'not said')}"),
        ("patients", ", ".join(f"{name} {count}" for name, count in basis.patients.items())),
        ("engine", cells.engine_of(content)),
        *(
            (key.replace("_", " "), value_text(value))
            for key, value in made.items()
            if key not in ("history", "recipe")
        ),
    ]
    inner = table(("", ""), facts, caption="Bundle, films and training run")
    yield Markup('<div class="prose">{}</div>').format(inner)
    yield Markup("<h3>Recipe</h3>")
    yield Markup("<pre>{}</pre>").format(json.dumps(made.get("recipe", {}), indent=1, sort_keys=True))
    yield paragraph(
        "Again: xrayq prepare FILMS --views all, then xrayq evaluate BUNDLE. The JSON is the same each time."
    )


def _tile(name: str, estimate: Estimate) -> Markup:
    bounds = estimate.interval95
    below = f"95 %: {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else Markup("&nbsp;")
    return Markup('<div class="tile"><span>{}</span><b>{}</b><span>{}</span></div>').format(
        name, number_text(estimate.value), below
    )


def _where(heat: Any) -> str:
    if not np.nanmax(heat) > 0:
        return "nowhere"
    row, column = np.unravel_index(int(np.nanargmax(heat)), heat.shape)
    third = [min(2, int(3 * at / size)) for at, size in zip((row, column), heat.shape, strict=True)]
    return f"{('top', 'middle', 'bottom')[third[0]]} {('left', 'centre', 'right')[third[1]]} of the picture"
