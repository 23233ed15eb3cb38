"""xrayq compile: a bundle made fast for one kind of hardware, only if it still says the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.common import (
    PREPARE,
    JsonOption,
    load_settings,
    must_be_one_of,
    must_be_writable,
    must_exist,
    one_line_errors,
    print_json,
    require,
)
from worker.errors import ConfigurationError, Unhealthy, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.bundle import Bundle


def register(app: typer.Typer) -> None:
    app.command("compile", rich_help_panel="Train")(compile_)


def compile_(
    name: BundlePath = "reference",
    precision: Annotated[
        str,
        typer.Option(help="int8: for the CPU, into a new bundle. fp16: a TensorRT plan for this machine's GPU."),
    ] = "int8",
    films: Annotated[Path, typer.Option(help="int8: what 'xrayq prepare' wrote.")] = Path("runs/films"),
    out: Annotated[Path | None, typer.Option(help="int8: the new bundle; must not exist.")] = None,
    rebuild: Annotated[bool, typer.Option(help="fp16: build the plan anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle faster. Refused, with exit code 1, when it would no longer say the same.

    Without a name: the shipped bundle.

    int8 is calibrated on training films and measured on validation films
    against fp32: it is written when flags change on no more films than the
    setting XRAYQ_FLAG_TOLERANCE says and no AUROC falls by more than 0.005.

    \b
    xrayq compile --films runs/all --out runs/fast
    xrayq compile runs/bundle --precision fp16
    """
    must_be_one_of(precision, ("int8", "fp16"), "--precision")
    bundle, settings = load_bundle(name), load_settings()

    def report(line: str) -> None:
        typer.echo(line, err=True)

    if precision == "fp16":
        content = _plan(bundle, settings.plan_folder, rebuild, report)
    else:
        if out is None:
            raise ConfigurationError("compile needs --out, a folder for the new bundle: bundles are never changed")
        must_be_writable(out)
        content = _int8(bundle, films, out, settings.flag_tolerance, report)
    if as_json:
        print_json(content | {"notice": NOTICE})
    else:
        typer.echo(f"{content['text']}. {NOTICE}")


def _int8(
    bundle: "Bundle", films: Path, out: Path, flag_tolerance: float, report: "Callable[[str], None]"
) -> dict[str, Any]:
    require("compile")
    must_exist(films, first=PREPARE)
    from model.int8.compile import INT8, compile_int8
    from worker.settings import cores

    with one_line_errors():
        made = compile_int8(bundle, films, out, flag_tolerance=flag_tolerance, threads=cores(), report=report)
    record = made.variants[INT8]
    speeds = record["images_per_s"]
    text = f"wrote {out}, digest {made.digest[:12]}: int8 {speeds[INT8]} images/s, fp32 {speeds['fp32']}, one thread"
    return {"path": str(out), "digest": made.digest, INT8: record, "text": text}


def _plan(bundle: "Bundle", folder: Path, rebuild: bool, report: "Callable[[str], None]") -> dict[str, Any]:
    from model.errors import ModelError, first_line

    try:
        from model.engine.plan_cache import compile_plan

        plan = compile_plan(bundle, folder, rebuild=rebuild, report=report)
    except ImportError as error:
        raise Unhealthy(f"compile --precision fp16 needs TensorRT: {first_line(error)}") from None
    except (ModelError, OSError) as error:
        raise WorkerError(str(error)) from None
    text = f"plan of {bundle.name} in {plan.path}"
    if not plan.target.gpu:
        text += "; built without a GPU, so no worker will load it: it shows that the network compiles"
    return {"path": str(plan.path), "text": text}
