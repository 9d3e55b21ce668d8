import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.serving.matching import BLOCK, CHANGE, COPY, FULL, Bytes, Piece, pieces


def rows(*numbers: int) -> Bytes:
    """Rows of 64 bytes, as a table of 16 numbers has them: equal numbers, equal rows."""
    return np.concatenate([np.random.default_rng(n).integers(0, 256, 64, np.uint8) for n in numbers])


def put_together(base: Bytes, new: Bytes) -> Bytes:
    """Make the new file of the base and what its pieces tell."""
    parts, at = [], 0
    for piece in pieces(base, new):
        told = new[at : at + piece.size]
        old = base[piece.at : piece.at + piece.size]
        parts.append(old if piece.kind == COPY else told ^ old ^ old if piece.kind == CHANGE else told)
        at += piece.size
    return np.concatenate([*parts, np.zeros(0, np.uint8)])


def test_rows_that_moved_are_copied_and_new_ones_told_in_full() -> None:
    base = np.concatenate([np.frombuffer(b"abc", np.uint8), rows(1, 2, 3, 4)])
    new = np.concatenate([np.frombuffer(b"abcde", np.uint8), rows(1, 2, 9, 3, 4)])
    assert pieces(base, new) == [
        Piece(CHANGE, 3, 0), Piece(FULL, 2, 0), Piece(COPY, 128, 3), Piece(FULL, 64, 0), Piece(COPY, 128, 131)
    ]  # fmt: skip


def test_a_row_that_changed_in_place_is_told_by_its_difference() -> None:
    base, new = rows(1, 2, 3), rows(1, 2, 3)
    new[65:128:2] ^= 1
    assert pieces(base, new) == [Piece(COPY, 65, 0), Piece(CHANGE, 63, 65), Piece(COPY, 64, 128)]
    new[64:128] = rows(7)
    assert pieces(base, new)[1].kind == FULL, "its difference would be no shorter"


def test_of_equal_rows_the_one_in_its_place_is_taken() -> None:
    base = rows(1, 5, 2, 5, 3)
    new = base.copy()
    new[128:136:2] ^= 255
    assert pieces(base, new) == [Piece(COPY, 128, 0), Piece(CHANGE, 7, 128), Piece(COPY, 5 * 64 - 135, 135)]


@pytest.mark.parametrize(("base", "new"), [(0, 0), (0, 100), (100, 0), (31, 31), (5, 400_000), (400_000, 400_000)])
def test_any_sizes(base: int, new: int) -> None:
    draw = np.random.default_rng(0)
    old, now = draw.integers(0, 256, base, np.uint8), draw.integers(0, 256, new, np.uint8)
    assert put_together(old, now).tolist() == now.tolist()
    again = np.concatenate([now[: new // 2], old, now[new // 2 :]])
    assert put_together(old, again).tolist() == again.tolist()
    if base >= 2 * BLOCK:
        assert sum(piece.size for piece in pieces(old, again) if piece.kind == COPY) >= base


@st.composite
def files(draw: st.DrawFn) -> tuple[Bytes, Bytes]:
    """Two files of the same few rows, some of them cut or changed."""
    parts = st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 64), st.integers(0, 64), st.integers(0, 63)), max_size=12
    )

    def made() -> Bytes:
        found = []
        for number, start, end, flip in draw(parts):
            row = rows(number)
            row[flip] ^= draw(st.integers(0, 1))
            found.append(row[start:end] if start < end else row)
        return np.concatenate([*found, np.zeros(0, np.uint8)])

    return made(), made()


@given(files())
def test_the_pieces_put_the_new_file_together(two: tuple[Bytes, Bytes]) -> None:
    base, new = two
    found = pieces(base, new)
    assert put_together(base, new).tolist() == new.tolist()
    assert all(piece.size > 0 for piece in found)
    assert all(piece.at + piece.size <= len(base) for piece in found if piece.kind != FULL)
    assert all(piece.at == 0 for piece in found if piece.kind == FULL)
