"""The card's tables of what an evaluation may have: these films against those, normal films flagged, other copies."""

from collections.abc import Iterable, Mapping
from typing import Any

from model.findings import SPOKEN
from model.pages.markdown import paragraph, table

Block = Mapping[str, Any]


def more_measures(measured: Block, *, gate: bool) -> Iterable[str]:
    """Of an evaluation.json, as it is written.

    Args:
        gate: whether the bundle has one.
    """
    if answers := measured.get("questions"):
        yield from ["", "### These films against those", ""]
        yield from paragraph(
            "Films against films of the same source, so that the source alone does not tell. Its films may still "
            "differ in web site, device, view or age. The AUROC says what a flag could reach with another threshold."
        )
        yield from table(["question", "films of", "score", "first", "second", "AUROC +"], map(_answer, answers))
    if rows := measured.get("normals_flagged"):
        names = list(rows[0]["flags"])
        yield from ["", "### Normal films flagged", ""]
        yield from paragraph(
            "Every flag on a normal film is a false alarm. No film is among these that the thresholds were chosen on. "
            "Brackets are exact; where patients have several films, the interval over patients follows."
        )
        yield from table(
            ["normal films", "films", "patients", "any flag", *(SPOKEN[name] for name in names)],
            (
                [_place(row), row["films"], row["patients"], _share(row["any_flag"])]
                + [_share(row["flags"][name]) for name in names]
                for row in rows
            ),
        )
    if never_trained := measured.get("other_films"):
        beside = "Films beside the prepared set, which no training of its network saw"
        its_gate = ". Its gate, which gives no score, may have been trained on them" if gate else ""
        yield ""
        yield from paragraph(f"{beside}{its_gate}:")
        yield from table(
            ["films of", "source", "films", "patients"],
            ([one["part"], one["source"], one["films"], one["patients"]] for one in never_trained["films"]),
        )
    if copies := measured.get("copies"):
        found = copies["agreement"]
        yield from ["", "### The same films from other copies", ""]
        yield from paragraph(
            f"{found['films']} films prepared again from {', '.join(copies['sets'])}: "
            f"{found['films_with_other_flags']} have other flags; a probability differs by "
            f"{found['mean_difference']:.4f} on average and by {found['largest_difference']:.4f} at most."
        )


def _answer(answer: Block) -> list[object]:
    sides = (f"{side['films']} of {side['patients']} patients" for side in (answer["positives"], answer["negatives"]))
    area = _share(answer["auroc"]) if answer["auroc"] else f"- ({answer['reason']})"
    return [answer["words"], answer["part"], answer["score"], *sides, area]


def _place(row: Block) -> str:
    return f"{row['part']}, {row['of']}" if row["group"] == "all" else f"{row['part']}, {row['group']}: {row['name']}"


def _share(share: Block) -> str:
    if share["value"] is None:
        return "-"
    over = share.get("bootstrap95")
    brackets = [share["interval95"]] if share["interval95"] else []
    text = f"{share['value']:.3f}" + "".join(f" [{low:.2f}, {high:.2f}]" for low, high in brackets)
    return text + (f", patients [{over[0]:.2f}, {over[1]:.2f}]" if over else "")
