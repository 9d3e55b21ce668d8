"""Lines on disk: one safetensors file each, described in the manifest, checked before use."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recprune.errors import DamagedArtefactError, NotFiniteError
from recprune.files import artefact, open_artefact
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape

KIND = "lines"
LARGEST_MOMENT = 1e12
"""An optimizer state beyond this is not one that training left behind (DeepRec #1023: 1e38 after a restore)."""
_PARTS = ("weights", "moments", "numbers", "importance")


def save_lines(path: Path, day: str, lines: dict[str, Line], about: dict[str, Any]) -> None:
    """Write lines as an artefact; `about` goes into the manifest, beside `lines`.

    Raises:
        NotFiniteError: a tensor is not finite; nothing is written.
    """
    described = {}
    for name, line in lines.items():
        tensors = _flatten(line)
        check_finite(name, tensors)
        described[name] = {
            "shape": line.shape.to_json(),
            "sizes": list(line.sizes),
            "step": line.step,
            "flops": line.shape.flops(),
            "tensors": {key: list(tensor.shape) for key, tensor in tensors.items()},
        }
    with artefact(path, KIND, day, {**about, "lines": described}) as folder:
        for name, line in lines.items():
            save_file(_flatten(line), folder / f"{name}.safetensors")


def load_lines(path: Path, day: str | None = None) -> tuple[dict[str, Line], dict[str, Any]]:
    """Read lines and the manifest.

    Raises:
        DamagedArtefactError: a file, a tensor's name or its shape is not what the manifest and the
            network's shape say, or a value is not finite or not sane.
    """
    manifest = open_artefact(path, KIND, day)
    return {name: _load(path, name, about) for name, about in manifest["lines"].items()}, manifest


def check_finite(name: str, tensors: dict[str, Tensor]) -> None:
    """Raise NotFiniteError naming the tensors that hold NaN or infinity."""
    bad = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NotFiniteError(f"line {name}: {', '.join(bad)} hold values that are not finite")


def is_finite(line: Line) -> bool:
    """Say whether every tensor of the line is finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in _flatten(line).values())


def _load(path: Path, name: str, about: dict[str, Any]) -> Line:
    file = path / f"{name}.safetensors"
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise DamagedArtefactError(f"{file} cannot be read ({error}); {_way_out(path)}") from None
    shape = Shape.from_json(about["shape"])
    expected = _flatten(new_line(shape, about["sizes"], seed=0))
    found = {k: list(t.shape) for k, t in tensors.items()}
    for key, tensor in expected.items():
        if found.get(key) != list(tensor.shape):
            raise DamagedArtefactError(
                f"{file}: tensor {key} is {found.get(key, 'missing')} on disk, "
                f"the network's shape says {list(tensor.shape)}; {_way_out(path)}"
            )
    extra = [k for k in found if k not in expected and not k.startswith("importance/")]
    if extra or about["tensors"] != found:
        raise DamagedArtefactError(f"{file}: tensors {extra or list(found)} are not in the manifest; {_way_out(path)}")
    _check_sane(file, tensors, path)
    return _unflatten(shape, about, tensors)


def _check_sane(file: Path, tensors: dict[str, Tensor], path: Path) -> None:
    for key, tensor in tensors.items():
        low, high = (float(tensor.min()), float(tensor.max())) if tensor.numel() else (0.0, 0.0)
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedArtefactError(f"{file}: tensor {key} holds values that are not finite; {_way_out(path)}")
        squared = key.startswith("moments/") and key.endswith((".second", ".square"))
        if key.startswith("moments/") and (max(abs(low), high) > LARGEST_MOMENT or (squared and low < 0)):
            raise DamagedArtefactError(
                f"{file}: optimizer state {key} ranges from {low:.3g} to {high:.3g}, which training never leaves "
                f"behind; {_way_out(path)}"
            )


def _flatten(line: Line) -> dict[str, Tensor]:
    return {
        f"{part}/{name}": tensor.detach().contiguous()
        for part in _PARTS
        for name, tensor in sorted(getattr(line, part).items())
    }


def _unflatten(shape: Shape, about: dict[str, Any], tensors: dict[str, Tensor]) -> Line:
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = tensor
    order = new_line(shape, (1,) * len(about["sizes"]), seed=0).weights
    parts["weights"] = {name: parts["weights"][name] for name in order}
    return Line(shape=shape, sizes=tuple(about["sizes"]), step=about["step"], **parts)


def _way_out(path: Path) -> str:
    day = next((p for p in path.parts if p[:4].isdigit()), "DAY")
    return f"the file is damaged or was replaced; bring the stored one back with: recprune fetch {day}"
