"""What libraries say of a full disk, of which /dev/full is one that is always there."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import SafetensorError

from recprune.errors import DiskFullError
from recprune.files import artefact, free_bytes, is_disk_full, size_of, write_text

FULL = Path("/dev/full")
MANY = np.arange(100_000, dtype=np.float64)
pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no device /dev/full"),
]


def save_array() -> None:
    with FULL.open("wb") as file:
        np.save(file, MANY)


WRITERS = {
    "python": lambda: FULL.write_bytes(MANY.tobytes()),
    "numpy": save_array,
    "polars": lambda: pl.DataFrame({"a": MANY}).write_parquet(FULL),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_an_artefact_without_space_is_told_with_what_is_missing_and_leaves_nothing(write: Callable[[], None]) -> None:
    with artefact(Path("models/2024-01-04/trained"), "lines", "2024-01-04", {}) as folder:
        (folder / "a.bin").write_bytes(bytes(5000))
    like = size_of(Path("models/2024-01-04/trained"))
    told = (
        r"models/2024-01-05/trained cannot be written: the disk of .* is full, 3 bytes of it were written and [\d,]+ "
        rf"are free; that of another day has {like:,} bytes\. Nothing was half written; make room for 1 bytes or more, "
        r"then give the same command again\."
    )

    def make() -> None:
        with artefact(Path("models/2024-01-05/trained"), "lines", "2024-01-05", {}) as folder:
            (folder / "b.bin").write_bytes(b"abc")
            write()

    with pytest.raises(DiskFullError, match=f"^{told}$"):
        make()
    assert [path.name for path in Path("models").iterdir()] == ["2024-01-04"]
    assert list(Path("scratch/aside").iterdir()) == []


def test_what_safetensors_says_of_a_full_disk_is_understood() -> None:
    """Its sentence on a small disk that was full; it replaces /dev/full instead of writing to it."""
    told = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert is_disk_full(SafetensorError(told))


def test_other_errors_are_what_they_were() -> None:
    assert not is_disk_full(ValueError("no room"))
    assert not is_disk_full(PermissionError(13, "Permission denied"))
    with pytest.raises(ZeroDivisionError), artefact(Path("a"), "k", "2024-01-05", {}):
        _ = 1 / 0


def test_a_text_that_cannot_be_written_names_itself_and_leaves_nothing() -> None:
    Path("a.json").mkdir()
    with pytest.raises(OSError, match=re.escape("a.json")):
        write_text(Path("a.json"), "text")
    assert [path.name for path in Path().iterdir()] == ["a.json"]


def test_free_bytes_are_those_of_the_disk() -> None:
    assert free_bytes() > 0
