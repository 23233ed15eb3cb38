"""What a receiver says to a message: MSA and ERR of an acknowledgement (HL7 2.5.1, 2.9.2 and 2.15).

The standard has AE for a fault of the content and AR for one of the system, which is likely to be over later; half of
the receivers have it the other way round, and an AE of a RIS is often a patient or an order that reaches it a minute
later. So neither is the end: whatever is no acceptance is sent again, until the result is too old.
"""

import re
from dataclasses import dataclass

ACCEPTED = ("AA", "CA")
MEANINGS = {
    "AE": "application error",
    "AR": "application reject",
    "CE": "commit error",
    "CR": "commit reject",
}
"""HL7 table 0008."""
ERRORS = {
    "100": "segment sequence error",
    "101": "required field missing",
    "102": "data type error",
    "103": "table value not found",
    "200": "unsupported message type",
    "201": "unsupported event code",
    "202": "unsupported processing id",
    "203": "unsupported version id",
    "204": "unknown key identifier, such as a patient or an order",
    "205": "duplicate key identifier",
    "206": "application record locked",
    "207": "application internal error",
}
"""HL7 table 0357, of ERR-3."""
LONGEST = 1 << 16
"""Bytes of an acknowledgement that are read."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    code: str
    """MSA-1: one of ACCEPTED or MEANINGS."""
    of: str
    """MSA-2, the control ID of the message that it is about."""
    error: str = ""
    """ERR-3, a number of HL7 table 0357, such as 204; "" where there is none. Never a text: it may quote a patient."""


def read(message: bytes) -> Acknowledgement | None:
    """None for what is no acknowledgement. Codes and numbers are of ASCII in every character set."""
    text = message.decode("latin-1").strip("\r\n")
    if not text.startswith("MSH") or len(text) < 8:
        return None
    component = text[4]
    # By what stands behind its own name: some receivers name another separator in MSH than they use.
    segments = [line.split(line[3]) for line in re.split(r"[\r\n]+", text) if len(line) > 3]
    msa = next((segment for segment in segments if segment[0] == "MSA"), [])
    if len(msa) < 3 or msa[1].strip() not in (*ACCEPTED, *MEANINGS):
        return None
    err = next((segment for segment in segments if segment[0] == "ERR"), [])
    number = err[3].partition(component)[0].strip() if len(err) > 3 else ""
    return Acknowledgement(
        code=msa[1].strip(), of=msa[2].strip(), error=number if re.fullmatch(r"\d{1,3}", number) else ""
    )


def in_words(code: str, error: str) -> str:
    """Of a refusal: MSA-1 and ERR-3, each with its meaning."""
    said = f"it answered {code}, {MEANINGS[code]}" if code in MEANINGS else f"it answered {code}"
    return f"{said}; {error}, {ERRORS.get(error, 'a code of its own')}" if error else said
