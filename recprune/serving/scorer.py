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

MODEL, OUTPUT = "model.onnx", "p_click"
_DTYPES: dict[str, Any] = {"float32": np.float32, "int64": np.int64, "string": np.object_}
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
        request = {i["name"] for i in self._inputs if i.get("per") == "request"}
        self.request_inputs = request if len(request) < len(self._inputs) else set()
        """Inputs of which a call may have a single value; none where every input is one per request."""
        once = {i.name for i in self._session.get_inputs() if i.shape == ["requests"]}
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
                string ids; ids never seen are allowed.

        Raises:
            SettingsError: an input is missing, of another type, or not one value per row.
            RecpruneError: the model fails on these rows.
        """
        names = _names(columns)
        if absent := [i["name"] for i in self._inputs if i["name"] not in names]:
            listed = ", ".join(f"{name}{_near(name, names)}" for name in absent)
            raise SettingsError(f"inputs {listed} are missing; the model's manifest lists all inputs.")
        feed = {i["name"]: _column(i["name"], i["dtype"], columns[i["name"]]) for i in self._inputs}
        feed, rows = self._aligned(feed)
        if rows == 0:
            return np.zeros(0, np.float32)
        try:
            return np.asarray(self._session.run([OUTPUT], feed)[0])
        except UnicodeEncodeError as error:
            raise SettingsError(f"a string id cannot be written in UTF-8: {error}") from None
        except Exception as error:  # ONNX Runtime's errors have no common class but this
            raise RecpruneError(f"the model of {self.manifest['day']} fails on these rows: {error}") from error

    def _aligned(self, feed: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], int]:
        """Return the inputs as the graph takes them, and how many rows there are.

        Raises:
            SettingsError: the inputs' shapes do not go together.
        """
        feed = {name: v.reshape(1) if v.shape == () and name in self.request_inputs else v for name, v in feed.items()}
        lengths = {v.shape for name, v in feed.items() if name not in self.request_inputs}
        once = [name for name in feed if name in self.request_inputs and feed[name].shape == (1,)]
        rows = next(iter(lengths or {v.shape for v in feed.values()}))
        if len(lengths) > 1 or len(rows) != 1 or any(feed[n].shape != rows for n in feed if n not in once):
            found = ", ".join(f"{name} {values.shape}" for name, values in feed.items())
            one = " (or a single one, of the inputs that are one per request)" if self.request_inputs else ""
            raise SettingsError(f"the inputs' shapes are {found}; each must be (N,), one value per row{one}.")
        if len(once) == len(self.request_inputs) and self._takes_one:
            return feed, rows[0]
        return {n: np.repeat(v, rows[0]) if n in once else v for n, v in feed.items()}, rows[0]

    def model_inputs(self) -> dict[str, str]:
        """Return the model's own inputs and their types, as the manifest names them."""
        return {i.name: _ONNX_TYPES.get(i.type, i.type) for i in self._session.get_inputs()}


def _inputs(manifest: Mapping[str, Any], bundle: Path) -> list[dict[str, str]]:
    """Return the manifest's inputs.

    Raises:
        DamagedArtefactError: there are none, or one has no name or a type that does not exist.
    """
    found: list[dict[str, str]] | None = manifest.get("inputs")
    good = isinstance(found, list) and all(
        isinstance(i, dict) and isinstance(i.get("name"), str) and i.get("dtype") in _DTYPES for i in found
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


def _column(name: str, dtype: str, values: Any) -> NDArray[Any]:
    """Return an input as the graph takes it; ids are never rounded to fit."""
    if isinstance(values, np.ma.MaskedArray):
        raise SettingsError(f"input {name} is a masked array; fill it with the missing value first.")
    try:  # without `object` NumPy makes the text "nan" of a NaN among strings
        found = np.asarray(values, object if dtype == "string" else None)
    except ValueError as error:
        raise SettingsError(f"input {name} is no array: {error}") from None
    if dtype == "string":
        return _text(name, found)
    if found.dtype == np.bool_:
        found = found.astype(np.int8)
    kinds = "iu" if dtype == "int64" else "iuf"
    if found.size and (found.dtype.kind not in kinds or not np.can_cast(found.dtype, _DTYPES[dtype], "same_kind")):
        takes = "int64 ids (missing: -2**63)" if dtype == "int64" else "numbers (missing: NaN)"
        raise SettingsError(f"input {name} is {found.dtype}; the model takes {takes}.")
    if found.dtype == np.uint64 and dtype == "int64" and found.size and int(found.max()) >= 2**63:
        raise SettingsError(f"input {name} holds {int(found.max())}, which is no int64; the model takes int64 ids.")
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 it is infinite, as it was in training
        return found.astype(_DTYPES[dtype], copy=False)


def _text(name: str, found: NDArray[Any]) -> NDArray[Any]:
    """Return string ids; None and NaN, as a DataFrame has them, are missing."""
    values = found.ravel().tolist()
    try:  # ONNX Runtime would take None for the id "None"; a third of the time that it takes to look at the types
        "".join(values)
    except TypeError:
        others = {type(v).__name__ for v in values if not (isinstance(v, str) or _is_missing(v))}
        if others:
            raise SettingsError(
                f'input {name} holds {", ".join(sorted(others))}; the model takes strings (missing: "" or None).'
            ) from None
        return np.array([v if isinstance(v, str) else "" for v in values], object).reshape(found.shape)
    return found


def _is_missing(value: Any) -> bool:
    """Say whether a DataFrame means by it that there is no value: None, NaN, the NA of pandas."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"
