"""Measured time as a cost: milliseconds of a call, put together from the times of its parts."""

from collections.abc import Collection, Mapping
from typing import Any

from recprune.errors import SettingsError
from recprune.model.families.family import Counts
from recprune.model.shape import Shape
from recprune.pruning.latency_budget import Statistic
from recprune.pruning.part_times import PartTimes

STEP = 16
"""Matrix products compute this many outputs at once, with AVX as with AVX-512: 17 take the time of 32."""


class MeasuredTime:
    """Milliseconds of a call of ONNX Runtime on this machine, estimated from its cost table.

    Σ = call + inputs + look-ups + numbers + interaction + fully connected layers, each part's median;
    p50 = Σ · p50(W) / Σ(W) and p99 = Σ · p99(W) / Σ(W) with W a whole network that was measured with the
    table: percentiles of parts do not add up, and parts take from each other's caches.

    Args:
        table: of this machine, plain numbers.
        batch: rows of a call.
        statistic: which percentile.
        strings: the categorical features whose ids are strings.

    Raises:
        SettingsError: the table has no such batch size.
    """

    unit = "ms"
    look_ups = True

    def __init__(
        self, table: Mapping[str, Any], batch: int, statistic: Statistic = "p99", strings: Collection[str] = ()
    ) -> None:
        if str(batch) not in table["batches"]:
            raise SettingsError(
                f"a budget at batches of {batch} rows cannot be judged: the cost table of {table['cpu']} was measured "
                f"at {', '.join(table['batches'])}; ask for one of these, or measure {batch} too."
            )
        parts = table["batches"][str(batch)]
        whole, shape = parts["whole"], Shape.from_json(parts["whole"]["shape"])
        self.batch, self.statistic = batch, statistic
        self._times = PartTimes(parts, strings)
        alike = PartTimes(parts, whole["strings"]).total(shape, shape.counts(), _stepped)
        self._ratio: float = whole[statistic] / alike / 1000

    def __call__(self, shape: Shape, counts: Counts) -> float:
        """Return the milliseconds of the network that has these counts."""
        return self._times.total(shape, counts, _stepped) * self._ratio

    def smooth(self, shape: Shape, counts: Counts) -> float:
        """Return the milliseconds without the steps of matrix products: their slope is what a neuron saves."""
        return self._times.total(shape, counts, _plain) * self._ratio

    def fixed(self, shape: Shape, counts: Counts | None = None) -> float:
        """Return the milliseconds that are spent before anything is computed: the call, its inputs, the look-ups.

        Args:
            shape: the network.
            counts: what is left of it: `vectors` and `numbers` say how many features are looked up.
        """
        return sum(list(self.spent(shape, counts).values())[:2])

    def spent(self, shape: Shape, counts: Counts | None = None) -> dict[str, float]:
        """Return the milliseconds of a network by what they are spent on."""
        has, times = shape.counts() if counts is None else counts, self._times
        us = {
            "call and inputs": times.call(shape),
            "look-ups": times.looked_up(shape, has),
            "numbers": times.numbers(shape, has),
            "interaction": times.interaction(shape, has),
            "layers": times.layers(shape, has, _stepped),
        }
        return {what: self._ratio * taken for what, taken in us.items()}


def _stepped(outputs: int) -> int:
    return outputs if outputs <= STEP else -(-outputs // STEP) * STEP


def _plain(outputs: int) -> int:
    return outputs
