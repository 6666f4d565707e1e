"""Learning rate as a pure function of the step."""

import math

from mmsearch.retrieval.vse.config import Schedule, TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the rate of the heads at a 0-based step.

    STEP divides by ten every `lr_step` epochs; COSINE falls from `lr` to zero over the run. Both
    rise linearly over `warmup_steps`.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule is Schedule.STEP:
        factor = 0.1 ** (step // steps_per_epoch // config.lr_step)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * step / (steps_per_epoch * config.epochs)))
    return config.lr * warm * factor
