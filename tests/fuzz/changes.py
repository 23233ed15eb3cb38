"""Damage, as hypothesis draws it."""

from hypothesis import strategies as st

Change = tuple[str, int, bytes]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("overwrite", "insert", "cut", "double", "end")),
        st.integers(0, 12_000),
        st.binary(min_size=1, max_size=6),
    ),
    max_size=8,
)


def changed(body: bytes, changes: list[Change]) -> bytes:
    for how, place, data in changes:
        at = place % (len(body) + 1)
        span = len(data) * len(data)
        body = {
            "overwrite": body[:at] + data + body[at + len(data) :],
            "insert": body[:at] + data + body[at:],
            "cut": body[:at] + body[at + span :],
            "double": body[: at + span] + body[at:],
            "end": body[:at],
        }[how]
    return body
