"""What keeps a run from learning nonsense: it stops at numbers that are none, and skips spikes.

A gradient that is no number stops the run before the weights are touched: the last checkpoint is
good. A step whose loss or gradient stands far above those before it is skipped, as one bad batch
can undo hours; several such steps in a row are no accident, and are taken.

Source of the rule (six standard deviations over the last 128 steps): the skip-step optimiser of
OLMo 2, arXiv:2501.00656, and github.com/allenai/OLMo-core.
"""

import math
from collections import deque
from statistics import fmean, pstdev

WINDOW_STEPS = 128
FEWEST_STEPS = 32  # before that nothing is known of what is usual
DEVIATIONS = 6.0
MOST_SKIPPED = 4  # in a row; then it is the data, not an accident
LEAST_SPREAD = 0.05  # of the mean: where nothing varies, a little is no spike


class SpikeGuard:
    """Tells steps that stand out from those before them; part of a checkpoint."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW_STEPS)
        self._norms: deque[float] = deque(maxlen=WINDOW_STEPS)
        self._skipped = 0

    def should_skip(self, loss: float, norm: float) -> bool:
        """Judge a step, and remember it unless it is to be skipped.

        :param loss: mean over the step's tokens.
        :param norm: of the gradient, before it is clipped.
        """
        stands_out = _is_spike(loss, self._losses) or _is_spike(norm, self._norms)
        if stands_out and self._skipped < MOST_SKIPPED:
            self._skipped += 1
            return True
        if stands_out:  # a new level: what was usual is forgotten
            self._losses.clear()
            self._norms.clear()
        self._skipped = 0
        self._losses.append(loss)
        self._norms.append(norm)
        return False

    def state(self) -> dict[str, object]:
        """Everything it remembers, as JSON values."""
        return {
            "losses": list(self._losses),
            "norms": list(self._norms),
            "skipped": self._skipped,
        }

    def restore(self, losses: list[float], norms: list[float], skipped: int) -> None:
        """Remember what `state` gave."""
        self._losses = deque(losses, WINDOW_STEPS)
        self._norms = deque(norms, WINDOW_STEPS)
        self._skipped = skipped


def _is_spike(value: float, usual: deque[float]) -> bool:
    if len(usual) < FEWEST_STEPS or not math.isfinite(value):
        return False
    mean = fmean(usual)
    spread = max(pstdev(usual, mean), LEAST_SPREAD * abs(mean))
    return value > mean + DEVIATIONS * spread
