"""Recipes of training: what one says, and those with a name, for `xrayq train --preset`."""

from dataclasses import asdict, dataclass, field
from typing import Any

from model.training.augment import Augmentation

SCHEDULES = ("search", "one_cycle")
SELECTIONS = ("accuracy", "loss", "last")


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
    report_mined_weight: float = 1.0
    """Weight of films whose label was mined from a report, against 1 for the others; with 0 they are left out."""
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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PRESETS: dict[str, TrainConfig] = {
    "paper": TrainConfig(),
    "reference": TrainConfig(
        epochs=16,
        schedule="one_cycle",
        learning_rate=2e-4,
        weight_decay=0.02,
        label_smoothing=0.05,
        class_weight_power=0.7,
        select="loss",
        average_last=4,
        members=6,
        augmentation=Augmentation(),
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
