"""Lines on disk: one safetensors file each, described in the manifest, checked before use."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recprune.errors import DamagedArtefactError, NotFiniteError
from recprune.files import artefact, open_artefact, understood
from recprune.model.line import Line
from recprune.model.network import Tensors
from recprune.model.shape import Shape

KIND = "lines"
LARGEST_MOMENT = 1e12
"""Training leaves no optimizer state beyond this behind (DeepRec #1023: 1e38 after a restore)."""
TABLE = ("weights/embedding", "moments/embedding.square")
"""The tensors that have a row for every id; the others are small."""
_BESIDE = "beside.tensors"
_PARTS = ("weights", "moments", "numbers", "importance", "origin", "masks", "extra")


def save_lines(
    path: Path, day: str, lines: dict[str, Line], about: dict[str, Any], *, beside: Tensors | None = None
) -> None:
    """Write lines as an artefact; `about` goes into the manifest, beside `lines`.

    Args:
        path: of the artefact.
        day: of the artefact.
        lines: by name.
        about: what else the manifest says.
        beside: tensors of no line, for `load_beside`.

    Raises:
        NotFiniteError: a line is not sound; nothing is written.
    """
    described = {}
    for name, line in lines.items():
        check_sound(name, line)
        described[name] = {
            "shape": line.shape.to_json(),
            "sizes": list(line.sizes),
            "step": line.step,
            "flops": line.shape.flops(),
            "tensors": {key: list(tensor.shape) for key, tensor in _flatten(line).items()},
        }
    with artefact(path, KIND, day, {**about, "lines": described}) as folder:
        for name, line in lines.items():
            save_file(_flatten(line), folder / f"{name}.safetensors")
        if beside is not None:
            save_file({name: tensor.contiguous() for name, tensor in beside.items()}, folder / _BESIDE)


def load_lines(path: Path, day: str | None = None, *, mapped: bool = False) -> tuple[dict[str, Line], dict[str, Any]]:
    """Read lines and the manifest.

    Args:
        path: of the artefact.
        day: of the artefact.
        mapped: leave the tables in their files, from which they are read where they are used. Not to be written to.

    Raises:
        DamagedArtefactError: a file, a tensor's name, type or shape is not what the manifest and the
            network's shape say, or a value is not finite or not sane.
    """
    manifest = open_artefact(path, KIND, day)
    with understood(path):
        if strange := [name for name in manifest["lines"] if not re.fullmatch("[a-z_]+", name)]:
            raise ValueError(f"a line is called {strange[0]!r}")
        return {name: _load(path, name, about, mapped) for name, about in manifest["lines"].items()}, manifest


def load_beside(path: Path) -> Tensors:
    """Read the tensors that were written beside lines, which `load_lines` has checked by their digest."""
    return {name: tensor.clone() for name, tensor in load_file(path / _BESIDE).items()}


def check_sound(name: str, line: Line) -> None:
    """Raise NotFiniteError if a tensor holds what could not be loaded again."""
    faults = list(_faults(_flatten(line)))
    if faults:
        raise NotFiniteError(f"line {name}: {'; '.join(faults)}")


def _load(path: Path, name: str, about: dict[str, Any], mapped: bool) -> Line:
    file = path / f"{name}.safetensors"
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise DamagedArtefactError(f"{file} cannot be read ({error}); {_way_out(path)}") from None
    shape = Shape.from_json(about["shape"])
    if about["tensors"] != {key: list(tensor.shape) for key, tensor in tensors.items()}:
        raise DamagedArtefactError(f"{file} holds other tensors than the manifest says; {_way_out(path)}")
    expected, optional = _expected(shape, about["sizes"])
    for key in [*expected, *(k for k in tensors if k not in expected)]:
        found = _kind(tensors[key].shape, tensors[key].dtype) if key in tensors else "missing"
        wanted = expected.get(key) or optional.get(key) or _kind_of_extra(key, expected)
        if found != wanted:
            raise DamagedArtefactError(
                f"{file}: tensor {key} is {found} on disk, the network's shape says {wanted}; {_way_out(path)}"
            )
    for fault in _faults(tensors):
        raise DamagedArtefactError(f"{file}: {fault}; {_way_out(path)}")
    return _unflatten(shape, about, tensors, TABLE if mapped else ())


def _expected(shape: Shape, sizes: Sequence[int]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a line of this shape must hold, and what it holds once it has learned."""
    float32, float64 = torch.float32, torch.float64
    must = {"weights/embedding": _kind((sum(sizes), shape.embedding), float32)}
    must["moments/embedding.square"] = _kind((sum(sizes),), float32)
    for layer, inputs, outputs in shape.layers():
        for name, size in ((f"{layer}.weight", (outputs, inputs)), (f"{layer}.bias", (outputs,))):
            keys = (f"weights/{name}", f"moments/{name}.first", f"moments/{name}.second")
            must |= dict.fromkeys(keys, _kind(size, float32))
    statistics = (f"numbers/{name}" for name in ("count", "mean", "square"))
    must |= dict.fromkeys(statistics, _kind((len(shape.numeric),), float64))
    hidden = {kind: width for kind, width in shape.widths().items() if kind.startswith(("top", "bottom"))}
    must |= {f"origin/{kind}": _kind((width,), torch.int64) for kind, width in hidden.items()}
    may = {f"importance/{kind}": _kind((width,), float32) for kind, width in shape.widths().items()}
    may |= {f"masks/{layer}.weight": _kind((m, n), torch.bool) for layer, n, m in shape.layers()}
    return must, may


def _kind_of_extra(key: str, expected: dict[str, str]) -> str:
    """Return what a policy's own tensor `extra/LAYER.TENSOR.name` must be: like the tensor it is named after."""
    owner = key.removeprefix("extra/").rpartition(".")[0]
    return expected.get(f"weights/{owner}", "no such tensor") if key.startswith("extra/") else "no such tensor"


def _kind(size: Sequence[int], dtype: torch.dtype) -> str:
    return f"{list(size)} {str(dtype).removeprefix('torch.')}"


def _faults(tensors: dict[str, Tensor]) -> Iterator[str]:
    """Yield what training never leaves behind: values not finite, moments out of range."""
    for key, tensor in tensors.items():
        low, high = (float(tensor.min()), float(tensor.max())) if tensor.numel() else (0.0, 0.0)
        squared = key.endswith((".second", ".square"))
        if not (math.isfinite(low) and math.isfinite(high)):  # both are NaN where one value is
            yield f"tensor {key} holds values that are not finite"
        elif key.startswith("moments/") and (max(-low, high) > LARGEST_MOMENT or (squared and low < 0)):
            yield (f"optimizer state {key} ranges from {low:.3g} to {high:.3g}, which training never leaves behind")


def _flatten(line: Line) -> dict[str, Tensor]:
    return {
        f"{part}/{name}": tensor.detach().contiguous()
        for part in _PARTS
        for name, tensor in sorted(getattr(line, part).items())
    }


def _unflatten(shape: Shape, about: dict[str, Any], tensors: dict[str, Tensor], mapped: Sequence[str]) -> Line:
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in tensors.items():
        part, name = key.split("/", 1)
        # in the file a tensor starts anywhere; sums depend on that in their last bit
        parts[part][name] = tensor if key in mapped else tensor.clone()
    layers = [f"{layer}.{kind}" for layer, _, _ in shape.layers() for kind in ("weight", "bias")]
    parts["weights"] = {name: parts["weights"][name] for name in ("embedding", *layers)}
    return Line(shape=shape, sizes=tuple(about["sizes"]), step=about["step"], **parts)


def _way_out(path: Path) -> str:
    day = next((part for part in path.parts if re.match(r"\d{4}-\d{2}-\d{2}", part)), "DAY")
    return f"the file is damaged or was replaced; bring the stored one back with: recprune fetch {day}"
