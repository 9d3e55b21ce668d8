"""Where the large tensors of a model lie: in one file beside it, each in a place of its own."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a tensor lie, as the model file says."""

    tensor: str
    size: int
    """Bytes that its dimensions and its type make."""
    entries: tuple[tuple[str, str], ...]
    """Keys and values, of which each may be anything."""

    @property
    def offset(self) -> int:
        """Return the first byte; of a place without problems."""
        return int(dict(self.entries)["offset"])


def data_file(model: Path) -> Path:
    """Return the one file in which tensors of a model may lie.

    >>> data_file(Path("bundles/2024-01-05/model.onnx")).name
    'model.data'
    """
    return model.with_suffix(".data")


def place_problems(places: Sequence[Place], model: Path) -> Iterator[str]:
    """Tell what is wrong with the places of a model's tensors, one by one and then among themselves."""
    if not places:
        return
    data = data_file(model)
    good = []
    for place in places:
        if problem := _problem(place, data):
            yield problem
        else:
            good.append(place)
    for first, second in pairwise(sorted(good, key=lambda place: (place.offset, place.size))):
        if first.offset + first.size > second.offset:
            yield f"tensors {first.tensor!r} and {second.tensor!r} share bytes of {data.name!r}"


def _problem(place: Place, data: Path) -> str | None:
    about = dict(place.entries)
    location, name = about.get("location", ""), place.tensor
    if location != data.name:
        return f"tensor {name!r} lies in {location!r}, but only {data.name!r} may hold tensors"
    if sorted(key for key, _ in place.entries) != ["length", "location", "offset"]:
        return f"tensor {name!r} has a place of {', '.join(repr(key) for key, _ in place.entries)}"
    if not all(_NUMBER.fullmatch(about[key]) for key in ("offset", "length")):
        return f"tensor {name!r} has a place in {location!r} that is no number"
    if data.is_symlink() or not data.is_file():
        return f"tensor {name!r} lies in {location!r}, which is no file of the bundle (a link is none)"
    offset, length, has = place.offset, int(about["length"]), data.stat().st_size
    if length != place.size or offset + length > has:
        return f"tensor {name!r} has {place.size} bytes, but its place is {length} at {offset} of {has} in {location!r}"
    return None
