"""DECIDE-AI: 17 items of its own, 28 with their parts, and 10 generic ones."""

from model.pages.guidelines import item as at
from model.pages.guidelines.item import Guideline, met, not_applicable, not_met, partly

NO_STUDY = "no clinical study was made: nobody used it in care"
NO_USERS = "no users were studied"

DECIDE_AI = Guideline(
    name="DECIDE-AI (2022)",
    source="Vasey et al., BMJ 2022;377:e070904",
    about="For the first use of a system in care. No such study was made and none may be made with it as it is. The "
    "items are listed to show what is missing.",
    items=(
        not_applicable("1", "title: an early clinical evaluation", NO_STUDY),
        not_applicable("I", "abstract", NO_STUDY),
        partly(
            "2a",
            "condition, present practice, patients",
            "findings and films are said; present practice is not",
            at.USE,
        ),
        partly(
            "2b",
            "users, place in care, hoped-for effect",
            "users are said, and that it has no place in care; no effect is claimed",
            at.USE,
        ),
        not_applicable("II", "objectives of the study", NO_STUDY),
        not_met("III", "protocol, registration, ethics approval", "none of them"),
        not_applicable("3a", "how patients were recruited", NO_STUDY),
        not_met("3b", "how users were recruited", NO_USERS),
        not_met("3c", "how users were taught", NO_USERS),
        met("4a", "the system, its version, its training and earlier performance", at.IS, at.MADE, at.MEASURED),
        met("4b", "inputs: how they come, are prepared, and fail", at.CONFORMANCE, at.ELIGIBILITY),
        met("4c", "outputs, and how users see them", "../worker/GUIDE.md#see-what-became-of-a-film", at.IGNORE),
        not_applicable("5a", "setting of the study", NO_STUDY),
        not_applicable("5b", "workflow of the study", NO_STUDY),
        not_applicable("IV", "outcomes", NO_STUDY),
        partly(
            "6a",
            "how errors and faults are defined and found",
            "of the service, not of care",
            "../worker/ALARMS.md",
            "../worker/REPORT.md",
        ),
        partly(
            "6b",
            "how risks to patients are found and lessened",
            "harms are thought of, not observed",
            at.HARMS,
            at.IGNORE,
        ),
        not_met("7", "human factors", NO_USERS),
        not_applicable("V", "analysis of the study", NO_STUDY),
        not_met("8", "methods for an ethical goal, such as fairness", "nothing evens out rates between groups"),
        not_met("VI", "involvement of patients", "none"),
        partly(
            "9a",
            "patients: characteristics, missing input",
            "of the films it was measured on, not of patients in care",
            at.WHOSE,
            at.LEFT_OUT,
        ),
        not_met("9b", "users: characteristics", NO_USERS),
        not_applicable("10a", "use, and use as meant", NO_STUDY),
        not_applicable("10b", "changes to the workflow", NO_STUDY),
        not_applicable("VII", "main results of the study", NO_STUDY),
        not_applicable("VIII", "subgroups of the study", NO_STUDY),
        not_applicable("11", "changes to the system during the study", NO_STUDY),
        not_met("12", "agreement of users with the system", NO_USERS),
        partly(
            "13a",
            "errors and faults that occurred",
            "wrong calls on test films; none of care",
            at.MEASURED,
            at.EVALUATION,
        ),
        not_applicable("13b", "harm that occurred", NO_STUDY),
        not_met("14a", "usability", NO_USERS),
        not_met("14b", "how users learn", NO_USERS),
        met("15", "do results support the intended use", at.LIMITS, at.USE),
        partly(
            "16",
            "what results say of safety",
            "wrong calls on test films, and harms that were thought of; nothing was observed in care",
            at.LIMITS,
            at.HARMS,
        ),
        met("IX", "strengths and limitations", at.LIMITS, at.INFLUENCE),
        partly(
            "17",
            "availability of data and code",
            "all of the code; of the data, sources and terms without addresses",
            at.DATA,
            at.README,
        ),
        not_met("X", "conflicts of interest and funding", "not stated"),
    ),
)
