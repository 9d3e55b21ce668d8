"""Score raw feature values with a promoted bundle; needs numpy and onnxruntime, nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from recprune.errors import SettingsError
from recprune.files import open_artefact
from recprune.serving.model_file import check_model

MODEL = "model.onnx"
_DTYPES: dict[str, Any] = {"float32": np.float32, "int64": np.int64, "string": np.object_}


class Scorer:
    """A bundle in ONNX Runtime.

    Args:
        bundle: folder with `model.onnx` and `manifest.json`; its digests are checked.
        threads: threads of one call.

    Raises:
        DamagedArtefactError: the bundle is not what its manifest says, or its model not what recprune writes.
    """

    def __init__(self, bundle: Path, threads: int = 1) -> None:
        self.manifest: dict[str, Any] = open_artefact(bundle, "bundle")
        check_model(bundle / MODEL)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(bundle / MODEL, options, providers=["CPUExecutionProvider"])
        self._inputs: list[dict[str, str]] = self.manifest["inputs"]

    def score(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return `p_click` of each row (N,).

        Args:
            columns: one array or list of N values per input of the bundle. Missing values: NaN for
                numbers, −2⁶³ for int64 ids, "" for string ids; ids never seen are allowed.

        Raises:
            SettingsError: an input is missing, of another type, or not one value per row.
        """
        absent = [i["name"] for i in self._inputs if i["name"] not in columns]
        if absent:
            raise SettingsError(f"inputs {', '.join(absent)} are missing; the model's manifest lists all inputs.")
        feed = {i["name"]: _column(i["name"], i["dtype"], columns[i["name"]]) for i in self._inputs}
        shapes = {values.shape for values in feed.values()}
        if len(shapes) > 1 or len(next(iter(shapes))) != 1:
            found = ", ".join(f"{name} {values.shape}" for name, values in feed.items())
            raise SettingsError(f"the inputs' shapes are {found}; each must be (N,), one value per row.")
        return np.asarray(self._session.run(["p_click"], feed)[0])


def _column(name: str, dtype: str, values: Any) -> NDArray[Any]:
    """Return an input as the graph takes it; ids are never rounded to fit."""
    found = np.asarray(values)
    if dtype == "int64" and found.size and not np.can_cast(found.dtype, np.int64, "same_kind"):
        raise SettingsError(f"input {name} is {found.dtype}; the model takes int64 ids (missing: -2**63).")
    return found.astype(_DTYPES[dtype], copy=False)
