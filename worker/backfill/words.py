"""Why a backfill rests, and why films did not come, in words: codes are kept, words are shown."""

from dicom_gateway.errors import REFUSALS, in_hexadecimal
from dicom_gateway.retrieve_answer import RETRIEVE_FAULTS, retrieve_fault_in_words
from worker.backfill.association import NO_RETRIEVAL, NOT_WRITTEN
from worker.backfill.films import NOT_ARRIVED, OTHER_OBJECT, REFUSED
from worker.backfill.options import MOST_IN_VAIN, MOST_UNSCORED, JobState
from worker.backfill.resting import NOT_NAMED, PACS_FAULT
from worker.pacs.words import fault_in_words
from worker.states import NOT_ADMITTED

NO_RELAY = "no relay works on it: start 'xrayq relay' or 'xrayq up'"
RESTS: dict[str, str] = {
    NOT_NAMED: "XRAYQ_ASK_PACS names it no more",
    "out_of_hours": "it is not one of its hours",
    "no_spool": "with --by get the relay writes into the spool, and its machine has none",
    NOT_WRITTEN: "with --by get the relay writes into the spool, and it cannot: mount the spool for writing",
    "disk": "the spool is near its reserve, which is for live films: make space",
    "quarantine": "its films land in quarantine: see 'xrayq peer quarantine', and let them in: 'xrayq peer admit AE'",
    "nothing_comes": f"{MOST_IN_VAIN} films in a row did not come: see why, mend it, then 'xrayq backfill resume'",
    "dead_letters": "films fail: 'xrayq instance list --state failed' shows them",
    "live_films": "live films wait: they come first",
    "unscored": f"{MOST_UNSCORED} of its films wait for a worker",
}
REASONS: dict[str, str] = {
    NOT_ARRIVED: "the PACS says that it sent it, and it never came: look at the address that it has of our AE title",
    OTHER_OBJECT: "what came under its UID can be no film",
    NOT_ADMITTED: "it was in quarantine, and a person rejected it",
}
STATUSES = {in_hexadecimal(refusal.status): refusal.comment for refusal in REFUSALS}


def rest_in_words(code: str, state: JobState = JobState.RUNNING) -> str:
    """ "" while it works."""
    if state is JobState.PAUSED:
        return "paused: 'xrayq backfill resume' goes on"
    if code.startswith(PACS_FAULT):
        fault = code.removeprefix(PACS_FAULT)
        if fault in RESTS:  # it was not asked, and it is no fault of it
            return RESTS[fault]
        if fault == NO_RETRIEVAL:
            return f"the PACS: {RETRIEVE_FAULTS['not_accepted']}"
        words = fault_in_words(fault)  # of a question; of a retrieval it has none
        return f"the PACS: {retrieve_fault_in_words(fault) if words == fault else words}"
    return RESTS.get(code, code)


def reason_in_words(code: str) -> str:
    """Why a film did not come."""
    if code.startswith(REFUSED):
        status = code.removeprefix(REFUSED)
        return ", ".join(filter(None, (f"refused at our door ({status}", STATUSES.get(status, "")))) + ")"
    return REASONS.get(code) or f"the PACS: {retrieve_fault_in_words(code)}"
