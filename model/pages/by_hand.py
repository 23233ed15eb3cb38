"""Figures that no command measures, with their day, by the digest of the bundle that they are of. A card shows those of
its own bundle alone, so that none outlives it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ByHand:
    int8: str = ""
    gate: str = ""


MEASURED = {
    "b8725e3fcb5ff841ac61c0b344bb80e68f2942e0dc5e6db97bbbe214a7cdc7da": ByHand(
        int8="Int8 is less steady than fp32. One grey level more or less in one pixel of a hundred, drawn five "
        "times for "
        "each of the 189 validation films, moved a probability by .038 at most and by less than .02 in 95 % of films; "
        "in fp32 by .004 at most (2026-11-28).",
        gate="Time on one core of a shared virtual machine (AMD EPYC), gate and int8 inference: 0.9 and 32 ms a "
        "film on "
        "2026-11-23, 0.3 and 15 ms on 2026-11-28.",
    ),
}
NOTHING = ByHand()
