"""Pretraining: what an interruption changes (nothing), and `xrayq pretrain`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torch import nn  # noqa: E402
from torchvision.models import resnet50  # noqa: E402

from model.data.auxiliary import AuxiliaryFilms  # noqa: E402
from model.digest import file_digest  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.training.loop import Checkpoint  # noqa: E402
from model.training.pretrain import PretrainConfig, PretrainEpoch, pretrain  # noqa: E402
from model.training.resnet import ChestResNet50  # noqa: E402
from model.training.train import build  # noqa: E402
from model.training.trunk import read_trunk  # noqa: E402
from tests.services import Xrayq  # noqa: E402
from tests.unit.model.data.test_auxiliary import write_auxiliary  # noqa: E402
from tests.unit.model.small import TINY, Small, Stop, stopping, weights  # noqa: E402
from worker.cli import train as command  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def auxiliary(labels: tuple[str, ...] = ("a:mass", "a:never")) -> AuxiliaryFilms:
    """Six films; odd ones have the first label, none the others."""
    truth = np.zeros((6, len(labels)), np.float32)
    truth[::2, :1] = 1
    images = np.random.default_rng(1).integers(0, 256, (6, 1, 32, 32), np.uint8)
    known = np.ones_like(truth)
    return AuxiliaryFilms(images=images, truth=truth, known=known, labels=labels, sources=("a",) * 6, digest="")


class SmallPretraining(nn.Module):
    """As PretrainingNetwork, with few weights."""

    def __init__(self, labels: int, **scale: float) -> None:
        super().__init__()
        self.trunk = Small().layers
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(8 * 9, labels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(images / 255 - 0.5))


def test_an_interrupted_pretraining_continues_as_if_nothing_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.pretrain.PretrainingNetwork", SmallPretraining)
    config = PretrainConfig(sizes=((24, 1), (32, 2)), batch=4, head_rate=3.0)
    whole: list[PretrainEpoch] = []
    pretrain(auxiliary(), config, out=tmp_path / "whole.pt", report=whole.append)
    expected = weights(tmp_path / "whole.pt")
    assert [epoch.epoch for epoch in whole] == [1, 2, 3]
    assert np.isfinite([epoch.loss for epoch in whole]).all()
    out, path = tmp_path / "trunk.pt", tmp_path / "trunk.pt.checkpoint"
    for callback, after, done in [
        *(("report", n, n) for n in (1, 2, 3)),
        *(("advance", n, (n - 1) // 2) for n in range(1, 7)),
    ]:
        checkpoint = Checkpoint(path, {"recipe": config.as_dict()})
        with pytest.raises(Stop):
            pretrain(auxiliary(), config, out=out, checkpoint=checkpoint, **{callback: stopping(after)})
        assert not out.exists()
        if path.exists():
            with pytest.raises(DatasetError, match="another recipe"):
                pretrain(auxiliary(), config, out=out, checkpoint=Checkpoint(path, {"recipe": {}}))
        torch.manual_seed(after)
        rest: list[PretrainEpoch] = []
        pretrain(auxiliary(), config, out=out, checkpoint=checkpoint, report=rest.append)
        assert [(epoch.epoch, epoch.loss) for epoch in rest] == [(epoch.epoch, epoch.loss) for epoch in whole[done:]]
        assert all(torch.equal(weights(out)[name], value) for name, value in expected.items())
        assert sorted(one.name for one in tmp_path.iterdir()) == ["trunk.pt", "whole.pt"]
        out.unlink()
    pretrain(auxiliary(), replace(config, seed=1), out=out)
    assert any(not torch.equal(weights(out)[name], value) for name, value in expected.items())


@pytest.mark.parametrize("labels", [("a:never",), ()], ids=str)
def test_nothing_to_learn_from(tmp_path: Path, labels: tuple[str, ...]) -> None:
    films = auxiliary(labels)
    films.truth[:] = 0
    with pytest.raises(DatasetError, match="no label has films with it and films of the same source without it"):
        pretrain(films, PretrainConfig(sizes=((32, 1),)), out=tmp_path / "trunk.pt")
    assert not (tmp_path / "trunk.pt").exists()


@pytest.mark.usefixtures("thin")
def test_xrayq_pretrain_resumes(tmp_path: Path, xrayq: Xrayq, monkeypatch: pytest.MonkeyPatch) -> None:
    write_auxiliary(tmp_path / "aux", {f"a/{at}": "mass" if at % 2 else "" for at in range(4)})
    words = ("pretrain", "aux", "--sizes", "32:2", "--batch", "4", "--device", "cpu", "--out")
    assert xrayq(*words, "whole.pt")[0] == 0
    save = Checkpoint.save

    def save_and_stop(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        save(checkpoint, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        assert xrayq(*words, "trunk.pt")[0] not in (0, 2)
    code, _, problems = xrayq(*words, "trunk.pt")
    assert (code, problems.count("\n"), "--resume continues it" in problems) == (2, 1, True)
    code, out, problems = xrayq(*words, "trunk.pt", "--resume")
    assert code == 0, problems
    assert ("epoch   1" in out, "epoch   2" in out) == (False, True)
    whole, found = weights(tmp_path / "whole.pt"), weights(tmp_path / "trunk.pt")
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["aux", "trunk.pt", "trunk.pt.json", "whole.pt", "whole.pt.json"]
    told = command.pretraining_of("trunk.pt")
    assert told is not None
    assert told["weights"] == file_digest(tmp_path / "trunk.pt")
    (tmp_path / "trunk.pt.json").replace(tmp_path / "whole.pt.json")
    assert (command.pretraining_of("trunk.pt"), command.pretraining_of("imagenet")) == (None, None)
    assert isinstance(build(TINY, tmp_path / "trunk.pt"), ChestResNet50)
    assert (told["initial_weights"], told["start"]) == ("random", None)
    code, _, problems = xrayq("pretrain", "nowhere")
    assert (code, problems.count("\n"), "no such folder or file: nowhere" in problems) == (3, 1, True)


def test_pretraining_goes_on_from_a_trunk_and_tells_the_whole_story(tmp_path: Path, xrayq: Xrayq) -> None:
    write_auxiliary(tmp_path / "aux", {f"a/{at}": "mass" if at % 2 else "" for at in range(4)})
    write_auxiliary(tmp_path / "aux2", {f"b/{at}": "mass" if at % 2 else "" for at in range(4)})
    torch.save({"state_dict": resnet50().state_dict()}, tmp_path / "theirs.pt")
    assert xrayq("trunk", "convert", "theirs.pt", "--licence", "MIT", "--out", "start.pt")[0] == 0
    words = ("--init", "start.pt", "--sizes", "32:1", "--batch", "8", "--learning-rate", "0", "--device", "cpu")
    code, out, problems = xrayq("pretrain", "aux", "aux2", *words, "--out", "trunk.pt")
    assert code == 0, problems
    assert "8 of 8 films teach 2 labels" in out
    start, trunk = read_trunk(tmp_path / "start.pt"), read_trunk(tmp_path / "trunk.pt")
    assert torch.equal(start.state["layer4.2.conv3.weight"], trunk.state["layer4.2.conv3.weight"])
    assert (trunk.mean, trunk.std) == (0.0, 1.0)
    told = command.pretraining_of("trunk.pt")
    assert told is not None
    assert (told["start"]["licence"], told["start"]["command"].split()[:3]) == ("MIT", ["xrayq", "trunk", "convert"])
    assert told["initial_weights"] == f"file, sha256 {file_digest(tmp_path / 'start.pt')}"


@pytest.mark.parametrize("sizes", ["", "128", "128:0", "16:3", "128:5,", "a:b"])
def test_impossible_stages(xrayq: Xrayq, sizes: str) -> None:
    code, _, problems = xrayq("pretrain", "aux", "--sizes", sizes)
    assert (code, problems.count("\n"), "write it as 128:5,160:3" in problems) == (2, 1, True)
