"""What changed between two masks: groups that came and went per kind, features that did, and churn.

With A the groups kept before and B those kept after, a group being a kind and its number in the dense network:
Jaccard similarity J = |A ∩ B| / |A ∪ B|, churn = 1 − J.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from recprune.pruning.ledger import Mask


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of the groups of one kind."""

    before: int
    """|A|."""
    after: int
    """|B|."""
    came: int
    """|B \\ A|: groups that are new, or grown again."""
    went: int
    """|A \\ B|: groups killed."""

    @property
    def jaccard(self) -> float:
        """|A ∩ B| / |A ∪ B|, in [0, 1]; 1 if both are empty."""
        either = self.before + self.came
        return (self.before - self.went) / either if either else 1.0


def churn(changes: Iterable[Change]) -> float:
    """Return 1 − |A ∩ B| / |A ∪ B| over the groups of all kinds given, in [0, 1]; 0 if there are none.

    >>> churn([Change(before=10, after=10, came=2, went=2), Change(before=8, after=8, came=0, went=0)])
    0.2
    """
    changes = tuple(changes)
    changed = sum(each.came + each.went for each in changes)
    either = sum(each.before + each.came for each in changes)
    return changed / either if either else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Some inputs of one feature."""

    columns: tuple[int, ...] = ()
    """Columns of its vector, ascending."""
    partners: tuple[str, ...] = ()
    """The other feature of each pair."""

    def __str__(self) -> str:
        """Name them briefly.

        >>> str(Inputs(columns=(0, 1, 2, 7), partners=("user", "store")))
        '[0–2, 7] × user, × store'
        """
        columns = [f"[{', '.join(_runs(self.columns))}]"] if self.columns else []
        partners = [", ".join(f"× {name}" for name in self.partners)] if self.partners else []
        return " ".join([*columns, *partners])


def _runs(numbers: Sequence[int]) -> list[str]:
    """Write stretches of more than two consecutive numbers by their ends.

    >>> _runs([0, 1, 2, 7, 8])
    ['0–2', '7', '8']
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [text for run in runs for text in ([f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(n) for n in run])]


Fate = Literal["new", "gone", "changed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureChange:
    """What became of one feature; a pair is an input of both of its features."""

    name: str
    before: int
    """Inputs that it took part in."""
    after: int
    came: Inputs
    went: Inputs
    fate: Fate
    """`new`: it was not read before; `gone`: it is not read any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What changed from one mask to another."""

    kinds: dict[str, Change]
    features: tuple[FeatureChange, ...]
    """The features of which inputs came or went, or that are new or gone."""


def difference(before: Mask, after: Mask) -> Difference:
    """Compare two masks of one dense network.

    Raises:
        ValueError: they are of different dense networks; says what differs.
    """
    _check_same_network(before, after)
    kinds = {}
    for kind in after.kept:
        a, b = set(before.kept[kind]), set(after.kept[kind])
        kinds[kind] = Change(before=len(a), after=len(b), came=len(b - a), went=len(a - b))
    return Difference(kinds=kinds, features=tuple(_features(before, after)))


def _check_same_network(before: Mask, after: Mask) -> None:
    if before.vectors != after.vectors:
        changed = sorted({*before.vectors} ^ {*after.vectors}) or ["the same ones in another order"]
        raise ValueError(f"the features differ: {', '.join(changed)}")
    if before.embedding != after.embedding:
        raise ValueError(f"the embedding is {before.embedding} wide in the first and {after.embedding} in the second")
    for kind in sorted(before.dense.keys() | after.dense.keys()):
        first, second = before.dense.get(kind, 0), after.dense.get(kind, 0)
        if first != second:
            raise ValueError(f"{kind} has {first} groups in the first dense network and {second} in the second")


def _features(before: Mask, after: Mask) -> Iterable[FeatureChange]:
    a, b = before.kept["inputs"], after.kept["inputs"]
    came, went = (_by_vector(after, numbers) for numbers in ({*b} - {*a}, {*a} - {*b}))
    counts = [inputs_per_vector(mask) for mask in (before, after)]
    for vector, name in enumerate(after.vectors):
        was, is_ = (vector in mask.kept["vectors"] for mask in (before, after))
        if vector in came or vector in went or was != is_:
            yield FeatureChange(
                name=name,
                before=counts[0][vector],
                after=counts[1][vector],
                came=came.get(vector, Inputs()),
                went=went.get(vector, Inputs()),
                fate="changed" if was == is_ else "gone" if was else "new",
            )


def inputs_per_vector(mask: Mask, *, pairs: bool = True) -> Counter[int]:
    """Count the kept inputs that each vector takes part in, with or without its pairs with others."""
    needed = (mask.vectors_of(number) for number in mask.kept["inputs"])
    return Counter(vector for of in needed if pairs or len(of) == 1 for vector in of)


def _by_vector(mask: Mask, numbers: Iterable[int]) -> dict[int, Inputs]:
    """Group inputs by the vectors that they take part in."""
    columns: dict[int, list[int]] = {}
    partners: dict[int, list[str]] = {}
    for number in sorted(numbers):
        first, *others = mask.vectors_of(number)
        if others:
            partners.setdefault(first, []).append(mask.vectors[others[0]])
            partners.setdefault(others[0], []).append(mask.vectors[first])
        else:
            columns.setdefault(first, []).append(number % mask.embedding)
    return {
        vector: Inputs(columns=tuple(columns.get(vector, ())), partners=tuple(partners.get(vector, ())))
        for vector in columns.keys() | partners.keys()
    }
