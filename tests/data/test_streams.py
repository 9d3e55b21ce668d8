import contextlib
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from recprune.data.sources.streams import open_text

TEXT = "".join(f"{n},{n * 7919 % 10007}\r\n" for n in range(20_000))
PLAIN = TEXT.encode()
GZIP = gzip.compress(PLAIN, mtime=0)
ZSTD = pa.compress(PLAIN, codec="zstd", asbytes=True)


def text_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with open_text(str(path)) as file:
        return file.read()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", PLAIN),
        ("a.csv.gz", GZIP),
        ("a.csv.GZ", GZIP),
        ("a.csv", GZIP),  # the first bytes say it, whatever the name
        ("a.csv.zst", ZSTD),
        ("a.csv", ZSTD),
        ("a.csv", b"\xef\xbb\xbf" + PLAIN),
        ("a.csv.gz", gzip.compress(PLAIN[:1001]) + gzip.compress(PLAIN[1001:])),  # as `cat a.gz b.gz` makes it
        (
            "a.csv.zst",
            pa.compress(PLAIN[:1001], codec="zstd", asbytes=True)
            + pa.compress(PLAIN[1001:], codec="zstd", asbytes=True),
        ),
    ],
)
def test_packed_text_is_the_text(tmp_path: Path, name: str, content: bytes) -> None:
    assert text_of(tmp_path / name, content) == TEXT


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.csv", b"") == ""


@pytest.mark.parametrize("packed", [GZIP, ZSTD])
def test_a_file_cut_anywhere_is_told_as_cut(tmp_path: Path, packed: bytes) -> None:
    for size in (7, 20, len(packed) // 2, len(packed) - 1):
        with pytest.raises(OSError, match=r"cut short|Truncated|damaged"):
            text_of(tmp_path / "a", packed[:size])


def test_every_flipped_byte_of_gzip_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    small = gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0)
    for position in range(len(small)):
        bad = bytearray(small)
        bad[position] ^= 0x10
        with contextlib.suppress(OSError):
            assert text_of(tmp_path / "a.gz", bytes(bad)) == "a,b\n1,2\n3,4\n", position


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv.gz", PLAIN, "its name says gzip, its first bytes do not"),
        ("a.csv.zst", GZIP, "its name says zstd, its first bytes gzip"),
        ("a.csv.gz", b"", "its name says gzip, its first bytes nothing"),
        ("a.csv", b"PK\x03\x04rest", "it is a zip file; text is read plain, or packed with gzip or zstd: pack it anew"),
        ("a.csv", GZIP + b"more", "Not a gzipped file (b'mo')"),
    ],
)
def test_what_cannot_be_unpacked_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(OSError) as caught:
        text_of(tmp_path / name, content)
    assert str(caught.value) == reason
