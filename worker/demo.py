"""The demonstration's films and their way through a running service."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from sqlalchemy import func, select

from dicom_gateway.contexts import SYNTAX_BY_UID, TRANSFER_SYNTAXES
from dicom_gateway.encode import derived_uid, in_syntax, save, wrap_image
from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import echo, send
from worker.db.scores import ScoreView
from worker.db.session import make_engine, reading
from worker.db.tables import instance
from worker.errors import NotFound, Unhealthy
from worker.instances import InstanceView, list_instances, scores_of
from worker.lifetime import ctrl_c_later, end_with_parent
from worker.states import State

CHEST, OTHER = "RG1_UNCR.dcm", "RG3_UNCR.dcm"  # NEMA's Philips CR sample: a chest, and a tibia
ABOUT_CHEST = (
    "RG1 is NEMA's public sample of a chest film (PA, CR), in pydicom-data. It is no normal film: it shows many round "
    "opacities in both lungs, and no diagnosis comes with it. It shows that the service works, not that a score is "
    "right. No installed package has a second public chest film: send films of your own with --films."
)
CALLING_AE = "DEMO-PACS"
ABOUT_RESULTS = (
    f"Results: off. The demo sends none to a PACS, whatever XRAYQ_RESULTS_TO says, and {CALLING_AE} is silent, as "
    "every sender is at first."
)
START_SECONDS, FINISH_SECONDS = 60.0, 170.0
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
KEPT = (
    "XRAYQ_BUNDLE",
    "XRAYQ_DECODE_",
    "XRAYQ_ENGINE",
    "XRAYQ_FLAG_TOLERANCE",
    "XRAYQ_LOG_",
    "XRAYQ_MARK",
    "XRAYQ_PLAN_CACHE",
    "XRAYQ_REDUCED_RESOLUTION",
)
"""What the demo takes from the environment: how films are scored. Not where anything lies or who may send."""


@dataclass(frozen=True, kw_only=True)
class DemoObject:
    """One object to push."""

    name: str
    path: Path
    sop_instance_uid: str
    syntax: str
    expect: str = ""
    """State it must end in, `refused` or `duplicate`; empty: any end will do."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What became of one push."""

    film: DemoObject
    status: int | None
    comment: str
    view: InstanceView | None
    score: ScoreView | None
    """The live one."""

    @property
    def state(self) -> str:
        if self.status != 0 or self.view is None:
            return "refused"
        return "duplicate" if self.film.expect == "duplicate" else self.view.state

    @property
    def as_expected(self) -> bool:
        done = self.state != State.RECEIVED
        return done and (not self.film.expect or self.film.expect == self.state)


def sample_films(folder: Path) -> list[DemoObject]:
    """The public sample chest film in every transfer syntax, another body part, a truncated copy and a re-send.

    Raises NotFound when pydicom-data is not installed.
    """
    chest, other = sample_path(CHEST), sample_path(OTHER)
    source = dcmread(chest)
    films: list[DemoObject] = []
    for syntax in TRANSFER_SYNTAXES:
        film = in_syntax(source, syntax.uid)
        path = save(film, folder / f"{len(films):02}.dcm")
        films.append(
            DemoObject(
                name="RG1 chest", path=path, sop_instance_uid=film.SOPInstanceUID, syntax=syntax.name, expect="scored"
            )
        )
    tibia = dcmread(other)
    films.append(
        DemoObject(
            name="RG3 tibia",
            path=save(in_syntax(tibia, TRANSFER_SYNTAXES[0].uid), folder / "tibia.dcm"),
            sop_instance_uid=derived_uid(str(tibia.SOPInstanceUID), TRANSFER_SYNTAXES[0].uid),
            syntax=TRANSFER_SYNTAXES[0].name,
            expect="ineligible",
        )
    )
    first, cut = films[0], folder / "cut.dcm"
    whole = first.path.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    return [
        *films,
        replace(first, name="RG1 truncated", path=cut, expect="refused"),
        replace(first, name="RG1 sent again", expect="duplicate"),
    ]


def own_films(source: Path, folder: Path) -> list[DemoObject]:
    """The DICOM, PNG and JPEG files under `source`; pictures are wrapped as DX. Raises NotFound when there are none."""
    films: list[DemoObject] = []
    for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
        try:
            if path.suffix.lower() in IMAGE_SUFFIXES:
                sent = save(wrap_image(path), folder / f"{len(films):05}.dcm")
            else:
                sent = path
            meta = read_file_meta_info(sent)
            uid, syntax_uid = str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)
        except (InvalidDicomError, ValueError, AttributeError, OSError):
            continue  # a folder may hold other things than films
        syntax = SYNTAX_BY_UID[syntax_uid].name if syntax_uid in SYNTAX_BY_UID else syntax_uid
        films.append(DemoObject(name=path.name, path=sent, sop_instance_uid=uid, syntax=syntax))
    if not films:
        raise NotFound(f"no DICOM, PNG or JPEG film under {source}")
    return films


@contextmanager
def service(home: Path, log: Path, **settings: str) -> Iterator[int]:
    """A running `xrayq up` in `home` on a free port; yields the port. Raises Unhealthy when it does not come up.

    Args:
        settings: further ones, as environment variables.
    """
    port = free_port()
    ours = {name: value for name, value in os.environ.items() if name.startswith(KEPT) or not name.startswith("XRAYQ_")}
    environment = ours | {
        "XRAYQ_HOME": str(home),
        "XRAYQ_HOST": "127.0.0.1",
        "XRAYQ_PORT": str(port),
        "XRAYQ_CONFIG": os.devnull,
        "XRAYQ_SPOOL_RESERVE_MIB": "64",
        # A service may be running here.
        "XRAYQ_GATEWAY_HTTP_PORT": "0",
        "XRAYQ_RELAY_HTTP_PORT": "0",
        "XRAYQ_WORKER_HTTP_PORT": "0",
        **settings,
    }
    with log.open("wb") as output:
        with ctrl_c_later() as interrupted:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", "up"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,
            )
        try:
            if interrupted.is_set():
                raise KeyboardInterrupt
            wait_for(lambda: _answers(port, process, log), START_SECONDS, f"xrayq up did not start, see {log}")
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def push(port: int, films: list[DemoObject]) -> list[tuple[DemoObject, int | None, str]]:
    """C-STORE each film over one association, as a PACS does."""
    answers = send(
        "127.0.0.1", port, [film.path for film in films], called_ae="XRAYQ", calling_ae=CALLING_AE, timeout=60
    )
    return [(film, answer.status, answer.comment) for film, answer in zip(films, answers, strict=True)]


def waiting(database_url: str) -> int:
    """How many instances have not come to an end."""
    with reading(make_engine(database_url)) as connection:
        query = select(func.count()).where(instance.c.state == State.RECEIVED)
        return int(connection.execute(query).scalar_one())


def endings(database_url: str, pushed: list[tuple[DemoObject, int | None, str]]) -> list[Ending]:
    engine = make_engine(database_url)
    views = {view.sop_instance_uid: view for view in list_instances(engine)}
    scores = {uid: scores_of(engine, view.id)[0] for uid, view in views.items() if view.probabilities}
    return [
        Ending(
            film=film,
            status=status,
            comment=comment,
            view=views.get(film.sop_instance_uid) if status == 0 else None,
            score=scores.get(film.sop_instance_uid) if status == 0 else None,
        )
        for film, status, comment in pushed
    ]


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Return when `condition()` holds. Raises Unhealthy(otherwise) after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unhealthy(otherwise)
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    if process.poll() is not None:
        raise Unhealthy(f"xrayq up ended with exit code {process.returncode}, see {log}")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        echo("127.0.0.1", port, called_ae="XRAYQ", calling_ae=CALLING_AE)
    except (PeerUnavailable, OSError):
        return False
    return True


def sample_path(name: str) -> Path:
    spec = find_spec("data_store")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
    path = folder / "data" / name if folder else None
    if path is None or not path.is_file():
        raise NotFound("the sample films are not installed: pip install 'xrayq[demo]', or use --films DIR")
    return path
