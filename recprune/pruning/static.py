"""Baselines that change nothing after the first day: dense, frozen, re-initialised, random, small and dense."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from recprune.data.features import FeatureSet
from recprune.errors import SettingsError
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape
from recprune.pruning.ads import swap
from recprune.pruning.budget import Budget
from recprune.pruning.control import Control
from recprune.pruning.policy import Adapted, Learn, Lines, Policy, Today
from recprune.pruning.shrink import keep_groups

TOPS: dict[str, tuple[float, ...]] = {
    "one": (1.0,),
    "two": (1.0, 0.5),
    "two-flat": (1.0, 1.0),
    "two-steep": (1.0, 0.25),
    "three": (1.0, 0.5, 0.25),
    "three-flat": (1.0, 1.0, 1.0),
    "three-steep": (1.0, 0.25, 0.125),
    "three-late": (0.5, 1.0, 1.0),
}
"""Hand-made shapes: relative widths of the hidden top layers."""
READS = ("all", "pairs", "swap")
"""What a small dense network reads: everything, the interaction terms alone (of a family without pairs the first
quarter of each vector's columns), or half of the inputs, swapped daily by its own gradient."""


@dataclass(frozen=True, kw_only=True)
class Dense(Policy):
    """The full model, incrementally trained; never served."""

    carves: bool = False
    needs_dense: bool = True


@dataclass(frozen=True, kw_only=True)
class Frozen(Policy):
    """Carved once, never trained again: what staleness costs."""

    def train(self, lines: Lines, control: Control, events: FeatureSet, learn: Learn, today: Today) -> None:
        """Learn nothing."""


@dataclass(frozen=True, kw_only=True)
class ShapeOnly(Policy):
    """The widths and inputs that the carving found, weights drawn anew: is it the shape or the weights?"""

    def settle(self, lines: Lines, today: Today) -> Lines:
        """Draw the served line's layers and table anew; what it knows of the numbers' scale it keeps."""
        served, sizes = lines["served"], lines["dense"].sizes
        fresh = new_line(served.shape, sizes, today.seed)
        fresh.numbers = {name: tensor.clone() for name, tensor in served.numbers.items()}
        return {"served": fresh}


@dataclass(frozen=True, kw_only=True)
class Random(Policy):
    """Groups of the dense line left at random, as many of each kind as the carving left."""

    def settle(self, lines: Lines, today: Today) -> Lines:
        """Cut the dense line to the served line's widths."""
        dense, served = lines["dense"], lines["served"].shape
        generator, widths = torch.Generator().manual_seed(today.seed), served.widths()
        vectors = _vectors(dense.shape, served, generator)
        kept = {"inputs": _inputs(dense.shape, served, set(vectors.tolist()), generator)}
        if dense.shape.attended:
            kept["vectors"] = vectors
        for kind in [k for k in widths if k not in kept]:
            kept[kind] = _drawn(range(dense.shape.widths()[kind]), widths[kind], generator)
        return {"served": keep_groups(dense, kept)}


def _vectors(dense: Shape, served: Shape, generator: torch.Generator) -> torch.Tensor:
    """Return the vectors that may be read: not the numbers' if the served line has none; drawn if attended to."""
    has = served.counts()
    among = range(int(bool(dense.numeric) and not has["numbers"]), len(dense.vectors))
    return _drawn(among, has["vectors"] if dense.attended else len(among), generator)


def _inputs(dense: Shape, served: Shape, vectors: set[int], generator: torch.Generator) -> torch.Tensor:
    """Draw as many columns and as many pairs of these vectors as the served line reads."""
    has, columns = served.counts(), dense.columns
    may = [i for i in range(dense.all_inputs) if set(dense.vectors_of(i)) <= vectors]
    first = _drawn([i for i in may if i < columns], has["columns"], generator)
    return torch.cat([first, _drawn([i for i in may if i >= columns], has["pairs"], generator)])


def _drawn(among: Sequence[int], count: int, generator: torch.Generator) -> torch.Tensor:
    index = torch.randperm(len(among), generator=generator)[:count]
    return torch.sort(torch.tensor(among, dtype=torch.int64)[index]).values


@dataclass(frozen=True, kw_only=True)
class SmallDense(Policy):
    """A small network trained from the first day: the baseline that must be beaten."""

    top: str = "three"
    """Hand-made shape: a name of `TOPS`."""
    reads: str = "all"
    """One of `READS`."""

    def __post_init__(self) -> None:
        """Check the names."""
        if self.top not in TOPS or self.reads not in READS:
            raise SettingsError(
                f"small_dense: top is {self.top}, reads is {self.reads}; top is one of {', '.join(TOPS)}, "
                f"reads one of {', '.join(READS)}."
            )

    def begin(self, dense: Shape, sizes: Sequence[int], budget: Budget, seed: int) -> Line:
        """Return the untrained line: the widest network of the hand-made shape within the budget.

        Raises:
            SettingsError: not even the narrowest one is within the budget.
        """
        if not dense.top:
            raise SettingsError("small_dense: model.top is empty; a hand-made shape needs a hidden layer to shrink.")
        reading = self._reading(dense, seed)
        best = None
        for step in range(1, 1025):
            shape = self._shape(reading, step / 1024)
            if budget.of(shape) <= budget.limit:
                best = shape
        if best is None:
            raise SettingsError(
                f"small_dense: no network of shape {self.top} that reads {self.reads} is within "
                f"{budget.limit:,.0f} {budget.cost.unit}; its inputs alone cost more: choose other reads, or raise "
                "the budget."
            )
        return new_line(best, sizes, seed)

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        """Swap inputs by the own gradient, if that is how this one reads."""
        now = Adapted(dict(lines), control)
        if self.reads == "swap":
            own = replace(today.settings, guide="own")
            swap(now, replace(today, settings=own))
        return now

    def _reading(self, dense: Shape, seed: int) -> Shape:
        pairs = range(dense.columns, dense.all_inputs)
        if self.reads == "all":
            inputs: list[int] = list(dense.inputs)
        elif self.reads == "swap":
            half = torch.randperm(dense.all_inputs, generator=torch.Generator().manual_seed(seed))
            inputs = sorted(half[: dense.all_inputs // 2].tolist())
        elif pairs:
            inputs = list(pairs)
        else:
            few = max(1, dense.embedding // 4)
            inputs = [i for i in dense.inputs if i % dense.embedding < few]
        return replace(dense, inputs=tuple(inputs))

    def _shape(self, reading: Shape, scale: float) -> Shape:
        widest, bottom = max(reading.top), reading.bottom if 0 in reading.reading.vectors else ()
        top = tuple(max(1, round(scale * widest * share)) for share in TOPS[self.top])
        return replace(reading, top=top, bottom=tuple(max(1, round(scale * n)) for n in bottom))
