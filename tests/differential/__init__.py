"""The displayed film against DCMTK and pydicom, on a generated grid of headers and transfer syntaxes.

`python -m tests.differential [CASES]` renders some thousands; `test_differential.py` a fixed part of them.
"""
