"""What the card says of any bundle: whom it is for, when to leave a score alone, what harm it can do, and which choices
had the test films in view. Nothing here is a figure of a bundle."""

USERS = (
    "**Users**: engineers, physicists, PACS administrators and researchers who judge how a scoring service behaves. No "
    "clinician was asked to use it, and no study with readers was made.",
    "**Setting**: beside a PACS, on copies of films. No result goes back to the PACS or into a worklist, and "
    "nothing that happens to a patient may depend on one.",
    "**Not for**: finding, ruling out or following disease in a person; triage; the order of a worklist; screening; "
    "children; lateral and bedside films; any view that it is not measured on.",
)
"""Then come films and answers, which are the bundle's own."""

EMPTY_SET = ("its prediction set is empty", "the film is unlike the calibration films of every finding")
IGNORE = (
    ("the film has no score (ineligible, failed)", "nothing was looked at: no score is not a normal film"),
    ("it is **unsure**", "its prediction set holds several findings, or none: it does not know which"),
    EMPTY_SET,
    (
        "the interval beside the probability spans the threshold",
        "the share of films like it that have the finding may lie on either side of the threshold",
    ),
    (
        "the bundle was not calibrated on your films",
        "thresholds and probabilities hold for films like those of its own "
        "calibration: [CALIBRATION.md](CALIBRATION.md)",
    ),
    (
        "an alarm for drift or for a rate is open",
        "films or scores are no longer what they were, and nobody knows why yet",
    ),
    (
        "something else is on the film: a device, a tumour, tuberculosis, effusion, pneumothorax, a state after "
        "surgery",
        "it knows its own findings alone and shares out 1 among them, whatever it sees",
    ),
    (
        "the film has a note on its display, or no View Position",
        "its grey values or its view were guessed from the pixels",
    ),
    ("no flag is up", "that rules nothing out: the sensitivity of each flag says how many it misses"),
)
"""What one sees, and why the score says nothing then."""

HARMS = (
    ("a finding is missed", "somebody trusts a film without a flag", "sensitivity and NPV of each flag, above"),
    (
        "a normal film is flagged",
        "time, and further tests that nobody needed; at low prevalence most flags are wrong",
        "the share of normal films flagged, PPV at 1, 5 and 20 %, and what each flag promises, above",
    ),
    (
        "people lean on it",
        "a probability looks more certain than it is",
        "unsure is shown wherever a score is; `xrayq instance show` has an interval beside each probability; no result "
        "reaches a worklist",
    ),
    (
        "it reads the origin instead of the disease",
        "findings come from different sources of films, and a hospital's own films are another source",
        "the tables by source, the rivals that see no lung, and what is flagged on sources that no training had",
    ),
    (
        "it serves some people worse",
        "too few films of them, or another mix of findings among them in training",
        "films by age and sex, and rates by group where they were measured; nothing was done to even them out",
    ),
    (
        "it goes stale",
        "devices, populations and diseases change",
        "drift and live rates are watched; a bundle is never changed in place",
    ),
)
"""What may happen, how, and what is shown or done against it."""

INTERVALS = """Brackets are 95 % intervals. Shares of films: exact (Clopper-Pearson), as if films were independent.
Marked +: over patients, whose films are not. AUROC: DeLong's variance by patient, carried to other areas by Hanley
and McNeil's formula (Newcombe's method 5). Balanced accuracy: the scatter of a bootstrap over patients, on the logit
scale. ECE: calibration error of the called class's probability beyond what chance explains, 0 where chance explains
all of it; a bootstrap over patients, read backwards, says which errors would show as much."""
EARLIER_INTERVALS = """Brackets are 95 % intervals. Shares of films: exact (Clopper-Pearson), as if films were
independent. Marked +: over patients, whose films are not. This evaluation is of an earlier release: these are
percentile intervals of a bootstrap, which cover too little near 0 and 1 and where patients are few, and ECE
(calibration error of the called class's probability) holds the error that chance alone shows in so many bins. `xrayq
evaluate` of this release gives better ones."""
"""Where `ece_in_bins` is not in the evaluation."""

PREDICTIVE = """PPV: share of the flagged films that have the finding, where so many films have it. NPV: share of the
others that do not. Their intervals are MOVER-R, from the exact intervals of both rates, with the prevalence taken as
known. Unsure: the prediction set is not exactly one finding."""

CALLS_AND_FLAGS = """Accuracy, recall and precision are of the likeliest finding. A flag is a threshold of its own: the
likeliest finding may have no flag, and one flag may be up without the other."""

GATE_LIMITS = """**View from pixels depends on the source of a film** (table by source above). Sources differ in their
labels, so where the gate refuses the films of one source it refuses one finding more often than another. Send View
Position (0018,5101): then the pixels decide less. No lateral film and no photograph was learned from or measured; a
lateral film may pass. Mirrored films are not looked for: the scoring network is trained on both sides."""

PROJECT_TRIALS = (
    (
        "start, added films, weights of labels and sources",
        "validation films, by the recipe's own training",
        "yes: in trials before it, test accuracy was seen beside that of validation, and some of these choices "
        "raised it",
    ),
    (
        "which findings have flags, and the targets of .90 and .95",
        "nobody's films",
        "yes: the targets were set after flags of an earlier network on the same test films had been seen; the "
        "thresholds themselves were not",
    ),
    (
        "that the calibration leaves no film out",
        "nobody's films: it is the default",
        "yes: a calibration without mined pneumonias was tried, and given up when its sets held too few of the test "
        "films' pneumonias",
    ),
    (
        "the prior of vector scaling (standard deviation .5)",
        "nobody's films",
        "yes: it was set after test films had been seen once. Where the logits are left as they are it has no part",
    ),
    (
        "studies of this card that print test accuracy",
        "validation films",
        "no choice was made in them, but whoever made the next recipe had seen them",
    ),
    (
        "the calibration study",
        "validation and test films together, halved again and again",
        "yes, all of it: it judges the method, and nothing in a bundle comes from it",
    ),
    (
        "that this network is the one shipped",
        "validation films",
        "each release's network was measured on the same test films: the best of several looks better there than it is",
    ),
)
"""Choices of this project on its own films: what decided, and whether test films may have had a say."""
