"""Whether the entropy-coded data of a JPEG hold exactly the picture that its header promises (ITU T.81 Annex F and H).

libjpeg goes on with a guess at a bad code, at data that end early or are left over, and at a restart marker out of
order. So the Huffman codes are walked here, without making a picture: every code exists, no coefficient lies behind the
last, each restart interval holds its number of blocks and uses its bytes up.

Bit by bit in Python that takes seconds. So thousands of walkers start all over the data and go in step, one NumPy
operation for all of them. One that starts in the middle of a code soon falls in with the true sequence (Huffman codes
synchronise themselves): where a walker comes upon the track of the next one, that one's count holds from there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.errors import CorruptPixels
from dicom_gateway.jpeg_header import EntropyData, HuffmanCodes, read_entropy_data

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

WALKERS = 8192
LEAST_BITS = 1024
"""Smallest share of the data for one walker."""
TRACK_BITS = 2048
LOSSLESS_TRACK_BITS = 512
"""How much of its share keeps a walker's track: it is met at the begin of a block, or of any sample."""
INVALID = -1
WHOLE_BLOCK = 64
NEAR_THE_END = 32
GROUP = 4
END_OF_BLOCK = 128
"""As many coefficients: more than any run, so that one comparison finds the ends."""


def check_entropy(encoded: bytes) -> EntropyData | None:
    """Walk a grayscale sequential or lossless stream that ends with EOI. A progressive one is not walked.

    Returns:
        What was walked; None for a progressive one.

    Raises:
        CorruptPixels: the data are not what an encoder writes.
    """
    data = read_entropy_data(encoded)
    if data is None:
        return None
    walkers, stream = _spread(data), _Stream.of(data)
    everybody = np.arange(len(walkers.start))
    # Nobody comes upon the first of an interval: however many intervals there are, no more than WALKERS have a track.
    tracks = np.zeros(int(np.count_nonzero(walkers.slot >= 0)) * walkers.track, np.uint16)
    stream.walk(walkers, everybody, _to_own_end(tracks), stream.grouped)
    stream.walk(walkers, everybody, _to_a_track(tracks), stream.grouped)
    final, entered, due = _follow(walkers, data.blocks)
    # The last of each interval went on into the padding: once more, as far as there are blocks.
    for value in (walkers.position, walkers.coefficient, walkers.blocks, walkers.bad):
        value[final] = 0
    walkers.position[final] = walkers.start[final]
    walkers.due[final] = due
    stream.walk(walkers, final, _to_last_block, stream.single)
    left = walkers.segment_end[final] - walkers.position[final]
    if (walkers.bad[final] > entered).any() or (left < 0).any():
        raise CorruptPixels
    for interval in np.flatnonzero(left >= 8):
        end = data.ends[interval]
        rest = data.content[end - int(left[interval]) // 8 : end]
        if rest.strip(b"\0") and rest.strip(b"\xff"):  # some encoders pad with more than the last byte's bits
            raise CorruptPixels
    return data


@dataclass(frozen=True, kw_only=True)
class _Walkers:
    """Each begins at a byte; arrays [walkers]."""

    start: Ints
    end: Ints
    """The end of its share, in bits."""
    segment_end: Ints
    first: Ints
    """The first walker of the same restart interval."""
    slot: Ints
    """Which of the tracks is its own; -1: none, for the first of an interval."""
    share: int
    track: int
    """Bits."""
    position: Ints
    coefficient: Ints
    """Next coefficient of the block, 0 for its DC value."""
    blocks: Ints
    """Blocks it has finished."""
    bad: Ints
    """Number of the last of its blocks with something wrong in it, from 1; 0: none."""
    meets: Ints
    """The walker upon whose track it came, and how many blocks that one had finished there."""
    meets_after: Ints
    due: Ints
    """Blocks until the end of the interval, for the last walker that counts."""


def _spread(data: EntropyData) -> _Walkers:
    bits = 8 * len(data.content)
    share = max(LEAST_BITS, -(-bits // WALKERS // 8) * 8)
    begins = np.array(data.begins, np.int64) * 8
    ends = np.array(data.ends, np.int64) * 8
    counts = np.maximum(-(-(ends - begins) // share), 1)
    segment = np.repeat(np.arange(len(begins)), counts)
    turn = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = begins[segment] + turn * share
    nothing = np.zeros(len(segment), np.int64)
    return _Walkers(
        start=start,
        end=np.minimum(start + share, ends[segment]),
        segment_end=ends[segment],
        first=np.arange(len(segment)) - turn,
        slot=np.where(turn > 0, np.cumsum(turn > 0) - 1, -1),
        share=share,
        track=min(share, LOSSLESS_TRACK_BITS if data.lossless else TRACK_BITS),
        position=start.copy(),
        coefficient=nothing.copy(),
        blocks=nothing.copy(),
        bad=nothing.copy(),
        meets=nothing - 1,
        meets_after=nothing.copy(),
        due=nothing.copy(),
    )


Until = Callable[["_Walkers", Ints, Ints, Ints, Ints], Flags]
"""Of walkers, their indices, positions, coefficients and blocks: which of them stop here."""


@dataclass(frozen=True, kw_only=True)
class _Stream:
    lossless: bool
    windows: NDArray[np.int32]
    """[bytes]: the 24 bits from each byte on."""
    single: NDArray[np.int64]
    """For the next 16 bits: how far to go (5 bits), and how many coefficients or samples that is (the bits above).

    [3 x 65536]: where a DC code is next (or a lossless difference), an AC code, and one behind NEAR_THE_END.
    """
    grouped: NDArray[np.int64]
    """The same for as many codes as the 16 bits hold, where that cannot lead behind the block's end."""

    @classmethod
    def of(cls, data: EntropyData) -> "_Stream":
        content = np.frombuffer(data.content + b"\xff" * 8, np.uint8)
        windows = content[:-2].astype(np.int32)
        for place in (1, 2):
            windows <<= 8
            windows |= content[place : len(content) - 2 + place]
        first, *others = (_table(data.lossless, state, codes) for state, codes in enumerate(data.codes))
        after = others[0] if others else first
        return cls(
            lossless=data.lossless,
            windows=windows,
            single=np.concatenate([first, after, after]),
            grouped=np.concatenate([_grouped(first, after), _grouped(after, after), after]),
        )

    def walk(self, walkers: _Walkers, who: Ints, until: Until, table: NDArray[np.int64]) -> None:
        """Move the walkers `who` on, each until it is told to stop."""
        at, coefficient, blocks = walkers.position[who], walkers.coefficient[who], walkers.blocks[who]
        while len(who):
            stopped = until(walkers, who, at, coefficient, blocks)
            waiting = int(np.count_nonzero(stopped))
            if waiting * 8 >= len(who):
                ended = who[stopped]
                walkers.position[ended], walkers.coefficient[ended] = at[stopped], coefficient[stopped]
                walkers.blocks[ended] = blocks[stopped]
                going = ~stopped
                who, at, coefficient, blocks = who[going], at[going], coefficient[going], blocks[going]
                waiting = 0
            bits = self.windows.take(at >> 3, mode="clip") >> 8 - (at & 7) & 0xFFFF
            if not self.lossless:
                bits += ((coefficient > 0) * 1 + (coefficient > NEAR_THE_END)) << 16
            entry = table.take(bits)
            if waiting:
                entry[stopped] = 0
            if entry.min(initial=0) < 0:
                invalid = entry < 0
                walkers.bad[who[invalid]] = blocks[invalid] + 1
                entry[invalid] = 1 | (1 if self.lossless else END_OF_BLOCK) << 5
            at += entry & 31
            entry >>= 5
            if self.lossless:
                blocks += entry
                continue
            coefficient += entry
            done = coefficient >= WHOLE_BLOCK
            beyond = coefficient & END_OF_BLOCK - 1 > WHOLE_BLOCK
            if beyond.any():
                walkers.bad[who[beyond]] = blocks[beyond] + 1
            coefficient[done] = 0
            blocks += done


def _to_own_end(tracks: NDArray[np.uint16]) -> Until:
    """To the end of its share, keeping its track: the blocks it had finished, plus one, where each block begins."""

    def until(walkers: _Walkers, who: Ints, at: Ints, coefficient: Ints, blocks: Ints) -> Flags:
        place = at - walkers.start[who]
        on_track = (place < walkers.track) & (walkers.slot[who] >= 0)
        if on_track.any():
            on_track &= coefficient == 0
            tracks[(walkers.slot[who] * walkers.track + place)[on_track]] = blocks[on_track] + 1
        return np.asarray(at >= walkers.end[who])

    return until


def _to_a_track(tracks: NDArray[np.uint16]) -> Until:
    """Into the shares of those behind it, until it comes upon a track, or to the end of the interval."""

    def until(walkers: _Walkers, who: Ints, at: Ints, coefficient: Ints, _: Ints) -> Flags:
        end, first = walkers.segment_end[who], walkers.first[who]
        ended = at >= end
        owner = first + (np.minimum(at, end - 1) - walkers.start[first]) // walkers.share
        place = at - walkers.start[owner]
        candidate = (coefficient == 0) & (place < walkers.track) & ~ended
        if not candidate.any():
            return np.asarray(ended)
        finished = (
            tracks[np.where(candidate, walkers.slot[owner] * walkers.track + place, 0)].astype(np.int64) * candidate
        )
        met = finished > 0
        walkers.meets[who[met]] = owner[met]
        walkers.meets_after[who[met]] = finished[met] - 1
        return np.asarray(met | ended)

    return until


def _to_last_block(walkers: _Walkers, who: Ints, at: Ints, _: Ints, blocks: Ints) -> Flags:
    return np.asarray((blocks >= walkers.due[who]) | (at > walkers.segment_end[who]))


def _follow(walkers: _Walkers, blocks: tuple[int, ...]) -> tuple[Ints, Ints, Ints]:
    """From the first walker of each interval along the tracks, counting.

    Returns:
        For each interval the last walker, the number of its blocks before the true sequence came upon its track, and
        the number that it must have finished at the end.

    Raises:
        CorruptPixels: something wrong on the way.
    """
    meets, after = walkers.meets.tolist(), walkers.meets_after.tolist()
    finished, bad = walkers.blocks.tolist(), walkers.bad.tolist()
    found = []
    for walker, expected in zip(np.unique(walkers.first).tolist(), blocks, strict=True):
        counted = entered = 0
        # The padding may look like blocks, and lead from one track to another: so not behind the last block.
        while meets[walker] >= 0 and counted + finished[walker] - entered < expected:
            if bad[walker] > entered:
                raise CorruptPixels
            counted += finished[walker] - entered
            walker, entered = meets[walker], after[walker]
        found.append((walker, entered, entered + expected - counted))
    final, before, due = np.array(found, np.int64).T
    return final, before, due


def _table(lossless: bool, state: int, codes: HuffmanCodes) -> NDArray[np.int64]:
    table = np.full(1 << 16, INVALID, np.int64)
    code = 0
    for length, values in enumerate(codes, 1):
        if code + len(values) > 1 << length:
            raise CorruptPixels
        for value in values:
            first = code << 16 - length
            table[first : first + (1 << 16 - length)] = _entry(lossless, state, length, value)
            code += 1
        code <<= 1
    return table


def _entry(lossless: bool, state: int, length: int, value: int) -> int:
    run, size = divmod(value, 16)
    if lossless:  # T.81 H.1.2.2: 16 has no further bits
        return length + value % 16 | 1 << 5 if value <= 16 else INVALID
    if state == 0:
        return length + value | 1 << 5 if value < 16 else INVALID
    if size == 0:
        return length | (16 if run == 15 else END_OF_BLOCK) << 5
    return length + size | run + 1 << 5


def _grouped(table: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many codes as 16 bits hold with all their bits, and no more coefficients than NEAR_THE_END allows."""
    bits = np.arange(1 << 16)
    for _ in range(GROUP - 1):
        length, count = table & 31, table >> 5
        behind = after[(bits << length) & 0xFFFF]
        length, both = length + (behind & 31), count + (behind >> 5)
        fits = (table > 0) & (behind > 0) & (length <= 16) & (count < END_OF_BLOCK)
        fits &= (both & END_OF_BLOCK - 1) < WHOLE_BLOCK - NEAR_THE_END
        table = np.where(fits, both << 5 | length, table)
    return table
