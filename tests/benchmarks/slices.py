"""python -m tests.benchmarks.slices PORT SLICES: a study of CT slices, 512 x 512 x 16, over one association.

Every slice is answered before the next is sent. Prints the seconds it took. One slice is generated and sent again and
again under other UIDs, so that the sender costs little of the machine it shares.
"""

import os
import sys
import time

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from dicom_gateway.encode import derived_uid
from tests.protocol.raw import C_STORE_RQ, Peer, command_set, dataset_bytes, pdata, pdv

CT, SIDE, FRAGMENT = uid.CTImageStorage, 512, 120 << 10
PLACE = "2.25.100000000000000000000000000000000000"


def main() -> None:
    port, slices = int(sys.argv[1]), int(sys.argv[2])
    encoded = _slice()
    before, _, after = encoded.partition(PLACE.encode())
    root = f"2.25.{int.from_bytes(os.urandom(8), 'big') | 1 << 63}"
    context = build_context(CT, uid.ExplicitVRLittleEndian)
    context.context_id = 1
    started = time.monotonic()
    with Peer(port, timeout=60) as peer:
        peer.associate(context_list=[context], calling="CT1")
        for number in range(slices):
            name = f"{root}.{number:0{len(PLACE) - len(root) - 1}}".replace(".0", ".1", 1)
            dataset = before + name.encode() + after
            command = command_set(C_STORE_RQ, sop_class=CT, instance=name, has_data=True)
            peer.send(pdata(pdv(1, command, is_command=True)))
            for start in range(0, len(dataset), FRAGMENT):
                last = start + FRAGMENT >= len(dataset)
                peer.send(pdata(pdv(1, dataset[start : start + FRAGMENT], is_command=False, last=last)))
            if peer.response().Status != 0:
                raise SystemExit(f"slice {number} was refused")
    print(time.monotonic() - started)


def _slice() -> bytes:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = CT, PLACE, "CT"
    made.StudyInstanceUID, made.SeriesInstanceUID = derived_uid("ct study"), derived_uid("ct series")
    made.Rows = made.Columns = SIDE
    made.BitsAllocated = made.BitsStored = 16
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.HighBit = 15
    made.PixelData = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE), np.uint16).tobytes()
    made["PixelData"].VR = "OW"
    return dataset_bytes(made)


if __name__ == "__main__":
    main()
