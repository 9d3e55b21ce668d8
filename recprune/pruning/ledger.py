"""The mask ledger: which groups the served network has on a day, as plain numbers.

Kinds of groups: `inputs` (columns and pairs of vectors), `vectors` (a feature's embedding, or the numbers), and the
neurons of each hidden layer, `bottom.i` and `top.i`. Groups go by their numbers in the dense network. Masks of single
weights (`Line.masks`) are no part of it. Imports neither torch nor numpy, so that reports and commands start at once.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recprune.model.line import Line
    from recprune.model.shape import Shape

Kept = dict[str, tuple[int, ...]]
"""Kept groups per kind, ascending."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """Which groups of the dense network are kept.

    Inputs are numbered as in `Shape`: columns first (vector v, column d is v·D + d), then pairs in lexicographic order.
    """

    vectors: tuple[str, ...]
    """Names of the dense network's vectors."""
    embedding: int
    """Width D of a vector."""
    dense: dict[str, int]
    """How many groups the dense network has, per kind."""
    kept: Kept

    def __post_init__(self) -> None:
        """Check that sizes and numbers fit one another.

        Raises:
            ValueError: they do not; says which ones.
        """
        columns, pairs = len(self.vectors) * self.embedding, len(_pairs(len(self.vectors)))
        if self.dense.keys() != self.kept.keys() or not {"inputs", "vectors"} <= self.dense.keys():
            raise ValueError(f"kinds of the dense network are {sorted(self.dense)}, of the mask {sorted(self.kept)}")
        if self.dense["vectors"] != len(self.vectors) or self.dense["inputs"] not in (columns, columns + pairs):
            raise ValueError(
                f"{len(self.vectors)} vectors of width {self.embedding} do not give {self.dense['inputs']} inputs "
                f"of {self.dense['vectors']} vectors; they give {columns}, or {columns + pairs} with pairs"
            )
        for kind, numbers in self.kept.items():
            if sorted({*numbers}) != [*numbers] or not {*numbers} <= {*range(self.dense[kind])}:
                raise ValueError(f"kept {kind} are not ascending numbers below {self.dense[kind]}")

    def vectors_of(self, number: int) -> tuple[int, ...]:
        """Return the vector or the two vectors that an input needs."""
        columns = len(self.vectors) * self.embedding
        return (number // self.embedding,) if number < columns else _pairs(len(self.vectors))[number - columns]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, the kept groups bit-packed."""
        return {
            "vectors": list(self.vectors),
            "embedding": self.embedding,
            "dense": dict(self.dense),
            "kept": self.packed(),
        }

    def packed(self) -> dict[str, str]:
        """Return the kept groups per kind: a bit each, the first one the highest of its byte, in base64."""
        return {kind: pack(numbers, self.dense[kind]) for kind, numbers in self.kept.items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Mask":
        """Read what `to_json` wrote.

        Raises:
            ValueError: a part is missing, or one does not have the size that another says.
        """
        if not (isinstance(raw, Mapping) and all(isinstance(raw.get(n, {}), Mapping) for n in ("dense", "kept"))):
            raise ValueError("a mask that is no mapping of dense sizes and kept groups")
        missing = {"vectors", "embedding", "dense", "kept"} - raw.keys()
        if missing:
            raise ValueError(f"a mask without {', '.join(sorted(missing))}")
        dense = dict(raw["dense"])
        unknown = raw["kept"].keys() - dense.keys()
        if unknown:
            raise ValueError(f"there is no dense size of {', '.join(sorted(unknown))}")
        kept = {kind: unpack(text, dense[kind], kind) for kind, text in raw["kept"].items()}
        return cls(vectors=tuple(raw["vectors"]), embedding=raw["embedding"], dense=dense, kept=kept)


def day_masks(pruned: Mapping[str, Any]) -> tuple[Mask, Mask]:
    """Return the served line's masks before and after a day, from its `prune.json`.

    Raises:
        ValueError: they are damaged.
    """
    after = Mask.from_json(pruned["mask"])
    return Mask.from_json({**pruned["mask"], "kept": pruned["churn"]["kept_before"]}), after


@lru_cache(maxsize=64)
def _pairs(vectors: int) -> tuple[tuple[int, int], ...]:
    return tuple(combinations(range(vectors), 2))


def pack(numbers: Sequence[int], size: int) -> str:
    """Return a bit per group, the first one the highest of its byte, in base64.

    >>> pack([0, 2, 8], 10)  # 10100000 10000000
    'oIA='
    """
    bits = bytearray(-(-size // 8))
    for number in numbers:
        bits[number // 8] |= 128 >> number % 8
    return b64encode(bits).decode("ascii")


def unpack(text: str, size: int, kind: str = "groups") -> tuple[int, ...]:
    """Return the numbers that `pack` packed.

    Raises:
        ValueError: the text is no base64, or not of so many groups.

    >>> unpack("oIA=", 10)
    (0, 2, 8)
    """
    bits = b64decode(text, validate=True)
    if len(bits) != -(-size // 8):
        raise ValueError(f"the mask of {kind} has {len(bits)} bytes; one of {size} has {-(-size // 8)}")
    found = tuple(i for i in range(8 * len(bits)) if bits[i // 8] & 128 >> i % 8)
    if found and found[-1] >= size:
        raise ValueError(f"the mask of {kind} has bits set after its last of {size}")
    if pack(found, size) != text:
        raise ValueError(f"the mask of {kind} is no base64 as it is written here")
    return found


def mask_of(line: "Line", dense: "Shape") -> Mask:
    """Return the mask of a line.

    Args:
        line: dense or carved.
        dense: shape of the dense network.

    Raises:
        ValueError: the line does not know the origin of each of its neurons.
    """
    sizes = {"inputs": dense.all_inputs, "vectors": len(dense.vectors)} | dense.widths()
    kept: Kept = {"inputs": line.shape.inputs, "vectors": line.shape.reading.vectors}
    for kind in [kind for kind in sizes if kind not in kept]:
        width = line.shape.widths().get(kind, 0)  # none of the bottom tower's once the numbers are not read
        kept[kind] = tuple(line.origin[kind].tolist()) if kind in line.origin else ()
        if len(kept[kind]) != width:
            raise ValueError(f"{kind} has {width} neurons, the line knows the origin of {len(kept[kind])}")
    return Mask(vectors=dense.vectors, embedding=dense.embedding, dense=sizes, kept=kept)
