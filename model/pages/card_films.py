"""The card's films: which were left out, whose they are, how their labels came about, what their number allows, and the
terms they are under."""

from collections.abc import Iterable, Mapping

from model.bundle import Bundle, trunk_stories
from model.data.dataset import MORE, SPLITS
from model.data.flow import Flow
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.evaluated_films import EvaluatedFilms
from model.evaluation.people import ALL, People
from model.findings import REPORT_MINED
from model.pages.known_sources import KNOWN
from model.pages.markdown import bullets, counts_text, paragraph, table
from model.stats.binomial import interval
from model.stats.operating_points import fewest_patients

MEASURED = 0.9
"""A rate, to say how precise it would be on so many films."""
NOT_KNOWN = "not known to this project: whoever gathered the films has to say"
EARLIER = "This evaluation is of an earlier release, which did not record it: `xrayq evaluate` does."


def films_and_people(evaluation: EvaluationContent) -> Iterable[str]:
    data = evaluation.data
    trained = "every view" if data.train_views == ("all",) else f"view {', '.join(data.train_views)}"
    yield from paragraph(
        f"Prepared set {data.digest[:12]}, split by patient: nobody is in two splits. Trained on films of "
        f"{trained}; val "
        f"and test are measured on view {', '.join(data.views)}. All of it is retrospective: films are what could "
        f"be had, "
        "no consecutive or random series of any hospital. Race, hospital, device and the reason for the film are "
        "not in "
        "the data. What is missing is not filled in: a film whose view is not said counts as of no view, and a patient "
        "whose age is not said counts as an adult."
    )
    yield from _flow(data.flow)
    yield from ["### Whose films", ""]
    people = data.people
    if people is None:
        yield from paragraph(EARLIER)
    else:
        yield from table(
            ["part", "class", "films", "patients", "age: median (quartiles), of", "sex (patients)", "views", "sources"],
            (
                [part, name, one.films, one.patients, _age(one), *map(counts_text, (one.sex, one.views, one.sources))]
                for part in (*SPLITS, "test_all", MORE)
                for name in (ALL, *evaluation.bundle.findings)
                if (one := people.get(part, {}).get(name))
            ),
        )
        yield ""
    yield from ["### Sources by class", ""]
    yield from paragraph("Where a class has a source of its own, it can be recognised by its source. All views.")
    yield from table(
        ["split", "source", *evaluation.bundle.findings],
        (
            [split, source or "not said", *(counts.get(name, 0) for name in evaluation.bundle.findings)]
            for split in (*SPLITS, MORE)
            for source, counts in data.sources.get(split, {}).items()
        ),
    )
    yield from ["", "### Sample size", ""]
    yield from _sample_size(evaluation)


def _flow(flow: Flow | None) -> Iterable[str]:
    yield from ["### Films left out", ""]
    if flow is None:
        yield from paragraph(f"By `xrayq prepare`: not recorded with these films. {EARLIER.partition(':')[0]}.")
        return
    yield from table(
        ["", "films"],
        [
            ["listed", flow.listed],
            *([f"left out: {reason}", count] for reason, count in sorted(flow.left_out.items())),
            ["**prepared**", flow.prepared],
        ],
    )
    yield from ["", *paragraph("What whoever gathered the films had left out before is not in these numbers.")]


def _age(group: People) -> str:
    age = group.age
    if age.median is None or age.quartiles is None:
        return "not known"
    return f"{age.median:g} ({age.quartiles[0]:g} to {age.quartiles[1]:g}), {age.known}"


def _sample_size(evaluation: EvaluationContent) -> Iterable[str]:
    test, val = evaluation.parts["test"], evaluation.parts["val"]
    yield from paragraph(
        "No number of films was set beforehand. What the numbers allow: a rate of "
        f"{MEASURED:.2f} measured on so many test films has this exact 95 % interval. A threshold that is to keep "
        f".90 with "
        f"95 % confidence takes {fewest_patients(0.9)} patients or more, .95 takes {fewest_patients(0.95)}."
    )
    counts = {name: (test.films.get(name, 0), val.films.get(name, 0)) for name in evaluation.bundle.findings}
    counts["all"] = (sum(test.films.values()), sum(val.films.values()))
    yield from table(
        ["class", "val films (thresholds)", "test films", f"interval of {MEASURED:.2f} on these"],
        ([name, chosen, films, _interval(films)] for name, (films, chosen) in counts.items()),
    )
    yield from [
        "",
        *paragraph(
            f"{val.patients} patients in val, {test.patients} in test. Differences smaller than these intervals mean "
            "nothing."
        ),
    ]


def _interval(films: int) -> str:
    low, high = interval(round(MEASURED * films), films)
    return f"{low:.2f} to {high:.2f}" if films else "no films"


def reference_standard(evaluation: EvaluationContent) -> Iterable[str]:
    data = evaluation.data
    yield from paragraph(
        "The label of a film is what the network is judged by. No one read films for this project: labels are "
        "those that "
        "came with the films, and no two readers were compared. Nobody was blinded, because nobody read."
    )
    bases = _bases(data)
    yield from table(
        ["source", "how labels came about", "readers", "basis of the labels: films of every part"],
        (
            [
                source,
                KNOWN[source].labels if source in KNOWN else NOT_KNOWN,
                KNOWN[source].readers if source in KNOWN else NOT_KNOWN,
                counts_text(bases.get(source, {})) or "not recorded",
            ]
            for source in sources_of(data)
        ),
    )
    yield ""
    if any(basis in REPORT_MINED for counts in bases.values() for basis in counts) or _mined_slice(evaluation):
        yield from paragraph(
            "Report-mined labels are measured apart above (slice label: report-mined). A high rate on them is "
            "agreement with "
            "a program, not with a reader."
        )


def _mined_slice(evaluation: EvaluationContent) -> bool:
    return any((part.group, part.name) == ("label", "report-mined") for part in evaluation.slices)


def sources_of(data: EvaluatedFilms) -> list[str]:
    return sorted({source or "not said" for by_source in data.sources.values() for source in by_source})


def _bases(data: EvaluatedFilms) -> dict[str, dict[str, int]]:
    """Source -> basis -> films of every part, all views where the part has a row for them."""
    found: dict[str, dict[str, int]] = {}
    people = data.people or {}
    for part in ("train", "val", "test_all" if "test_all" in people else "test", "more"):
        for source, counts in people[part][ALL].bases.items() if part in people else ():
            own = found.setdefault(source, {})
            for basis, films in counts.items():
                own[basis] = own.get(basis, 0) + films
    return found


def data_and_licences(bundle: Bundle, evaluation: EvaluationContent) -> Iterable[str]:
    yield from paragraph("No film is part of this project.")
    yield from table(
        ["source", "what", "terms as stated"],
        (
            [source, KNOWN[source].what, KNOWN[source].terms] if source in KNOWN else [source, NOT_KNOWN, NOT_KNOWN]
            for source in sources_of(evaluation.data)
        ),
    )
    yield ""
    stories = list(_stories(trunk_stories(bundle)))
    if stories:
        yield from ["Before that, the network's trunk:", "", *bullets(stories), ""]
    flow = evaluation.data.flow
    if flow:
        yield from table(["licence as stated, of each film", "films"], flow.licences.items())
        yield ""
    yield from paragraph(
        "**The weights are for research only**: some films that they learned from may not be used commercially, "
        "or state no "
        "terms at all. Whoever needs other weights trains them on other films: `xrayq prepare FOLDER --list-licences` "
        'counts films by licence, `--licences "CC BY" --without-licences NC` or `--sources` chooses among them, and '
        "[TRAINING.md](TRAINING.md#from-films-to-a-bundle-whole) has the rest of the way."
    )


def _stories(stories: Iterable[Mapping[str, object]]) -> Iterable[str]:
    for story in stories:
        if "films" not in story:
            licence = story.get("licence") or "not said"
            yield f"converted from {story.get('checkpoint', 'a checkpoint')}; its licence: {licence}"
            continue
        labels = story.get("labels")
        names = sorted({str(label).partition(":")[0] for label in labels}) if isinstance(labels, list) else []
        known = "; ".join(
            f"{name}: {KNOWN[name].what} ({KNOWN[name].terms})" if name in KNOWN else name for name in names
        )
        yield f"trained on {story['films']:,} films with labels of {known or 'sources that are not said'}"
