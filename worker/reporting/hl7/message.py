"""A film's result as an HL7 2.5.1 message, ORU^R01: what a RIS gets.

The same result, template and destination give the same bytes, also after a restart: the times are the result's, and
the message control ID follows from what makes it this result and from what it says. So a receiver can tell a message
that came twice.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dicom_gateway.result import FilmResult, Found
from dicom_gateway.time_zone import in_zone_of
from worker.reporting.hl7.er7 import SEGMENT_END, SEPARATORS, timestamp
from worker.reporting.hl7.template import OBSERVATION_SEGMENTS, SEGMENTS, Fields, Template, filled
from worker.reporting.hl7.values import of_message, of_observation
from worker.reporting.sent_message import identity_of
from worker.setting_values import HL7_CHARACTER_SETS

CONTROL_ID_DIGITS = 20
"""MSH-10 has 20 characters at most."""
PRELIMINARY, CORRECTION = "P", "C"
"""OBR-25 (HL7 table 0123) and OBX-11 (table 0085). Never F: no person has verified a result."""
DELETED = "D"
"""OBX-11: the observation with this OBX-3 and OBX-4 is to be deleted."""
IDENTITY = ("OBX-2", "OBX-3", "OBX-4")
"""What is sent of a deleted observation, without a value. By the last two a receiver knows which it is."""
DESCRIPTION = "O"
"""OBX-11 of what only says which study and film it is about: no result."""
Observation = tuple[str, Fields, Mapping[str, str]]
"""Its name in the template, its fields, and what their placeholders stand for."""


@dataclass(frozen=True, kw_only=True)
class MessageOptions:
    """How a site wants its messages; from the settings."""

    template: Template
    character_set: str = "UNICODE UTF-8"
    """A key of `setting_values.HL7_CHARACTER_SETS`. A character that it lacks is sent as a question mark."""
    site: str = ""
    urgent: frozenset[str] = frozenset()
    """Findings whose flag makes a result urgent."""


def oru(result: FilmResult, options: MessageOptions, *, destination: str, corrects: bool) -> bytes:
    """The message, without a frame.

    Args:
        destination: its name, a part of the message's identity.
        corrects: the result of an earlier revision of the film was sent there.
    """
    urgent = any(found.flag and found.name in options.urgent for found in result.findings)
    template, status = options.template, CORRECTION if corrects else PRELIMINARY
    priority = template.urgent if urgent else template.routine
    values = of_message(result, site=options.site, priority=priority)
    ours = {
        "MSH-7": timestamp(in_zone_of(result.film, result.at)),
        "MSH-9": "ORU^R01^ORU_R01",
        "MSH-12": "2.5.1",
        "MSH-18": options.character_set,
        "OBR-25": status,
    }
    lines = [_segment(name, template.fields, values, ours) for name in SEGMENTS if name != "MSH"]
    said = _observations(template, result, values)
    deleted = _vanished(template, result, values)
    for number, (name, fields, known) in enumerate((*said, *deleted), 1):
        of_result = DELETED if number > len(said) else status
        fixed = {"OBX-1": str(number), "OBX-11": DESCRIPTION if name in ("study", "film") else of_result}
        lines += [_segment(segment, fields, known, fixed) for segment in OBSERVATION_SEGMENTS]
    rest = "".join(line + SEGMENT_END for line in lines if line)

    def head(control: str) -> str:
        return _segment("MSH", template.fields, values, ours | {"MSH-10": control}) + SEGMENT_END

    what = f"{identity_of(result, destination)} {head('')}{rest}"
    control = hashlib.sha256(what.encode()).hexdigest()[:CONTROL_ID_DIGITS]
    return (head(control) + rest).encode(HL7_CHARACTER_SETS[options.character_set], "replace")


def control_id(message: bytes) -> str:
    """MSH-10 of a message of ours: the same for every attempt, another for every other result, destination or content.
    One that is sent again after the template was mended is another message to who receives it."""
    return message.partition(SEGMENT_END.encode())[0].split(b"|")[9].decode()


def _observations(template: Template, found: Found, values: dict[str, str]) -> list[Observation]:
    """In the order to send."""
    return [
        (name, template.of_observation[name], values | more)
        for name in template.observations
        for more in of_observation(name, found)
    ]


def _vanished(template: Template, result: FilmResult, values: dict[str, str]) -> list[Observation]:
    """What the earlier revision's messages said, and this one does not say again: a receiver that updates by OBX-3 and
    OBX-4 would keep it."""
    known = {_key(fields, these) for _, fields, these in _observations(template, result, values)}
    vanished: list[Observation] = []
    for before in result.told_before:
        for name, fields, these in _observations(template, before, values):
            if (key := _key(fields, these)) not in known:
                known.add(key)
                vanished.append((name, {field: fields[field] for field in IDENTITY if field in fields}, these))
    return vanished


def _key(fields: Fields, values: Mapping[str, str]) -> tuple[str, str]:
    return filled(fields.get("OBX-3", ""), values), filled(fields.get("OBX-4", ""), values)


def _segment(name: str, fields: Fields, values: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """One segment, "" where the template has no value for it."""
    texts = {field: filled(text, values) for field, text in fields.items() if field.startswith(f"{name}-")}
    if not any(texts.values()) and not any(field.startswith(f"{name}-") for field in ours):
        return ""
    texts |= {field: text for field, text in ours.items() if field.startswith(f"{name}-")}
    if name in ("PID", "OBR", "NTE", "TQ1"):
        texts[f"{name}-1"] = "1"
    numbered = {int(field.partition("-")[2]): text for field, text in texts.items()}
    if name == "MSH":  # MSH-1 is the separator itself
        return "MSH" + SEPARATORS + "".join(_behind(numbered, 3))
    return name + "".join(_behind(numbered, 1))


def _behind(texts: Mapping[int, str], first: int) -> Iterable[str]:
    """Each field from `first` to the last that has a value, with the separator before it."""
    last = max((number for number, text in texts.items() if text), default=0)
    return (f"|{texts.get(number, '')}" for number in range(first, last + 1))
