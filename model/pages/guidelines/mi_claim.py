"""MI-CLAIM: a check-list in six parts. Its lines have no numbers; here they are counted in each part."""

from model.pages.guidelines import item as at
from model.pages.guidelines.item import Guideline, met, not_met, partly

MI_CLAIM = Guideline(
    name="MI-CLAIM (2020)",
    source="Norgeot et al., Nature Medicine 2020;26:1320",
    about="Minimum information about clinical AI modelling. The check-list has one block for parts 2 and 3. Its lines "
    "have no numbers of their own: 4.2 is the second line of part 4.",
    items=(
        partly(
            "1.1",
            "study design: the clinical problem",
            "what it is for and not for is said; the clinical problem is not described",
            at.USE,
        ),
        met("1.2", "study design: the question", at.IS, at.USE),
        partly(
            "1.3",
            "study design: who is in training and test",
            "age, sex, view and source; nothing clinical is in the data",
            at.WHOSE,
        ),
        not_met(
            "1.4",
            "study design: cohorts like those of real care",
            "films are what could be had; no hospital's own series",
        ),
        partly(
            "1.5",
            "study design: the baseline to compare with",
            "an SVM, source statistics and a student paper's figure; no network of others was measured on these films",
            at.MEASURED,
            "evaluation/rivals.py",
        ),
        met("2-3.1", "data: origin and format", at.DATA, at.FILMS),
        met("2-3.2", "data: transformations", at.IS, at.CONFORMANCE),
        partly(
            "2-3.3",
            "data: independence of training and test",
            "patients are exclusive by the data's own ids, and look-alikes are searched for; sources overlap",
            at.PEOPLE,
            "data/look_alikes.py",
        ),
        partly(
            "2-3.4",
            "optimisation: code that chose; of the models tried, the last ones",
            at.TRAINING,
            "training/candidates.py",
        ),
        met("2-3.5", "data: structured or not (images)", at.IS),
        not_met("4.1", "performance: primary metric, and why", "many are shown and none is called primary"),
        partly(
            "4.2",
            "performance: metric of clinical use, and why",
            "PPV and NPV at stated prevalences, without a reason for them; no outcome of care was measured",
            at.MEASURED,
            at.PREVALENCE,
        ),
        met("4.3", "performance: against the baseline, with significance", at.MEASURED),
        met("5.1", "examination: first technique (activation maps)", at.EVALUATION, "activation_map.py"),
        met("5.2", "examination: second technique (source statistics, slices)", at.MEASURED, "evaluation/baselines.py"),
        partly(
            "5.3",
            "examination: what it says of performance",
            "of source statistics and slices; of the maps nothing",
            at.LIMITS,
            "pages/verdicts.py",
        ),
        partly(
            "5.4",
            "examination: of single cases",
            "wrong films are shown one by one, each with a map; what a map can tell of a single film is not discussed",
            at.EVALUATION,
        ),
        partly(
            "5.5",
            "examination: when the data shift",
            "how a shift is noticed is said, and what it does on other sources; no other shift was tried on the scores",
            at.LIMITS,
            at.MEASURED,
            at.DRIFT,
        ),
        met("6", "reproducibility: tier 1, all of the code is open", at.README, at.WHOLE, at.MADE),
    ),
)
