import pytest

torch = pytest.importorskip("torch")

from model.augment import augment  # noqa: E402
from model.network import ChestResNet50, Normalise, PretrainingNetwork  # noqa: E402
from tests.phantoms import chest_pixels  # noqa: E402


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network() -> ChestResNet50:
    return ChestResNet50().eval()


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    """Eight equal films, float [8, 1, 64, 64]."""
    film = torch.from_numpy((chest_pixels(64, 64) >> 4).astype("float32"))
    return film.expand(8, 1, 64, 64)


def test_parameters_are_the_papers_almost_24_million(network: ChestResNet50) -> None:
    assert count(network.trunk) == 23_508_032
    assert count(network.head) == 3 * 3 * 2048 * 3 + 3
    assert count(network) == 23_563_331


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
    assert tuple(values.shape) == (1, 3, 16, 16)
    assert torch.equal(values[:, 0], values[:, 2])
    assert values.min().item() == pytest.approx(-0.449 / 0.226, abs=1e-5)
    assert values.max().item() == pytest.approx((1 - 0.449) / 0.226, abs=1e-5)


def test_pretrained_trunk_fits_and_works_at_any_size(network: ChestResNet50) -> None:
    pretraining = PretrainingNetwork(5).eval()
    assert list(pretraining.trunk.state_dict()) == list(network.trunk.state_dict())
    with torch.inference_mode():
        for size in (64, 96):
            assert tuple(pretraining(torch.zeros(1, 1, size, size)).shape) == (1, 5)


def test_augmented_films_keep_shape_and_range(films: torch.Tensor) -> None:
    moved = augment(films, torch.Generator().manual_seed(1))
    assert moved.shape == films.shape
    assert moved.dtype == torch.float32
    assert moved.min() >= 0
    assert moved.max() <= 255


def test_augmentation_follows_its_generator(films: torch.Tensor) -> None:
    first, again, other = (augment(films, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_film_is_moved_its_own_way(films: torch.Tensor) -> None:
    moved = augment(films, torch.Generator().manual_seed(1))
    assert all(not torch.equal(moved[at], moved[0]) for at in range(1, len(moved)))


def test_no_movement_leaves_films_or_flips_them(films: torch.Tensor) -> None:
    still = augment(films, torch.Generator().manual_seed(1), rotation=0, shift=0, zoom=0, shear=0, brightness=0)
    same = [torch.allclose(one, film, atol=0.1) for one, film in zip(still, films, strict=True)]
    flipped = [torch.allclose(one, film.flip(-1), atol=0.1) for one, film in zip(still, films, strict=True)]
    assert all(a != b for a, b in zip(same, flipped, strict=True))
    assert any(same)
    assert any(flipped)
