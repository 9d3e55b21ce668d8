"""Bring lines back and prove that they came back: restore parity, remapped rows."""

import math

import torch

from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError
from recprune.model import network
from recprune.model.line import Line

PARITY = 1e-5
"""Largest difference of a reloaded line's tail loss from the recorded one (same CPU class: none at all)."""


def check_restore(name: str, day: str, recorded: float | None, found: float) -> str:
    """Compare a reloaded line's loss on the parent's tail with what the parent recorded.

    Args:
        name: of the line.
        day: the parent.
        recorded: the loss, None if the parent has no tail.
        found: the loss now, NaN if there is no tail (or if the line is broken).

    Raises:
        DamagedArtefactError: they differ: the restore did not restore (TorchEasyRec #646, DeepRec #1023).
    """
    if recorded is None and math.isnan(found):
        return f"{name}: {day} has no tail, so that restore parity cannot be checked"
    if recorded is None or not abs(recorded - found) <= PARITY:  # NaN is no parity
        before = "none" if recorded is None else f"{recorded:.6f}"
        raise DamagedArtefactError(
            f"line {name} of {day} has loss {found:.6f} on {day}'s tail, but {before} was recorded when "
            f"it was stored: the restored model is not the stored one; "
            f"bring it back with: recprune fetch {day}"
        )
    return f"{name}: restored, loss {found:.6f} on the tail of {day} as recorded"


def remap_rows(line: Line, old: Vocabulary, new: Vocabulary, seed: int) -> None:
    """Give a line the rows of another vocabulary by id, in place: ids it does not know start fresh.

    Raises:
        DamagedArtefactError: the line's rows are not those of its old vocabulary.
    """
    read = set(line.shape.reading.features.tolist())
    known, wanted = _read(old.sizes(), read), _read(new.sizes(), read)
    if line.sizes != known:
        raise DamagedArtefactError(
            f"the line has {line.sizes} embedding rows, its vocabulary {known}: "
            "they are not of one day; bring both back with: recprune fetch DAY"
        )
    generator = torch.Generator().manual_seed(seed)
    table = network.initial_rows(sum(wanted), line.shape.embedding, generator)
    square = torch.zeros(sum(wanted))
    from_start = to_start = 0
    for feature, old_size, new_size in zip(new.features, known, wanted, strict=True):
        if new_size == 0:  # not read
            continue
        both = new.admitted(feature.name).join(
            old.admitted(feature.name), on="id", how="inner", suffix="_old", maintain_order="left"
        )
        to_rows = torch.tensor([0, *both["row"].to_list()]) + to_start
        from_rows = torch.tensor([0, *both["row_old"].to_list()]) + from_start
        table[to_rows] = line.weights["embedding"][from_rows]
        square[to_rows] = line.moments["embedding.square"][from_rows]
        from_start, to_start = from_start + old_size, to_start + new_size
    line.weights["embedding"], line.moments["embedding.square"] = table, square
    line.sizes = wanted


def _read(sizes: tuple[int, ...], read: set[int]) -> tuple[int, ...]:
    """Return the sizes, 0 for the features that are not read."""
    return tuple(size if i in read else 0 for i, size in enumerate(sizes))
