"""Checkpoints of others become trunks: what is summed, what is left out, what is refused."""

import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torch import nn  # noqa: E402
from torchvision.models import resnet50  # noqa: E402
from torchvision.models.resnet import Bottleneck, ResNet  # noqa: E402

from model.digest import file_digest  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.training.convert import BLOCKS, convert  # noqa: E402
from model.training.resnet import ChestResNet50  # noqa: E402
from model.training.train import build  # noqa: E402
from model.training.trunk import read_trunk, write_trunk  # noqa: E402
from tests.services import Xrayq  # noqa: E402
from tests.unit.model.small import TINY  # noqa: E402
from worker.cli import train as command  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
State = dict[str, torch.Tensor]


def settled(network: nn.Module) -> nn.Module:
    """Batch norm that is not the identity."""
    for name, value in network.named_buffers():
        if "running" in name:
            value.copy_(1 + torch.rand(value.shape) / 2)
    return network.eval()


@pytest.fixture(scope="module")
def flat() -> nn.Module:
    torch.manual_seed(3)
    return settled(resnet50(num_classes=2))


def inflated(state: State, depth: int = 3) -> State:
    """Kernels of 3 slices with different shares of the flat one; 1x1 stay one slice deep."""
    share = torch.tensor([0.25, 0.625, 0.125])  # exact in bfloat16
    return {
        name: (value[:, :, None] * share.view(1, 1, depth, 1, 1) if value.shape[-1] > 1 else value[:, :, None])
        if value.ndim == 4
        else value
        for name, value in state.items()
    }


def maps(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        images = getattr(network, name)(images)
    return images


def test_an_inflated_network_becomes_the_flat_one_with_the_same_output(flat: nn.Module, tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "state_dict": {f"module.encoder.{k}": v for k, v in inflated(flat.state_dict()).items()}}
    made = convert(checkpoint)
    assert (made.inflated, made.blocks) == (True, {stage: tuple(range(count)) for stage, count in BLOCKS.items()})
    write_trunk(tmp_path / "trunk.pt", made.trunk)
    network = build(TINY, tmp_path / "trunk.pt").eval()
    images = torch.randint(0, 256, (2, 1, 96, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = maps(flat, images.float().expand(-1, 3, -1, -1) / 255)
        found = network.trunk(network.normalise(images))
    assert found.shape == expected.shape == (2, 2048, 3, 3)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_slice_of_the_middle_sees_what_the_flat_kernel_sees() -> None:
    """The claim behind the sum: a constant volume under the inflated kernel, away from the first and last slice."""
    weight = torch.randn(4, 3, 3, 5, 5)
    film = torch.randn(1, 3, 12, 12)
    volume = nn.functional.conv3d(film[:, :, None].expand(-1, -1, 5, -1, -1), weight, padding=(1, 2, 2))
    assert torch.allclose(volume[:, :, 2], nn.functional.conv2d(film, weight.sum(2), padding=2), atol=1e-4)


def deep(counts: tuple[int, int, int, int]) -> State:
    torch.manual_seed(4)
    network = ResNet(Bottleneck, list(counts), num_classes=2)
    for name, parameter in network.named_parameters():
        if name.endswith("bn1.weight") and "layer" in name:  # each block says its number
            parameter.data.fill_(float(name.split(".")[1]))
    return dict(network.state_dict())


def block_numbers(state: State, stage: str) -> list[int]:
    return [int(state[f"{stage}.{at}.bn1.weight"][0]) for at in range(BLOCKS[stage])]


def test_a_deeper_network_keeps_evenly_spaced_blocks_or_those_named() -> None:
    checkpoint = {"model": {name: value.to(torch.bfloat16) for name, value in deep((3, 8, 11, 3)).items()}}
    made = convert(checkpoint)
    assert made.blocks == {
        "layer1": (0, 1, 2),
        "layer2": (0, 2, 5, 7),
        "layer3": (0, 2, 4, 6, 8, 10),
        "layer4": (0, 1, 2),
    }
    assert made.of == {"layer1": 3, "layer2": 8, "layer3": 11, "layer4": 3}
    assert all(block_numbers(made.trunk.state, stage) == list(own) for stage, own in made.blocks.items())
    floats = [value for value in made.trunk.state.values() if value.is_floating_point()]
    assert all(value.dtype == torch.float32 for value in floats)
    made = convert(checkpoint, blocks={"layer2": (0, 1, 4, 7)})
    assert block_numbers(made.trunk.state, "layer2") == [0, 1, 4, 7]
    assert block_numbers(made.trunk.state, "layer3") == [0, 2, 4, 6, 8, 10]


def test_a_file_without_counts_of_batches_is_fine(flat: nn.Module) -> None:
    state = {name: value for name, value in flat.state_dict().items() if "num_batches" not in name}
    assert convert(state).trunk.state["bn1.num_batches_tracked"] == 0


def basic() -> State:
    from torchvision.models import resnet18

    return dict(resnet18(num_classes=2).state_dict())


@cache
def _resnet_50() -> State:
    return deep((3, 4, 6, 3))


def resnet_50() -> State:
    return dict(_resnet_50())


def two_networks() -> State:
    return {f"{prefix}.{name}": value for prefix in "ab" for name, value in resnet_50().items()}


def misshapen() -> State:
    return resnet_50() | {"layer1.0.conv2.weight": torch.zeros(64, 64, 1, 1)}


@pytest.mark.parametrize(
    ("checkpoint", "blocks", "message"),
    [
        (lambda: {"model": {"a.weight": torch.zeros(1)}}, {}, "no state dict in it has a layer1.0.conv1.weight"),
        (lambda: [1], {}, "no state dict in it has a layer1.0.conv1.weight"),
        (basic, {}, "layer1 has 2 blocks, a ResNet50 has 3: the network is too shallow"),
        (two_networks, {}, r"several networks \(a\., b\.\)"),
        (misshapen, {}, "no ResNet of bottleneck blocks"),
        (resnet_50, {"layer9": (0,)}, "--blocks names layer9: stages are layer1, layer2"),
        (resnet_50, {"layer4": (0, 1)}, "--blocks layer4=0,1: 3 rising numbers of 0 to 2, the first 0"),
        (resnet_50, {"layer4": (0, 1, 3)}, "3 rising numbers of 0 to 2"),
        (lambda: deep((3, 5, 6, 3)), {"layer2": (1, 2, 3, 4)}, "4 rising numbers of 0 to 4, the first 0"),
    ],
)
def test_what_cannot_be_converted_is_said(checkpoint: Any, blocks: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        convert(checkpoint(), blocks=blocks)


def with_value(name: str, value: float) -> State:
    """One number of a tensor is another one."""
    other = resnet_50()[name].clone()
    other.view(-1)[0] = value
    return resnet_50() | {name: other}


def changed(name: str, value: torch.Tensor) -> State:
    return resnet_50() | {name: value}


def in_itself() -> dict[str, Any]:
    held: dict[str, Any] = {"epoch": 3}
    return held | {"inner": held} | {"own": held.setdefault("own", held)}


def nested(depth: int) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for _ in range(depth):
        held = {"inner": held}
    return held


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (in_itself, "no state dict in it"),
        (lambda: nested(5000), "no state dict in it"),
        (lambda: changed("conv1.weight", torch.tensor(1.0)), "no ResNet of bottleneck blocks"),
        (lambda: changed("conv1.weight", torch.ones(64)), "no ResNet of bottleneck blocks"),
        (lambda: changed("layer1.x.foo", torch.ones(1)), "no ResNet of bottleneck blocks: it has 'layer1.x.foo'"),
        (lambda: changed("layer1.-1.foo", torch.ones(1)), "it has 'layer1.-1.foo'"),
        (lambda: changed("layer1.01.foo", torch.ones(1)), "it has 'layer1.01.foo'"),
        (lambda: changed("layer4.a\nb.foo", torch.ones(1)), r"it has 'layer4.a\\nb.foo'"),
        (lambda: with_value("layer2.0.conv1.weight", float("nan")), "layer2.0.conv1.weight has numbers that are not"),
        (lambda: with_value("layer2.0.conv1.weight", float("inf")), "layer2.0.conv1.weight has numbers that are not"),
        (lambda: with_value("bn1.running_var", -0.5), "bn1.running_var has a variance below 0"),
        (lambda: with_value("bn1.running_var", float("inf")), "bn1.running_var has numbers that are not finite"),
        (
            lambda: changed("bn1.bias", torch.full((64,), 1e300, dtype=torch.float64)),
            "bn1.bias has numbers that are not",
        ),
        (lambda: {k: v.to(torch.complex64) for k, v in resnet_50().items()}, "conv1.weight is no plain tensor"),
        (lambda: changed("layer4.2.conv3.weight", torch.ones(2048, 512, 1, 1).to_sparse()), "is no plain tensor"),
        (lambda: changed("bn1.bias", torch.ones(64, device="meta")), "bn1.bias is no plain tensor"),
    ],
)
def test_weights_that_give_no_output_are_refused(checkpoint: Callable[[], Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        convert(checkpoint())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (float("nan"), 1.0, "mean nan of the inputs is not finite"),
        (float("-inf"), 1.0, "mean -inf of the inputs is not finite"),
        (0.0, float("inf"), "a standard deviation is finite and above 0"),
        (0.0, float("nan"), "a standard deviation is finite and above 0"),
        (0.0, -1.0, "a standard deviation is finite and above 0"),
        (0.0, 1e-60, "a standard deviation is finite and above 0"),  # 0 in float32
    ],
)
def test_a_scale_that_is_none_is_refused(
    tmp_path: Path, flat: nn.Module, mean: float, std: float, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        convert(flat.state_dict(), mean=mean, std=std)
    made = convert(flat.state_dict()).trunk
    torch.save({"trunk": made.state, "mean": mean, "std": std}, tmp_path / "trunk.pt")
    with pytest.raises(DatasetError, match=f"trunk.pt: .*{message}"):
        read_trunk(tmp_path / "trunk.pt")


class Code:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_file_that_is_no_checkpoint_is_said_without_advice_to_run_it(tmp_path: Path, xrayq: Xrayq) -> None:
    torch.save({"state_dict": Code()}, tmp_path / "code.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "net.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": Code()}, protocol=2))
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "table.pt").write_text("a,b\n")
    (tmp_path / "letter.pt").write_text("hello world, a text\n" * 50)
    whole = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.pt").mkdir()
    nothing = "is no checkpoint of weights alone: it is damaged, or nothing that torch.save wrote"
    for name, message in (
        ("code", "it holds more than weights (print)"),
        ("net", "it holds more than weights (torch.nn.modules.linear.Linear)"),
        ("pickle", "it holds more than weights"),
        ("empty", "is no checkpoint of weights alone: it is empty"),
        ("table", nothing),
        ("letter", nothing),
        ("half", nothing),
        ("folder", "Is a directory"),
    ):
        code, out, problems = xrayq("trunk", "convert", f"{name}.pt", "--out", "x.pt")
        assert (code, out, problems.count("\n"), message in problems) == (1, "", 1, True), problems
        assert "weights_only" not in problems
        with pytest.raises((DatasetError, OSError)) as caught:
            read_trunk(tmp_path / f"{name}.pt")
        assert "weights_only" not in str(caught.value)
    assert not list(tmp_path.glob("x.pt*"))


@pytest.mark.parametrize("out", ["deep.pt", "other.pt", "folder", "told.pt", "draft", "link.pt"])
def test_no_file_is_written_over(tmp_path: Path, xrayq: Xrayq, out: str) -> None:
    """Refused before the work: the checkpoint itself, any other file, a folder, the story beside the trunk."""
    for name in ("deep.pt", "other.pt", "told.pt.json", "draft.part"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.pt").symlink_to("deep.pt")
    before = sorted(path.name for path in tmp_path.iterdir())
    given = "draft.part" if out == "draft" else "deep.pt"
    code, _, problems = xrayq("trunk", "convert", given, "--out", out)
    assert (code, problems.count("\n"), "choose another --out" in problems) == (2, 1, True), problems
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert all(
        (tmp_path / name).read_text() == name for name in before if (tmp_path / name).is_file() and name != "link.pt"
    )


def test_the_scale_of_the_inputs_goes_with_the_trunk(tmp_path: Path, flat: nn.Module) -> None:
    write_trunk(tmp_path / "unit.pt", convert(flat.state_dict()).trunk)
    torch.save(flat.state_dict(), tmp_path / "theirs.pth")
    scales = [(trunk.mean, trunk.std) for trunk in map(read_trunk, (tmp_path / "unit.pt", tmp_path / "theirs.pth"))]
    assert scales == [(0.0, 1.0), (0.449, 0.226)]
    unit = build(TINY, tmp_path / "unit.pt").normalise
    assert torch.equal(unit(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)), torch.ones(1, 1, 2, 2))


def test_xrayq_trunk_convert(tmp_path: Path, xrayq: Xrayq) -> None:
    torch.save({"state_dict": inflated(deep((3, 8, 6, 3)))}, tmp_path / "deep.pt")
    words = ("--blocks", "layer2=0,1,4,7", "--licence", "MIT, example", "--out", "runs/start.pt")
    code, out, problems = xrayq("trunk", "convert", "deep.pt", *words)
    assert code == 0, problems
    assert "layer2: blocks 0, 1, 4, 7 of 8" in out
    story = json.loads((tmp_path / "runs/start.pt.json").read_text())
    assert story == command.pretraining_of("runs/start.pt")
    assert story["checkpoint_sha256"] == file_digest(tmp_path / "deep.pt")
    assert (story["licence"], story["blocks"]["layer2"], story["inflated"]) == ("MIT, example", [0, 1, 4, 7], True)
    assert str(tmp_path) not in json.dumps(story)
    assert isinstance(build(TINY, tmp_path / "runs/start.pt"), ChestResNet50)
    (tmp_path / "table.pt").write_text("a,b\n")
    for words, code, message in (
        (("nowhere.pt",), 3, "no such folder or file: nowhere.pt"),
        (("table.pt",), 1, "table.pt is no checkpoint of weights alone"),
        (("deep.pt", "--blocks", "layer2"), 2, "--blocks layer2: write it as layer3=0,7,14,21,28,35"),
        (("deep.pt", "--std", "0"), 1, "a standard deviation is finite and above 0"),
    ):
        left, _, problems = xrayq("trunk", "convert", *words, "--out", "x.pt")
        assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
    assert not (tmp_path / "x.pt").exists()
