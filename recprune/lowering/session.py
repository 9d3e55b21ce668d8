"""Models in ONNX Runtime, one thread, and what they are fed with."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from recprune.lowering.external import save_model

Feed = dict[str, NDArray[Any]]


def open_session(model: bytes | Path, profile: Path | None = None, without: Sequence[str] = ()) -> ort.InferenceSession:
    """Load a model.

    Args:
        model: its file, or what is in it.
        profile: beginning of the name of a file to which the time of every node is written.
        without: optimizers that are not to be used.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without) or None
    )


@contextmanager
def written(model: onnx.ModelProto, folder: Path) -> Iterator[Path]:
    """Yield a model as a file, of whatever size, in a folder of its own, which is removed before and afterwards.

    Its name is the caller's, so that what a kill leaves is gone when the same work is done again.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        save_model(model, folder / "model.onnx", check=False)
        yield folder / "model.onnx"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def model_bytes(file: Path) -> int:
    """Return the bytes of a model with what lies outside of it."""
    data = file.with_suffix(".data")
    return file.stat().st_size + (data.stat().st_size if data.exists() else 0)


def feed(rows: pl.DataFrame, request: Collection[str] = ()) -> Feed:
    """Return what `raw_values` gives as arrays; of the features of the request the first row's alone."""
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    columns = {name: v.astype(object) if v.dtype.kind in "OU" else v for name, v in columns.items()}
    return {name: v[:1] if name in request else v for name, v in columns.items()}
