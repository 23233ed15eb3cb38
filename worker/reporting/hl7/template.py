"""A site's template: which field of the message holds what. The shipped one is `default.toml`; a site's own file says
what differs. What cannot be read is an error in words, before the first message."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import ConfigurationError
from worker.reporting.hl7.er7 import trimmed
from worker.reporting.hl7.values import OF_MESSAGE, OF_OBSERVATION

DEFAULT = Path(__file__).with_name("default.toml")
SEGMENTS: dict[str, int] = {"MSH": 21, "PID": 39, "PV1": 52, "ORC": 30, "OBR": 49, "NTE": 4, "TQ1": 14}
"""Of an ORU_R01 before its observations, in its order, and the last field of each in HL7 2.5.1."""
OBSERVATION_SEGMENTS: dict[str, int] = {"OBX": 25, "NTE": 4}
OURS = frozenset((
    *("MSH-1", "MSH-2", "MSH-7", "MSH-9", "MSH-10", "MSH-12", "MSH-18", "PID-1", "OBR-1", "OBR-25", "NTE-1", "TQ1-1"),
    *("OBX-1", "OBX-11"),
))  # fmt: skip
"""What no template may say: framing, identity, and that a result is preliminary."""
FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9]\d?)")
PLACEHOLDER = re.compile(r"\{([a-z_|]*)\}")
PRIORITIES = ("urgent", "routine")
KEYS = frozenset(("observations", "priority", "fields", "observation"))

Fields = Mapping[str, str]
"""From `OBR-4` to its text with placeholders."""


@dataclass(frozen=True, kw_only=True)
class Template:
    observations: tuple[str, ...]
    """Names of `OF_OBSERVATION`, in the order to send."""
    urgent: str
    routine: str
    """{priority} where a flag is up that is urgent, and otherwise."""
    fields: Fields
    of_observation: Mapping[str, Fields]


def read_template(path: Path | None = None) -> Template:
    """The shipped template, with what the file says instead. Raises ConfigurationError where it cannot be used."""
    shipped = tomllib.loads(DEFAULT.read_text(encoding="utf-8"))
    if path is None:
        return _template(shipped)
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"XRAYQ_HL7_TEMPLATE: {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"XRAYQ_HL7_TEMPLATE: {path} is no TOML file in UTF-8: {error}") from None
    try:
        return _template(_over(shipped, own))
    except ValueError as error:
        raise ConfigurationError(f"XRAYQ_HL7_TEMPLATE: {path}: {error}") from None


def filled(text: str, values: Mapping[str, str]) -> str:
    """A field's text with values for its placeholders; "" where it has some and all of them are empty."""
    found = [_first(match.group(1), values) for match in PLACEHOLDER.finditer(text)]
    if found and not any(found):
        return ""
    parts = iter(found)
    return trimmed(PLACEHOLDER.sub(lambda _: next(parts), text))


def _first(names: str, values: Mapping[str, str]) -> str:
    return next((values[name] for name in names.split("|") if values[name]), "")


def _over(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The shipped tables with a site's values in their place."""
    found = dict(shipped)
    for key, value in own.items():
        below = found.get(key)
        found[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def _template(read: dict[str, Any]) -> Template:
    if unknown := set(read) - KEYS:
        raise ValueError(f"{_listed(unknown)}: a template has {_listed(KEYS)}")
    observations = read["observations"]
    if not isinstance(observations, list) or not all(isinstance(name, str) for name in observations):
        raise ValueError("observations: should be a list of names")
    if unknown := set(observations) - set(OF_OBSERVATION):
        raise ValueError(f"observations: {_listed(unknown)}: choose from {', '.join(OF_OBSERVATION)}")
    if len(set(observations)) < len(observations):
        raise ValueError("observations: names one twice")
    priority = _texts("priority", read["priority"])
    if set(priority) != set(PRIORITIES):
        raise ValueError(f"priority: should have {_listed(PRIORITIES)}, and nothing else")
    for name, text in priority.items():
        if not re.fullmatch(r"[A-Za-z0-9^]+", text):
            raise ValueError(f"priority.{name}: should be a code such as S, or S^STAT^HL70485")
    tables = _table("observation", read["observation"])
    if unknown := set(tables) - set(OF_OBSERVATION):
        raise ValueError(f"observation.{_listed(unknown)}: choose from {', '.join(OF_OBSERVATION)}")
    return Template(
        observations=tuple(observations),
        urgent=priority["urgent"],
        routine=priority["routine"],
        fields=_fields("fields", read["fields"], SEGMENTS, OF_MESSAGE),
        of_observation={
            name: _fields(f"observation.{name}", tables[name], OBSERVATION_SEGMENTS, (*more, *OF_MESSAGE))
            for name, more in OF_OBSERVATION.items()
        },
    )


def _fields(where: str, table: Any, segments: Mapping[str, int], known: tuple[str, ...]) -> dict[str, str]:
    found = _texts(where, table)
    for name, text in found.items():
        match = FIELD.fullmatch(name)
        if match is None or match.group(1) not in segments:
            raise ValueError(f"{where}: {name}: should be like OBX-5, a field of {', '.join(segments)}")
        if int(match.group(2)) > segments[match.group(1)]:
            raise ValueError(f"{where}: {name}: {match.group(1)} ends with field {segments[match.group(1)]}")
        if name in OURS:
            raise ValueError(f"{where}: {name} is no field for a template: xrayq fills it itself")
        try:
            _check(text, known)
        except ValueError as error:
            raise ValueError(f"{where}: {name}: {error}") from None
    return found


def _check(text: str, known: tuple[str, ...]) -> None:
    """One field. Raises ValueError for an unknown placeholder, or what would break the message."""
    for match in PLACEHOLDER.finditer(text):
        for name in match.group(1).split("|"):
            if name not in known:
                raise ValueError(f"{{{name}}} is no placeholder here: choose from {', '.join(known)}")
    bare = PLACEHOLDER.sub("", text)
    if "{" in bare or "}" in bare:
        raise ValueError("has a brace that is no placeholder: they are like {accession_number}")
    if "|" in bare:
        raise ValueError("has a |, which ends a field: \\F\\ is one in a text")
    if not text.isprintable():
        raise ValueError("has a control character")
    if re.sub(r"\\[FSTRE]\\", "", bare).count("\\"):
        raise ValueError("has a backslash that begins no escape: \\E\\ is one in a text")


def _texts(where: str, table: Any) -> dict[str, str]:
    found = _table(where, table)
    for name, text in found.items():
        if not isinstance(text, str):
            raise ValueError(f"{where}: {name}: should be a text in quotes")
    return found


def _table(where: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: should be a table")
    return table


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
