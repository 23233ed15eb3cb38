"""Augmentation moves films as its docstrings say, by its own generator alone."""

from dataclasses import fields, replace

import pytest

torch = pytest.importorskip("torch")

from model.training.augment import BORDER, Augmentation, augment, disguise  # noqa: E402
from tests.phantoms import chest_pixels  # noqa: E402

STILL = Augmentation(**{one.name: 0.0 for one in fields(Augmentation)})
STRONG = Augmentation(rotation=15, shift=0.1, zoom=0.2, shear=8, stretch=0.15, brightness=0.25, erase=0.5)
HIDING = Augmentation(gamma=0.5, collimation=0.5, blur=0.5, noise=0.5, jpeg=0.5)
NAMED = pytest.mark.parametrize("strength", [Augmentation(), STRONG, HIDING], ids=["default", "strong", "hiding"])


def moved(films: torch.Tensor, strength: Augmentation, seed: int = 1) -> torch.Tensor:
    return augment(films, torch.Generator().manual_seed(seed), strength)


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    """Sixteen equal films, float [16, 1, 64, 64]."""
    film = torch.from_numpy((chest_pixels(64, 64) >> 4).astype("float32"))
    return film.expand(16, 1, 64, 64)


def spot(row: float, column: float, count: int = 64, side: int = 65) -> torch.Tensor:
    """Black films with one white patch of 5 x 5, its place as shares of the side."""
    films = torch.zeros(count, 1, side, side)
    top, left = int(row * side), int(column * side)
    films[:, :, top - 2 : top + 3, left - 2 : left + 3] = 255.0
    return films


def centres(films: torch.Tensor) -> torch.Tensor:
    """Centre of brightness of each film, [N, 2] as (right, down) in sides from the middle."""
    side = films.shape[-1]
    at = (torch.arange(side) + 0.5) / side - 0.5
    mass = films.sum(dim=(1, 2, 3))
    return torch.stack([(films * at).sum(dim=(1, 2, 3)) / mass, (films * at[:, None]).sum(dim=(1, 2, 3)) / mass], dim=1)


def test_no_strength_changes_nothing(films: torch.Tensor) -> None:
    assert torch.allclose(moved(films, STILL), films, atol=0.01)


@NAMED
def test_films_keep_shape_and_range(films: torch.Tensor, strength: Augmentation) -> None:
    found = moved(films, strength)
    assert (found.shape, found.dtype) == (films.shape, torch.float32)
    assert 0 <= found.min() < found.max() <= 255


@NAMED
def test_the_generator_decides(films: torch.Tensor, strength: Augmentation) -> None:
    first = moved(films, strength)
    torch.rand(7)  # the global generator has no part in it
    assert torch.equal(moved(films, strength), first)
    assert not torch.equal(moved(films, strength, seed=2), first)


def test_each_film_is_moved_its_own_way(films: torch.Tensor) -> None:
    found = moved(films, Augmentation())
    assert all(not torch.equal(found[a], found[b]) for a in range(len(found)) for b in range(a))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 2, 14), (1.0, 16, 16)])
def test_flip_mirrors_left_to_right(films: torch.Tensor, share: float, least: int, most: int) -> None:
    found = moved(films, replace(STILL, flip=share))
    flipped = [torch.allclose(one, film.flip(-1), atol=0.1) for one, film in zip(found, films, strict=True)]
    same = [torch.allclose(one, film, atol=0.1) for one, film in zip(found, films, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert least <= sum(flipped) <= most


def test_rotation_turns_about_the_middle() -> None:
    turned = centres(moved(spot(0.5, 0.8), replace(STILL, rotation=20)))
    angles = torch.rad2deg(torch.atan2(turned[:, 1], turned[:, 0]))
    assert angles.abs().max() <= 20.5
    assert angles.min() < -12
    assert angles.max() > 12
    assert torch.allclose(turned.norm(dim=1), turned.norm(dim=1).mean().expand(len(turned)), atol=0.01)


def test_shift_is_a_share_of_the_side() -> None:
    away = centres(moved(spot(0.5, 0.5), replace(STILL, shift=0.1)))
    assert away.abs().max() <= 0.101
    assert away.min(dim=0).values.max() < -0.06
    assert away.max(dim=0).values.min() > 0.06


def test_zoom_changes_the_size() -> None:
    out = centres(moved(spot(0.5, 0.7), replace(STILL, zoom=0.2)))
    start = centres(spot(0.5, 0.7))[0, 0]
    ratios = out[:, 0] / start
    assert out[:, 1].abs().max() < 0.01
    assert 1 / 1.2 - 0.01 <= ratios.min() < 0.9
    assert 1.1 < ratios.max() <= 1 / 0.8 + 0.01


def test_stretch_changes_width_alone() -> None:
    for place, moves in (((0.5, 0.7), True), ((0.7, 0.5), False)):
        out, start = centres(moved(spot(*place), replace(STILL, stretch=0.2))), centres(spot(*place))
        assert ((out - start).abs().max() > 0.02) == moves


def test_shear_moves_rows_sideways() -> None:
    out, start = centres(moved(spot(0.7, 0.5), replace(STILL, shear=10))), centres(spot(0.7, 0.5))
    assert (out - start)[:, 1].abs().max() < 0.01
    assert 0.02 < (out - start)[:, 0].abs().max() <= 0.2 * 0.177 + 0.01


def test_what_comes_in_from_outside_is_black() -> None:
    white = torch.full((16, 1, 32, 32), 255.0)
    found = moved(white, replace(STILL, shift=0.3))
    assert ((found < 1) | (found > 254)).float().mean() > 0.9
    assert all((film < 1).any() for film in found)


def test_brightness_changes_grey_values_and_nothing_else(films: torch.Tensor) -> None:
    """Each film becomes a * film + b, within the documented limits."""
    low = films * 0.4 + 60  # nothing clips
    for found, film in zip(moved(low, replace(STILL, brightness=0.2)), low, strict=True):
        contrast = float(found.std() / film.std())
        offset = float(found.mean() - contrast * film.mean())
        assert 0.8 <= contrast <= 1.2
        assert abs(offset) <= 0.2 * 128 + 0.1
        assert torch.allclose(found, contrast * film + offset, atol=0.1)


def test_erase_covers_one_rectangle() -> None:
    white = torch.full((64, 1, 50, 50), 255.0)
    found = moved(white, replace(STILL, erase=0.5))[:, 0]
    covered = found == 127.0
    assert 10 < int(covered.any(dim=(1, 2)).sum()) < 54
    assert torch.all(covered | (found > 254.9))
    for film in covered[covered.any(dim=(1, 2))]:
        rows, columns = film.any(dim=1), film.any(dim=0)
        assert torch.equal(film, rows[:, None] & columns[None, :])
        assert max(int(rows.sum()), int(columns.sum())) <= 50 * 2 / 5
        assert int(rows.sum()) == int(rows.nonzero().max() - rows.nonzero().min()) + 1


@pytest.mark.parametrize("name", ["gamma", "collimation", "blur", "noise", "jpeg"])
@pytest.mark.parametrize("side", [64, 60])
def test_what_hides_the_source_changes_its_share_of_the_films(name: str, side: int) -> None:
    films = torch.from_numpy((chest_pixels(side, side) >> 4).astype("float32")).expand(64, 1, side, side)
    found = moved(films, replace(STILL, **{name: 0.5}))
    changed = [not torch.allclose(one, film, atol=0.05) for one, film in zip(found, films, strict=True)]
    least = 16 if name != "collimation" else 12  # no border is drawn on one of sixteen
    assert least <= sum(changed) <= 48
    for one, film, differs in zip(found, films, changed, strict=True):
        if differs and name != "collimation":  # still the same chest
            assert torch.corrcoef(torch.stack([one.flatten(), film.flatten()]))[0, 1] > 0.4


def test_a_bent_grey_curve_keeps_the_order_of_grey_values() -> None:
    ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(16, 1, 16, 16)
    for found in moved(ramp, replace(STILL, gamma=1.0)):
        values = found.flatten()
        assert torch.all(values.diff() >= 0)
        assert (values[0] < 3, values[-1] > 254) == (True, True)


def test_collimation_is_black_and_narrow() -> None:
    side = 50
    found = moved(torch.full((64, 1, side, side), 255.0), replace(STILL, collimation=1.0))[:, 0]
    black = found < 1
    assert torch.all(black | (found > 254))
    wide = int(side * BORDER) + 1
    assert not black[:, wide:-wide, wide:-wide].any()
    sides = [black[:, 0], black[:, -1], black[:, :, 0], black[:, :, -1]]
    assert all(8 < int(one.all(dim=1).sum()) < 56 for one in sides)


def test_blur_takes_sharpness_away_and_leaves_the_rest(films: torch.Tensor) -> None:
    found = moved(films, replace(STILL, blur=1.0))
    assert torch.all(found.diff(dim=-1).abs().mean((1, 2, 3)) < films.diff(dim=-1).abs().mean((1, 2, 3)))
    assert torch.allclose(found.mean((1, 2, 3)), films.mean((1, 2, 3)), atol=2)


def test_jpeg_rounds_within_blocks_and_keeps_their_means(films: torch.Tensor) -> None:
    found = moved(films, replace(STILL, jpeg=1.0))
    means = [one.unfold(2, 8, 8).unfold(3, 8, 8).mean((-1, -2)) for one in (found, films)]
    assert torch.allclose(*means, atol=1.0)
    assert not torch.allclose(found, films, atol=1.0)


def test_nothing_is_drawn_for_what_is_off(films: torch.Tensor) -> None:
    """So that recipes from before these were added move films as they did."""
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert disguise(films, generator, Augmentation()) is films
    assert torch.equal(generator.get_state(), before)


def test_the_films_given_are_not_changed(films: torch.Tensor) -> None:
    kept = films.clone()
    moved(films, STRONG)
    assert torch.equal(films, kept)
