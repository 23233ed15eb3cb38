"""Recipes by name, for `xrayq train --preset`."""

from model.augment import Augmentation
from model.train import TrainConfig

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
