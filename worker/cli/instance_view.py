"""What `xrayq instance` prints of instances and their scores."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    from worker.db.scores import ScoreView
    from worker.instances import InstanceView

STATE_STYLES = {
    "quarantined": "magenta",
    "scored": "green",
    "reported": "green",
    "ineligible": "yellow",
    "failed": "red",
    "received": "cyan",
}
ALIKE = "of films like it"
WHOLE_UID = 200
"""Columns from which a list shows the whole UID."""


def print_score(console: "Console", score: "ScoreView") -> None:
    """What one bundle says of a film."""
    from worker.cli.console import print_rows
    from worker.words import flags_text

    said = flags_text(score.flags, score.unsure)
    device = f", calibrated for device {score.device}" if score.device else ""
    console.print(f"{score.role} score, bundle {score.bundle_digest[:12]}, {score.engine}{device}: {said}")
    rows = []
    for name, finding in score.findings.items():
        interval, threshold = finding.interval, finding.operating_point
        rows.append(
            (
                name,
                f"{finding.logit:.4f}",
                f"{finding.probability:.4f}",
                f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-",
                "-" if threshold is None else f"{threshold:.4f}",
                finding.operating_point_id or "-",
                "yes" if finding.flag else "",
            )
        )
    headings = ("finding", "logit", "probability", ALIKE, "flag at or over", "operating point", "flag")
    print_rows(console, headings, rows, drops=("logit", "operating point"))
    if score.prediction_set is not None:
        console.print(f"  prediction set: {set_text(score.prediction_set)}")
    if score.notes:
        console.print(f"  scored in spite of: {', '.join(score.notes)}")


def set_text(prediction_set: "Sequence[str]") -> str:
    """The findings of a set, and whether they leave the film unsure."""
    from model.conformal import unsure

    findings = ", ".join(prediction_set) or "nothing, the film is unlike those it was calibrated on"
    return f"{findings}{'; unsure' if unsure(prediction_set) else ''}"


def print_table(console: "Console", views: "list[InstanceView]") -> None:
    """The instances, one a row. What came again is marked: beside it where the terminal is wide, else below."""
    from rich.text import Text

    from dicom_gateway.revision import spoken
    from worker.cli.console import print_rows
    from worker.words import flags_text

    def mark_of(view: "InstanceView") -> Text:
        changed = [f"changed: {spoken(view.identity_changed)}"] if view.identity_changed else []
        return Text("; ".join(changed + ([f"replaced by {view.replaced_by}"] if view.replaced_by else [])), "red")

    marks = [mark_of(view) for view in views]
    wide = console.width >= WHOLE_UID
    marked = ("came again",) if wide and any(map(str, marks)) else ()
    findings = next((list(view.probabilities) for view in views if view.probabilities), [])
    headings = ("id", "SOP Instance UID", "rev", "from", "view", "state", "reason", *marked, *findings, "flags")
    rows: list[tuple[str | Text, ...]] = [
        (
            str(view.id),
            view.sop_instance_uid if wide else short_uid(view.sop_instance_uid),
            _revision(view),
            f"{view.calling_ae}, backfill" if view.backfilled else view.calling_ae,
            view.view or "-",
            styled(view.state),
            reason_text(view),
            *([mark] if marked else []),
            *(f"{view.probabilities[finding]:.3f}" if view.probabilities else "" for finding in findings),
            flags_text(view.flags, bool(view.unsure)) if view.flags is not None else "",
        )
        for view, mark in zip(views, marks, strict=True)
    ]
    print_rows(console, headings, rows, folds=marked, drops=("SOP Instance UID", "from", "view", "rev", *findings))
    for view, mark in zip(views, marks, strict=True):
        if mark and not wide:
            console.print(Text.assemble(f"instance {view.id} ", mark))


def _revision(view: "InstanceView") -> str:
    """The number counts whatever came under the UID; what was never let in, or is a duplicate, is no revision."""
    from worker.states import DUPLICATE, NOT_ADMITTED, State

    none = view.state == State.QUARANTINED or view.reason in (DUPLICATE, NOT_ADMITTED)
    return "-" if none else str(view.revision)


def reason_text(view: "InstanceView") -> str:
    """With what it is, where it is no film."""
    from worker.states import NOT_A_FILM

    return f"{NOT_A_FILM}: {view.modality or view.sop_class}" if view.reason == NOT_A_FILM else view.reason or ""


def styled(state: str) -> "Text":
    from rich.text import Text

    return Text(state, STATE_STYLES.get(state, ""))


def short_uid(uid: str) -> str:
    return uid if len(uid) <= 28 else f"{uid[:12]}…{uid[-14:]}"
