"""python -m tests.benchmarks.plain_receiver PORT FOLDER: a Storage SCP as in pynetdicom's examples, plus fsync."""

import os
import sys
from pathlib import Path

from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts, VerificationPresentationContexts


def main(port: int, folder: Path) -> None:
    def store(event: evt.Event) -> int:
        with (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    entity = AE(ae_title="PLAIN")
    entity.supported_contexts = AllStoragePresentationContexts + VerificationPresentationContexts
    entity.maximum_pdu_size = 128 * 1024
    entity.maximum_associations = 2000
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
