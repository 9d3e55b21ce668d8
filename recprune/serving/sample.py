"""Rows that a bundle carries with the probabilities its model gave: proof, elsewhere, that it is the same model."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DamagedArtefactError
from recprune.files import read_json, write_json

FILE = "sample.json"
ROWS = 32
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no numbers for these."""


def write_sample(folder: Path, columns: Mapping[str, NDArray[Any]], p_click: NDArray[np.float32]) -> None:
    """Write raw values by input and each row's probability."""
    told = {name: [_told(v) for v in values.tolist()] for name, values in columns.items()}
    write_json(folder / FILE, {"columns": told, "p_click": [float(p) for p in p_click]})


def read_sample(bundle: Path, inputs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[Any]], NDArray[np.float64]]:
    """Read what `write_sample` wrote.

    Args:
        bundle: its folder.
        inputs: of its manifest; numbers may be NaN or infinite, ids are what they are.

    Raises:
        DamagedArtefactError: it is missing, or no sample of these inputs.
    """
    file = bundle / FILE
    found = read_json(file)
    try:
        columns = {i["name"]: _read(found["columns"][i["name"]], i["dtype"]) for i in inputs}
        p_click = np.array([float(p) for p in found["p_click"]])
        if any(len(values) != len(p_click) for values in columns.values()):
            raise ValueError("columns differ in length")
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedArtefactError(f"{file} is no sample of the bundle's inputs ({error!r})") from None
    return columns, p_click


def _told(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return next(word for word, number in _WORDS.items() if repr(number) == repr(value))


def _read(values: list[Any], dtype: str) -> list[Any]:
    return [_WORDS[v] if dtype == "float32" and isinstance(v, str) else v for v in values]
