"""python -m tests.benchmarks.naive FOLDER COUNT DATABASE: the worker one writes first. Prints its films/s.

Film after film: pydicom, torch in eager mode, one ORM commit. It reads the files where they lie, which spares it the
receiving.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from pydicom import dcmread
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from model.findings import FINDINGS
from model.training.resnet import ChestResNet50
from tests.benchmarks.decode import usual


class Base(DeclarativeBase):
    pass


class Result(Base):
    __tablename__ = "result"

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str]
    normal: Mapped[float]
    pneumonia: Mapped[float]
    covid19: Mapped[float]


def main(folder: Path, count: int, database: Path) -> None:
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    network = ChestResNet50().eval()
    paths = sorted(folder.iterdir())[:count]
    with Session(engine) as session:
        score(paths[0], network, session)  # warm up
        started = time.perf_counter()
        for path in paths:
            score(path, network, session)
        print(len(paths) / (time.perf_counter() - started))


@torch.inference_mode()
def score(path: Path, network: ChestResNet50, session: Session) -> None:
    shown = usual(path)
    scaled = (shown - shown.min()) / max(float(np.ptp(shown)), 1e-6) * 255
    logits = network(torch.from_numpy(scaled)[None, None])
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    session.add(Result(sop_instance_uid=uid, **dict(zip(FINDINGS, logits.softmax(1)[0].tolist(), strict=True))))
    session.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
