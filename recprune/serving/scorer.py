"""Score raw feature values with a promoted bundle; needs numpy and onnxruntime, nothing else."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from recprune.errors import DamagedArtefactError, RecpruneError, SettingsError
from recprune.files import open_artefact
from recprune.serving.model_file import check_model
from recprune.serving.signature import PublicKeys, check_signature, trusted
from recprune.serving.values import DTYPES, column, days, lists

MODEL, OUTPUT = "model.onnx", "p_click"
_ONNX_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(string)": "string"}


class Frame(Protocol):
    """A DataFrame, of whichever library."""

    @property
    def columns(self) -> Any:
        """Return the columns' names."""
        ...

    def __getitem__(self, name: str, /) -> Any:
        """Return a column."""
        ...


class Scorer:
    """A bundle in ONNX Runtime.

    Args:
        bundle: folder with `model.onnx` and `manifest.json`; its digests are checked.
        threads: threads of one call.
        public_key: PEM file, or several; only bundles that were signed with the other half of one are loaded.
            Without one those of the environment's RECPRUNE_PUBLIC_KEY, and without that any bundle.

    Raises:
        DamagedArtefactError: the bundle is not what its manifest says, or its model not what recprune writes, or
            it is not signed.
        SettingsError: the key cannot be read.
    """

    def __init__(self, bundle: Path, threads: int = 1, public_key: PublicKeys = None) -> None:
        if keys := trusted(public_key):
            check_signature(bundle, keys)
        self.manifest: dict[str, Any] = open_artefact(bundle, "bundle")
        check_model(bundle / MODEL)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(bundle / MODEL, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class but this
            raise DamagedArtefactError(
                f"{bundle / MODEL}: ONNX Runtime {ort.__version__} cannot load it ({error}); it was made with "
                f"{self.manifest.get('environment', {}).get('libraries', {}).get('onnxruntime', 'another version')}."
            ) from error
        self._inputs = _inputs(self.manifest, bundle)
        self._names = {i["name"] for i in self._inputs}
        self._lists = {i["name"] for i in self._inputs if "most" in i}
        request = {i["name"] for i in self._inputs if i.get("per") == "request"}
        self.request_inputs = request if len(request) < len(self._inputs) else set()
        """Inputs of which a call may have a single value; none where every input is one per request."""
        self._is_plain = not self.request_inputs and not self._lists
        once = {i.name for i in self._session.get_inputs() if i.shape[:1] == ["requests"]}
        self._takes_one = once == self.request_inputs
        outputs = [output.name for output in self._session.get_outputs()]
        if outputs != [OUTPUT]:
            raise DamagedArtefactError(f"{bundle / MODEL} gives {', '.join(outputs)}; a bundle's model gives {OUTPUT}.")

    def score(self, columns: Mapping[str, Any] | Frame) -> NDArray[np.float32]:
        """Return `p_click` of each row (N,). May be called by several threads at once.

        Args:
            columns: one array or list of N values per input of the bundle, or a DataFrame of pandas or Polars.
                Inputs that are one per request may have a single value for all rows, in an array or as it is.
                Other columns are left aside. Missing values: NaN for numbers, −2⁶³ for int64 ids, "" or None for
                string ids; ids never seen are allowed. An input with `most` in the manifest takes a list of ids per
                row, of any length, its first ones are read; one with `reading: date` times or days since 1970-01-01.

        Raises:
            SettingsError: an input is missing, of another type, or not one value per row.
            RecpruneError: the model fails on these rows.
        """
        if not (type(columns) is dict and columns.keys() >= self._names):
            self._check_names(_names(columns))
        feed, rows = self._aligned({i["name"]: self._array(i, columns[i["name"]]) for i in self._inputs})
        if rows == 0:
            return np.zeros(0, np.float32)
        try:
            return np.asarray(self._session.run([OUTPUT], feed)[0])
        except UnicodeEncodeError as error:
            raise SettingsError(f"a string id cannot be written in UTF-8: {error}") from None
        except Exception as error:  # ONNX Runtime's errors have no common class but this
            raise RecpruneError(f"the model of {self.manifest['day']} fails on these rows: {error}") from error

    def _check_names(self, names: set[str]) -> None:
        """Raise SettingsError if an input is not among the names."""
        if absent := [i["name"] for i in self._inputs if i["name"] not in names]:
            listed = ", ".join(f"{name}{_near(name, names)}" for name in absent)
            raise SettingsError(f"inputs {listed} are missing; the model's manifest lists all inputs.")

    def _array(self, about: Mapping[str, Any], values: Any) -> NDArray[Any]:
        name, dtype = about["name"], about["dtype"]
        if "most" in about:
            return lists(name, dtype, about["most"], values, once=name in self.request_inputs)
        return column(name, dtype, days(values) if about.get("reading") == "date" else values)

    def _aligned(self, feed: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], int]:
        """Return the inputs as the graph takes them, and how many rows there are.

        Raises:
            SettingsError: the inputs' shapes do not go together.
        """
        if self._is_plain and len(distinct := {v.shape for v in feed.values()}) == 1:
            shape = distinct.pop()
            if len(shape) == 1:
                return feed, shape[0]
        feed = {name: v.reshape(1) if v.shape == () and name in self.request_inputs else v for name, v in feed.items()}
        shapes = {name: v.shape[:1] if name in self._lists else v.shape for name, v in feed.items()}
        lengths = {shape for name, shape in shapes.items() if name not in self.request_inputs}
        once = [name for name in feed if name in self.request_inputs and shapes[name] == (1,)]
        rows = next(iter(lengths or set(shapes.values())))
        if len(lengths) > 1 or len(rows) != 1 or any(shapes[n] != rows for n in feed if n not in once):
            found = ", ".join(f"{name} {values.shape}" for name, values in feed.items())
            one = " (or a single one, of the inputs that are one per request)" if self.request_inputs else ""
            raise SettingsError(f"the inputs' shapes are {found}; each must be (N,), one value per row{one}.")
        if len(once) == len(self.request_inputs) and self._takes_one:
            return feed, rows[0]
        return {n: np.repeat(v, rows[0], axis=0) if n in once else v for n, v in feed.items()}, rows[0]

    def model_inputs(self) -> dict[str, str]:
        """Return the model's own inputs and their types, as the manifest names them."""
        return {i.name: _ONNX_TYPES.get(i.type, i.type) for i in self._session.get_inputs()}


def _inputs(manifest: Mapping[str, Any], bundle: Path) -> list[dict[str, Any]]:
    """Return the manifest's inputs.

    Raises:
        DamagedArtefactError: there are none, or one has no name or a type that does not exist.
    """
    found: list[dict[str, Any]] | None = manifest.get("inputs")
    good = isinstance(found, list) and all(
        isinstance(i, dict)
        and isinstance(i.get("name"), str)
        and str(i.get("dtype")) in DTYPES
        and isinstance(i.get("most", 1), int)
        for i in found
    )
    if not good or not found:
        raise DamagedArtefactError(
            f"{bundle}: the manifest's inputs are no list of names and types; see: recprune doctor"
        )
    return found


def _names(columns: Any) -> set[str]:
    """Return the names of the columns; a LazyFrame and a pyarrow Table have such, but no values by name."""
    kind = type(columns).__name__
    lazy = kind in ("LazyFrame", "Table")
    found = columns if isinstance(columns, Mapping) else None if lazy else getattr(columns, "columns", None)
    if found is None:
        raise SettingsError(f"the columns are a {kind}; give values by name, or a DataFrame of pandas or Polars.")
    return {name for name in found if isinstance(name, str)}


def _near(name: str, names: set[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    return f" (is it {found[0]}?)" if found else ""
