from pathlib import Path

import pytest

from recprune.data.schema import Schema, ids, many, number
from recprune.data.sources.json_rows import JsonRows
from recprune.data.sources.source import RawBatch

SCHEMA = Schema(
    label="click", time="at", key=(), features=(ids("item"), number("price"), many("genres"), many("seen", "int64"))
)


def read(folder: Path, text: str | bytes, batch_rows: int = 100) -> list[RawBatch]:
    path = folder / "rows.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(JsonRows(SCHEMA, batch_rows).read(str(path)))


def test_values_become_text_as_they_stand_there(tmp_path: Path) -> None:
    line = '{"at": "2024-01-05", "click": true, "item": true, "price": 1.50, "more": 1}'
    (batch,) = read(tmp_path, line + '\n\n{"click": 0, "item": 12345678901234567890, "price": null}\n')
    assert batch.rows.to_pydict() == {
        "click": ["1", "0"],
        "at": ["2024-01-05", None],
        "item": ["true", "12345678901234567890"],
        "price": ["1.50", None],
        "genres": [None, None],
        "seen": [None, None],
    }
    assert batch.lines.tolist() == [1, 3]


def test_lists_stay_lists_and_text_is_split(tmp_path: Path) -> None:
    (batch,) = read(
        tmp_path, '{"genres": ["a", null, 7], "seen": [3, 4]}\n{"genres": "b|c", "seen": []}\n{"seen": 5}\n'
    )
    assert batch.rows["genres"].to_pylist() == [["a", None, "7"], ["b", "c"], None]
    assert batch.rows["seen"].to_pylist() == [["3", "4"], [], ["5"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"click": 1', "not valid JSON: Expecting ',' delimiter (column 12)"),
        (b"[1]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'{"item": "a", "item": "b"}', "not valid JSON: names item twice"),
        (b"[" * 100_000, "not valid JSON: nested too deeply"),
        (b'{"item": "caf\xe9"}', "not valid UTF-8"),
        (b'{"item": "\\ud800"}', "not valid UTF-8"),
        (b'{"genres": ["\\ud800"]}', "not valid UTF-8"),
    ],
)
def test_only_the_broken_line_is_set_aside(tmp_path: Path, line: bytes, reason: str) -> None:
    (batch,) = read(tmp_path, b'{"click": 1}\n' + line + b'\n{"click": 0}\n')
    assert batch.lines.tolist() == [1, 3]
    assert [(row.line, row.reason) for row in batch.broken] == [(2, reason)]


def test_batches_count_good_and_broken_rows_together(tmp_path: Path) -> None:
    batches = read(tmp_path, "{}\nx\n{}\n{}\ny\n", batch_rows=2)
    assert [(b.rows.num_rows, len(b.broken)) for b in batches] == [(1, 1), (2, 0), (0, 1)]
