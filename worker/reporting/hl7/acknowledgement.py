"""What a receiver says to a message: MSA and ERR of an acknowledgement (HL7 2.5.1, 2.9.2 and 2.15).

The standard has AE for a fault of the content and AR for one of the system, which is likely to be over later; half of
the receivers have it the other way round, and an AE of a RIS is often a patient or an order that reaches it a minute
later. So neither is the end: whatever is no acceptance is sent again, until the result is too old.
"""

import re
from dataclasses import dataclass

ACCEPTED = ("AA", "CA")
REFUSED = ("AE", "AR", "CE", "CR")
LONGEST = 1 << 16
"""Bytes of an acknowledgement that are read."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    code: str
    """MSA-1: one of ACCEPTED or REFUSED."""
    of: str
    """MSA-2, the control ID of the message that it is about."""
    error: str = ""
    """ERR-3, a number of HL7 table 0357, such as 204; "" where there is none. Never a text: it may quote a patient."""


def read(message: bytes) -> Acknowledgement | None:
    """None for what is no acknowledgement. Codes and numbers are of ASCII in every character set."""
    text = message.decode("latin-1").strip("\r\n")
    if not text.startswith("MSH") or len(text) < 8:
        return None
    field, component = text[3], text[4]
    segments = [line.split(field) for line in re.split(r"[\r\n]+", text)]
    msa = next((segment for segment in segments if segment[0] == "MSA"), [])
    if len(msa) < 3 or msa[1].strip() not in (*ACCEPTED, *REFUSED):
        return None
    err = next((segment for segment in segments if segment[0] == "ERR"), [])
    number = err[3].partition(component)[0].strip() if len(err) > 3 else ""
    return Acknowledgement(
        code=msa[1].strip(), of=msa[2].strip(), error=number if re.fullmatch(r"\d{1,3}", number) else ""
    )
