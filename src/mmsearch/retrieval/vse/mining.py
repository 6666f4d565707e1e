"""Which negatives to mine at this step: the `auto` schedule and the way out of a collapse.

With the hardest negative from scratch a deep tower often maps everything to one point: the loss
then sits at exactly 2 · margin a pair (both hinges at the margin) and its gradient vanishes.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from mmsearch.retrieval.vse.config import Mining

SMOOTHING = 0.98
"""Decay of the running means of gap and triplet loss, about fifty steps."""
PLATEAU_TOLERANCE = 0.005
"""Relative distance from 2 · margin that counts as the plateau."""


@dataclass(slots=True)
class MiningState:
    """What the schedule remembers between steps."""

    mode: Mining
    gap: float = 0.0
    loss: float = 0.0
    steps: int = 0
    plateau_steps: int = 0
    fallen_back: bool = False


class MiningSchedule:
    """Chooses the mining of each step from the batches seen so far.

    `auto` starts semi-hard and turns to the hardest once the smoothed gap, mean(positive) -
    mean(hardest negative), exceeds `threshold`. `hardest` that sits on the plateau for `patience`
    steps falls back to semi-hard, warns, and returns to the hardest when the gap clears.
    """

    def __init__(self, wanted: Mining, *, margin: float, threshold: float, patience: int) -> None:
        self.wanted, self.margin, self.threshold = wanted, margin, threshold
        self.patience = max(1, patience)
        start = Mining.SEMI_HARD if wanted is Mining.AUTO else wanted
        self.state = MiningState(mode=start)

    @property
    def mode(self) -> Mining:
        """The mining of the next step; never AUTO."""
        return self.state.mode

    def observe(self, gap: float, triplet: float) -> str | None:
        """Take the gap and triplet loss of a step; return a message when the mode changes.

        A batch without negatives (an infinite gap) says nothing and is passed over.
        """
        if not math.isfinite(gap):
            return None
        state = self.state
        decay = min(SMOOTHING, state.steps / (state.steps + 1))
        state.gap = decay * state.gap + (1 - decay) * gap
        state.loss = decay * state.loss + (1 - decay) * triplet
        state.steps += 1
        if state.mode is Mining.HARDEST:
            return self._watch_for_collapse(triplet)
        waits = self.wanted is Mining.AUTO or state.fallen_back
        if waits and state.mode is Mining.SEMI_HARD and self._clear():
            state.mode, state.plateau_steps = Mining.HARDEST, 0
            return f"mining: semi-hard → hardest (gap {state.gap:+.3f})"
        return None

    def _clear(self) -> bool:
        return self.state.steps >= 50 and self.state.gap > self.threshold

    def _watch_for_collapse(self, triplet: float) -> str | None:
        state, level = self.state, 2 * self.margin
        on_plateau = abs(triplet - level) <= PLATEAU_TOLERANCE * level
        state.plateau_steps = state.plateau_steps + 1 if on_plateau else 0
        if state.plateau_steps < self.patience:
            return None
        state.mode, state.fallen_back = Mining.SEMI_HARD, True
        state.plateau_steps, state.steps = 0, 0
        return (
            f"warning: collapsed space: the loss sat at 2 · margin = {level:g} for "
            f"{self.patience} steps; falling back to semi-hard negatives"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {**asdict(self.state), "mode": str(self.state.mode)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.state = MiningState(**{**saved, "mode": Mining(saved["mode"])})
