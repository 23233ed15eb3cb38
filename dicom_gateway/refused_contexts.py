"""Presentation contexts of one association that were not accepted: who hears of them, and what a use of one is."""

from collections.abc import Mapping

from dicom_gateway.errors import Abort, AbortReason
from dicom_gateway.few_lines import FewLines
from dicom_gateway.negotiation import Accepted
from dicom_gateway.observer import USED, Observer, tell

MOST_NAMED = 10
"""Of one association that get a line in the log. A stranger may propose any number of classes."""


class RefusedContexts:
    def __init__(self, log: FewLines, observer: Observer) -> None:
        """Args: log: shared by all associations."""
        self._log = log
        self._observer = observer
        self._classes: dict[int, str] = {}
        """By id, what was proposed."""

    def tell(self, accepted: Accepted, calling_ae: str, peer: Mapping[str, object]) -> None:
        """Once for each class and what is wrong with it.

        Args:
            peer: fields of the log's lines.
        """
        self._classes = {context.context_id: context.sop_class for context in accepted.refused}
        different = list(
            dict.fromkeys((context.sop_class, context.result.name.lower()) for context in accepted.refused)
        )
        for sop_class, reason in different[:MOST_NAMED]:
            self._log.warning("presentation context refused", {**peer, "sop_class": sop_class, "reason": reason})
        if further := len(different[MOST_NAMED:]):
            self._log.warning("further presentation contexts refused", {**peer, "count": further})
        for sop_class, reason in different:
            tell(self._observer.context_refused, calling_ae, sop_class, reason)

    def used(self, context_id: int, calling_ae: str) -> Abort:
        """To raise for a message on a context that was not accepted: no status can answer there (PS3.8 9.3.8)."""
        sop_class = self._classes.get(context_id)
        if sop_class is None:
            return Abort(AbortReason.INVALID_PARAMETER, "presentation context was not proposed")
        tell(self._observer.context_refused, calling_ae, sop_class, USED)
        return Abort(AbortReason.INVALID_PARAMETER, f"presentation context was not accepted: {sop_class}")
