"""python -m tests.benchmarks.naive FOLDER DATABASE: the worker one writes first. Prints its films/s.

Film after film: pydicom, torch in eager mode, one ORM commit. It reads the files where they lie: nobody sends them, and
nothing survives its crash.
"""

import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from pydicom import dcmread, uid
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_voi_lut, get_decoder
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from model.findings import FINDINGS
from model.network import ChestResNet50
from tests.benchmarks.decode import SIZE


class Base(DeclarativeBase):
    pass
