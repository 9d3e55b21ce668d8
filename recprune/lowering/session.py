"""Models in ONNX Runtime, one thread, and what they are fed with."""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from recprune.lowering.external import save_model

Feed = dict[str, NDArray[Any]]


def open_session(model: bytes | Path, profile: Path | None = None) -> ort.InferenceSession:
    """Load a model; with `profile`, the beginning of a file's name, the time of every node is written there."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@contextmanager
def written(model: onnx.ModelProto, folder: Path) -> Iterator[Path]:
    """Yield a model as a file, of whatever size, which is removed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        save_model(model, Path(made) / "model.onnx")
        yield Path(made) / "model.onnx"


def model_bytes(file: Path) -> int:
    """Return the bytes of a model with what lies outside of it."""
    data = file.with_suffix(".data")
    return file.stat().st_size + (data.stat().st_size if data.exists() else 0)


def feed(rows: pl.DataFrame, request: Collection[str] = ()) -> Feed:
    """Return raw feature values as a model takes them; of the features of the request the first row's alone."""
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    columns = {name: v.astype(object) if rows[name].dtype == pl.String else v for name, v in columns.items()}
    return {name: v[:1] if name in request else v for name, v in columns.items()}
