import logging
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest

from recprune.backtest.latency import known_ids, measure
from recprune.backtest.stream import Stream
from recprune.backtest.trial import replay
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.graph import build_graph
from recprune.model.checkpoint import save_lines
from recprune.model.line import Line
from tests.backtest.streams import DAYS, simulator, trial_of


@pytest.fixture(scope="module")
def lines(stream: Stream) -> dict[str, Line]:
    texts = ("dense", "frozen", "rigl")
    return {text: replay(stream, trial_of(text, days=8), lambda _done: None)[1] for text in texts}


def test_every_line_is_timed_in_both_precisions_and_sizes(
    stream: Stream, lines: dict[str, Line], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for name, line in lines.items():
            save_lines(Path(name), DAYS[-1], {"served": line}, {})
        found = measure({name: Path(name) for name in lines}, stream, SimulatorSource(simulator()))
    assert list(found) == list(lines)
    for timed in found.values():
        assert {precision: list(sizes) for precision, sizes in timed.items()} == {
            "fp32": ["1", "128"],
            "int8": ["1", "128"],
        }
        assert all(1 < micros < 1e6 for sizes in timed.values() for micros in sizes.values())
    assert caplog.messages == []
    assert list(Path("scratch/latency").iterdir()) == []


def test_a_line_that_learns_no_more_knows_no_later_ids(stream: Stream, lines: dict[str, Line]) -> None:
    vocabulary, frozen = stream.vocabulary(), lines["frozen"]
    known = known_ids(vocabulary, frozen)
    grown = [
        name for name, size, every in zip(known.tables, frozen.sizes, vocabulary.sizes(), strict=True) if size < every
    ]
    assert grown, "ids must have come since for this test to say something"
    for name, size in zip(known.tables, frozen.sizes, strict=True):
        rows = known.admitted(name)["row"].to_list()
        assert rows == list(range(1, size))
        assert known.admitted(name).equals(vocabulary.admitted(name).head(max(size - 1, 0)))
    build_graph(frozen, known, stream.schema, 0.0)


def test_a_line_that_learned_to_the_end_knows_all(stream: Stream, tmp_path: Path) -> None:
    with chdir(tmp_path):
        line = replay(stream, trial_of("set"), lambda _done: None)[1]
    vocabulary = stream.vocabulary()
    known = known_ids(vocabulary, line)
    assert all(known.tables[name].equals(table) for name, table in vocabulary.tables.items())


def test_ids_that_wait_to_be_admitted_stay(stream: Stream, lines: dict[str, Line]) -> None:
    known: Vocabulary = known_ids(stream.vocabulary(), lines["frozen"])
    waiting = [table.filter(pl.col("row") < 0).height for table in known.tables.values()]
    assert waiting == [table.filter(pl.col("row") < 0).height for table in stream.vocabulary().tables.values()]
