"""Recipes of training: what one says, and those with a name, for `xrayq train --preset`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from model.training.augment import Augmentation

SCHEDULES = ("search", "one_cycle")
SELECTIONS = ("accuracy", "loss", "last")
BALANCES = ("none", "source")
ByName = tuple[tuple[str, float], ...]
BY_NAME = ("mined_weight", "source_weight")
READINGS = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
"""What a radiologist of the RSNA called a film."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe; the defaults are the 2020 paper's. Written into the bundle's provenance."""

    epochs: int = 30
    batch: int = 16
    schedule: str = "search"
    """search: `search_epochs` at `search_rate`, back to the best of them, then `learning_rate` to the end, as in the
    paper. one_cycle: up to `learning_rate` in a fifth of the steps and down to zero."""
    search_epochs: int = 4
    search_rate: float = 5e-4
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.4
    label_smoothing: float = 0.0
    class_weight_power: float = 1.0
    """Class weights are (1 / class share) to this power: 0 none, 1 fully balanced."""
    mined_weight: ByName = ()
    """By finding, the weight of films whose label was mined from a report; 1 where nothing is said. A film of weight 0
    is left out. Films are weighed so when networks are compared on validation films, too."""
    source_weight: ByName = ()
    """The same by source; the two are multiplied."""
    balance: str = "none"
    """How films are drawn. none: each film once. source: with replacement, each finding equally often, and so that a
    film's source says less of its finding; see `sampling.shares`."""
    epoch_films: int = 0
    """Films drawn for an epoch; 0 for as many as there are."""
    reading_weight: float = 0.0
    """Weight of a second head that says what a radiologist read (READINGS), where that is known; not exported."""
    auxiliary_weight: float = 0.0
    """Weight, in the findings' own loss, of auxiliary films that were read as normal or as lung opacity (pneumonia).
    With 0 they teach through the second head alone."""
    disagreement: float = 0.0
    """Share of the target that moves from a mined label to what a radiologist read where the two differ."""
    teacher_weight: float = 0.0
    """Share of the target that a teacher's probabilities have, where there is a teacher."""
    teacher_temperature: float = 2.0
    """Above 1 the teacher's probabilities are drawn together."""
    group_dro: float = 0.0
    """Step of the groups' weights (group: a source's films of one finding), which grow with their loss (Sagawa et al.
    2020, who take 0.01); 0 off."""
    adversary_weight: float = 0.0
    """Strength of a reversed gradient from a head that tells sources apart (Ganin et al. 2016); 0 off."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Stages as (side, epochs), which add up to `epochs`; without any, films keep their side."""
    head_rate: float = 1.0
    """Learning rate of the heads by that of the trunk's last stage."""
    trunk_decay: float = 1.0
    """Learning rate of each stage of the trunk by that of the next."""
    clip: float = 0.0
    """Largest norm of a step's gradient; 0 for none."""
    select: str = "accuracy"
    """What the kept epoch is best at on the validation split: accuracy (ties: less loss), or weighted loss. With `last`
    nothing is chosen there: the last epoch is kept, or the mean of the last ones and of all members."""
    average_last: int = 0
    """The mean of this many last epochs' weights (batch norm measured again) competes with the single epochs; 0 off."""
    members: int = 1
    """Fine-tunings from the same start, each in its own random order; over 1, the mean of their weights is kept if it
    validates better than every one (Wortsman et al. 2022, model soups)."""
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(brightness=0.0))
    seed: int = 2020

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.select not in SELECTIONS:
            raise ValueError(f"schedule is one of {SCHEDULES}, select one of {SELECTIONS}")
        if self.epochs < 1 or self.batch < 1 or self.members < 1 or not 0 <= self.average_last <= self.epochs:
            raise ValueError("epochs, batch and members are at least 1, average_last at most epochs")
        if self.balance not in BALANCES or (self.sizes and sum(epochs for _, epochs in self.sizes) != self.epochs):
            raise ValueError(f"balance is one of {BALANCES}, the epochs of the sizes add up to epochs")
        if not (0 <= self.disagreement <= 1 and 0 <= self.teacher_weight <= 1 and self.teacher_temperature > 0):
            raise ValueError("disagreement and teacher_weight are shares, teacher_temperature is above 0")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {name: dict(getattr(self, name)) for name in BY_NAME}


def read_recipe(record: Mapping[str, Any]) -> TrainConfig:
    """What `as_dict` gave, through JSON or not. Raises ValueError."""
    try:
        tables: dict[str, Any] = {name: tuple(sorted(record[name].items())) for name in BY_NAME}
        tables["sizes"] = tuple((int(side), int(epochs)) for side, epochs in record["sizes"])
        return TrainConfig(**dict(record) | tables | {"augmentation": Augmentation(**record["augmentation"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a recipe of another release: {error}") from None


def side_at(sizes: tuple[tuple[int, int], ...], epoch: int) -> int | None:
    """The side of films in this epoch, the first being 1; None where the recipe has no stages."""
    for side, epochs in sizes:
        if epoch <= epochs:
            return side
        epoch -= epochs
    return None


def changed(config: TrainConfig, changes: Iterable[str]) -> TrainConfig:
    """The recipe with "name=value" applied, values as JSON or a bare word; "mined_weight.pneumonia=0" for one entry of
    a table, "augmentation.blur=0.5" for one of the augmentation.

    Raises:
        ValueError: no such name, or a value that does not fit.
    """
    for change in changes:
        name, equals, text = change.partition("=")
        name, _, entry = name.strip().partition(".")
        try:
            if not equals:
                raise ValueError("write NAME=VALUE")
            config = _with(config, name, entry, _value(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{change!r}: {error}") from None
    return config


def _with(config: TrainConfig, name: str, entry: str, value: Any) -> TrainConfig:
    old = getattr(config, name)
    if name in BY_NAME and entry:
        table: Any = tuple(sorted((dict(old) | {entry: float(value)}).items()))
        return replace(config, **{name: table})
    if name == "augmentation" and entry:
        return replace(config, augmentation=replace(old, **{entry: float(value)}))
    if name == "sizes":
        stages = tuple((int(side), int(epochs)) for side, epochs in value)
        epochs = sum(epochs for _, epochs in stages) or config.epochs
        return replace(config, sizes=stages, epochs=epochs, average_last=min(config.average_last, epochs))
    if entry or isinstance(old, tuple | Augmentation):
        raise ValueError("name one entry, such as mined_weight.normal or augmentation.blur, and only of such a table")
    return replace(config, **{name: _like(old, value)})


def _like(old: Any, value: Any) -> Any:
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if type(value) is not type(old):
        raise ValueError(f"a value such as {old!r}")
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


HIDDEN_SOURCE = Augmentation(
    rotation=8.0, shift=0.06, shear=4.0, gamma=0.5, collimation=0.3, blur=0.5, noise=0.3, jpeg=0.3
)
"""Also of `xrayq pretrain`."""
PRESETS: dict[str, TrainConfig] = {
    "paper": TrainConfig(),
    "reference": TrainConfig(
        epochs=6,
        sizes=((224, 6),),
        epoch_films=3000,
        batch=24,
        schedule="one_cycle",
        learning_rate=1.5e-4,
        weight_decay=0.05,
        clip=5.0,
        label_smoothing=0.1,
        class_weight_power=0.0,
        mined_weight=(("normal", 0.5), ("pneumonia", 0.0)),
        source_weight=(("actualmed", 0.0), ("mendeley_tb", 0.5), ("siim", 0.3)),
        balance="source",
        reading_weight=0.5,
        auxiliary_weight=1.0,
        select="loss",
        average_last=2,
        augmentation=HIDDEN_SOURCE,
    ),
    "ci": TrainConfig(
        epochs=4,
        batch=6,
        schedule="one_cycle",
        learning_rate=1e-4,
        dropout=0.0,
        select="loss",
        augmentation=Augmentation(rotation=3.0, shift=0.02, zoom=0.03, shear=1.0, brightness=0.0),
    ),
}
