import pytest

torch = pytest.importorskip("torch")

from model.training.resnet import ChestResNet50, HeadPool, Normalise, PretrainingNetwork, fits  # noqa: E402


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network() -> ChestResNet50:
    return ChestResNet50().eval()


def test_parameters_are_the_papers_almost_24_million(network: ChestResNet50) -> None:
    assert count(network.trunk) == 23_501_760  # the first convolution takes one grey channel
    assert count(network.head) == 3 * 3 * 2048 * 3 + 3
    assert count(network) == 23_557_059


def test_shapes(network: ChestResNet50) -> None:
    images = torch.zeros(2, 1, 224, 224, dtype=torch.uint8)
    with torch.inference_mode():
        features = network.trunk(network.normalise(images))
        assert tuple(features.shape) == (2, 2048, 7, 7)
        assert tuple(network.pool(features).shape) == (2, 2048, 3, 3)
        assert tuple(network(images).shape) == (2, 3)
    assert network.head.in_features == 3 * 3 * 2048


def test_uint8_and_float_films_are_the_same() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    values = Normalise()(images)
    assert torch.equal(values, Normalise()(images.float()))
    assert tuple(values.shape) == (1, 1, 16, 16)
    assert values.min().item() == pytest.approx(-0.449 / 0.226, abs=1e-5)
    assert values.max().item() == pytest.approx((1 - 0.449) / 0.226, abs=1e-5)


def test_pretrained_trunk_fits_and_works_at_any_size(network: ChestResNet50) -> None:
    pretraining = PretrainingNetwork(5).eval()
    assert list(pretraining.trunk.state_dict()) == list(network.trunk.state_dict())
    with torch.inference_mode():
        for size in (64, 96):
            assert tuple(pretraining(torch.zeros(1, 1, size, size)).shape) == (1, 5)


def test_sizes_that_fit_the_head(network: ChestResNet50) -> None:
    assert [size for size in range(1, 400) if fits(size)] == list(range(161, 225))
    with torch.inference_mode():
        for size in (64, 160, 161, 224, 256):
            assert tuple(network(torch.zeros(1, 1, size, size)).shape) == (1, 3)


def test_the_pool_is_the_papers_at_sides_that_fit() -> None:
    pool, papers = HeadPool(), torch.nn.AvgPool2d(2)
    for side in (6, 7):
        maps = torch.randn(2, 5, side, side)
        assert torch.equal(pool(maps), papers(maps))
    maps = torch.randn(2, 5, 9, 9)
    assert torch.allclose(pool(maps)[:, :, 0, 0], maps[:, :, :3, :3].mean((2, 3)))
