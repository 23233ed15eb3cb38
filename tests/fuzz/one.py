"""One target under libFuzzer (atheris), guided by which lines an input reaches: `python -m tests.fuzz.one TARGET ...`.

What follows the name goes to libFuzzer: a folder of inputs, options, or a single file that is to be run again.
"""

import sys

import atheris

with atheris.instrument_imports(include=["dicom_gateway", "worker", "pydicom", "pynetdicom"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], f"-max_len={target.longest}", *options], target.run)
    atheris.Fuzz()
