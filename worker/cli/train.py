"""xrayq pretrain and xrayq train: films to a bundle."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.errors import ConfigurationError, Unhealthy, WorkerError

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "ci": {"epochs": 2, "batch": 4, "average_last": 0, "learning_rate": 1e-4},
}


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(train)
    app.command(rich_help_panel="Train")(pretrain)


def train(
    films: Annotated[Path, typer.Argument(help="Folder with metadata.csv and its images.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write; must not exist.")] = Path("runs/bundle"),
    init: Annotated[Path | None, typer.Option(help="Trunk weights from 'xrayq pretrain'; default: random.")] = None,
    views: Annotated[str, typer.Option(help="View positions, comma-separated, or 'all'.")] = "PA",
    train_views: Annotated[str, typer.Option(help="Other view positions for the training split.")] = "",
    preset: Annotated[str, typer.Option(help=f"Recipe: {', '.join(PRESETS)}.")] = "default",
    epochs: Annotated[int | None, typer.Option(help="Override the recipe's epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the recipe's seed.")] = None,
    limit: Annotated[int, typer.Option(help="Films of each class and split; 0 for all.")] = 0,
    version: Annotated[str, typer.Option(help="Version to write into the bundle.")] = "0.1.0",
) -> None:
    """Train the network and write a calibrated, measured bundle.

    metadata.csv has the columns image_id, file, label (normal, pneumonia, covid19), patient_id, split (train, val,
    test) and view. Films are cropped to squares, so that their shape cannot tell where they came from.

    \b
    xrayq train films/ --out runs/first
    xrayq train films/ --init runs/trunk.pt --out runs/second
    XRAYQ_BUNDLE=runs/second xrayq up
    """
    _require_torch()
    from rich.console import Console

    from model.build import build_bundle
    from model.dataset import load_dataset
    from model.errors import ModelError
    from model.preprocess import PreprocessSpec
    from model.train import Epoch, TrainConfig, build
    from model.train import train as run_training

    if preset not in PRESETS:
        raise ConfigurationError(f"--preset is one of {', '.join(PRESETS)}")
    if out.exists():
        raise ConfigurationError(f"{out} exists: bundles are never changed, choose another --out")
    given = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    config = TrainConfig(**(PRESETS[preset] | given))
    console, spec = Console(), PreprocessSpec()
    try:
        dataset = load_dataset(
            films, spec=spec, views=_views(views), train_views=_views(train_views or views), limit=limit
        )
        for split, part in dataset.splits.items():
            counts = ", ".join(f"{name} {count}" for name, count in part.counts().items())
            console.print(f"{split:<6} {len(part):>5} films  {counts}", highlight=False)

        def report(epoch: Epoch) -> None:
            console.print(
                f"epoch {epoch.epoch:>3}  loss {epoch.train_loss:.4f}  val loss {epoch.validation_loss:.4f}  "
                f"val accuracy {epoch.validation['accuracy']['value']:.3f}  {epoch.seconds:.0f} s"
                f"{'  best' if epoch.best else ''}",
                highlight=False,
            )

        trained = run_training(build(config, init), dataset, config, report=report)
        bundle = build_bundle(
            out,
            version=version,
            trained=trained,
            dataset=dataset,
            config=config,
            spec=spec,
            command=_command(),
            initial=_describe(init),
        )
    except ModelError as error:
        raise WorkerError(str(error)) from None
    console.print(f"wrote {bundle.path}, digest {bundle.digest[:12]}: see 'xrayq bundle show {out}'", highlight=False)


def pretrain(
    films: Annotated[Path, typer.Argument(help="Folder with metadata.csv and tar shards.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="File for the trunk's weights.")] = Path("runs/trunk.pt"),
    epochs: Annotated[int, typer.Option(help="Passes over the films.")] = 8,
    size: Annotated[int, typer.Option(help="Side of the films, pixels; a multiple of 32.")] = 128,
    limit: Annotated[int, typer.Option(help="About so many films; 0 for all.")] = 0,
) -> None:
    """Train the trunk on other sources' chest films first, each judged on the labels its source reports.

    \b
    xrayq pretrain auxiliary/ --out runs/trunk.pt
    """
    _require_torch()
    from rich.console import Console

    from model.dataset import load_auxiliary
    from model.errors import ModelError
    from model.pretrain import PretrainConfig, PretrainEpoch
    from model.pretrain import pretrain as run_pretraining

    console = Console()
    out.parent.mkdir(parents=True, exist_ok=True)

    def report(epoch: PretrainEpoch) -> None:
        console.print(f"epoch {epoch.epoch:>3}  loss {epoch.loss:.4f}  {epoch.seconds:.0f} s", highlight=False)

    try:
        loaded = load_auxiliary(films, size=size, limit=limit)
        console.print(f"{len(loaded.images)} films, {len(loaded.labels)} labels, digest {loaded.digest[:12]}")
        run_pretraining(loaded, PretrainConfig(epochs=epochs), checkpoint=out, report=report)
    except (ModelError, OSError) as error:
        raise WorkerError(str(error)) from None
    console.print(f"wrote {out}: use it with 'xrayq train --init {out}'", highlight=False)


def _views(text: str) -> tuple[str, ...]:
    return () if text == "all" else tuple(view.strip() for view in text.split(","))


def _require_torch() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "torchvision", "onnx", "sklearn") if find_spec(name) is None]
    if missing:
        raise Unhealthy(f"training needs {', '.join(missing)}: pip install 'xrayq[train]'")


def _describe(init: Path | None) -> str:
    from model.bundle import file_digest

    return f"pretrained trunk, sha256 {file_digest(init)}" if init and init.is_file() else "random"


def _command() -> str:
    """What was typed, with folders cut to their names: a bundle carries no paths of the machine that made it."""
    return " ".join(["xrayq", *(Path(word).name if "/" in word else word for word in sys.argv[1:])])
