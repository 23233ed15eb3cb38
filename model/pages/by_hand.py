"""Figures that no command measures, with their day, by the digest of the bundle that they are of. A card shows those of
its own bundle alone, so that none outlives it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ByHand:
    int8: str = ""
    gate: str = ""


MEASURED = {
    "cf5768ee0a9e86a148ce47b1ae01f229194d653694277132a562319c72a51fe3": ByHand(
        int8="Int8 is less steady than fp32. One grey level more or less in one pixel of a hundred, drawn five times "
        "for each of the 424 validation films, moved a probability by .035 at most and by less than .02 in 95 % of "
        "films; in fp32 by .011 at most (2026-11-28).",
    ),
}
NOTHING = ByHand()
