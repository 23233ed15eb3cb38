"""A data set that cannot be read back from the spool."""

from pathlib import Path

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.spool import Spool
from dicom_gateway.store import Store


def test_a_file_that_cannot_be_opened_for_its_header_is_out_of_resources_and_no_abort(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0)
    spool.prepare()
    command = Dataset()
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3"
    store = Store(command, (uid.DigitalXRayImageStorageForPresentation, uid.ExplicitVRLittleEndian), spool)
    store.begin(has_data=True)
    (part,) = (path for path in tmp_path.rglob("*") if path.is_file())
    part.unlink()
    with pytest.raises(StoreUnavailable) as refused:
        store.keep(calling_ae="CR1", called_ae="XRAYQ")
    assert refused.value.status == 0xA702
    store.discard()
