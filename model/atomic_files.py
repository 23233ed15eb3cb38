"""Files that are written whole: a reader, or whoever looks after a full disk, finds the old one or the new one."""

import os
from collections.abc import Mapping
from pathlib import Path


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write all of the files, in UTF-8, or none: each beside its place first, renamed when all are on the disk.

    A link stays, and what it names is replaced. A pipe or a device is written to.

    Raises:
        OSError: with the name of the file that could not be written.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            place = path.resolve()
            if place.exists() and not place.is_file():
                continue
            drafts[place] = draft = place.with_name(place.name + ".part")
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path, text in texts.items():
            if path.resolve() not in drafts:
                path.write_text(text, encoding="utf-8")
        for place, draft in drafts.items():
            draft.replace(place)
    except OSError:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise
