import re
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.backtest.stream import Stream, decode, first_sizes, open_stream
from recprune.data.events import read_events
from recprune.data.features import FeatureSet
from recprune.data.ids import Admission
from recprune.data.partition import About, write_partition
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import artefact, open_artefact, write_json
from recprune.steps.featurize import featurize
from tests.backtest.streams import DAYS, PACKAGED, ListedSource, decoded, simulator
from tests.makers import SCHEMA, settings

FEATURIZE = settings(featurize={"tail": 0.25, "min_count": 2}).featurize


def same(ours: FeatureSet, theirs: FeatureSet) -> bool:
    return all(np.array_equal(getattr(ours, n), getattr(theirs, n), equal_nan=n != "row_hash") for n in ours.__slots__)


def by_the_steps(source: SimulatorSource, days: list[str]) -> None:
    """Run the daily steps ingest and featurize over the days, after a parent without events."""
    schema, parent = source.schema(), "2023-12-31"
    nothing = read_events([], schema, date.fromisoformat(parent), text=False)
    write_partition(
        nothing, About(schema=schema, source="simulator"), parent, Path(f"events/{parent}"), Path(f"rejected/{parent}")
    )
    Vocabulary.empty(schema).save(Path(f"vocab/{parent}"), parent)
    with artefact(Path(f"features/{parent}"), "features", parent, {"tail_rows": 0}):
        pass
    for day in days:
        found = read_events(source.read(date.fromisoformat(day)), schema, date.fromisoformat(day), text=False)
        write_partition(
            found, About(schema=schema, source="simulator"), day, Path(f"events/{day}"), Path(f"rejected/{day}")
        )
        write_json(Path(f"validation/{day}/verdict.json"), {"day": day, "verdict": "good", "sentence": "good"})
        featurize(
            PACKAGED, day=day, events=Path(f"events/{day}"), validation=Path(f"validation/{day}"),
            parent_events=Path(f"events/{parent}"), parent_features=Path(f"features/{parent}"),
            parent_vocabulary=Path(f"vocab/{parent}"), vocabulary=Path(f"vocab/{day}"),
            features=Path(f"features/{day}"),
        )  # fmt: skip
        parent = day


def test_days_are_what_the_daily_steps_make_of_them(stream: Stream, workspace: Path) -> None:
    days = DAYS[:6]
    by_the_steps(SimulatorSource(simulator()), days)
    for number, day in enumerate(days):
        ours, theirs = stream.day(number), Path(f"features/{day}")
        assert ours.day == day
        assert same(ours.score, FeatureSet.load(theirs / "score"))
        assert same(ours.learn, FeatureSet.load(theirs / "learn"))
        assert list(ours.sizes) == open_artefact(theirs, "features", day)["sizes"]


def test_the_vocabulary_that_is_kept_is_the_last_evenings(stream: Stream, workspace: Path) -> None:
    by_the_steps(SimulatorSource(simulator()), DAYS)
    ours, theirs = stream.vocabulary(), Vocabulary.load(Path(f"vocab/{DAYS[-1]}"), stream.schema)
    assert all(ours.tables[name].equals(theirs.tables[name]) for name in theirs.tables)


def test_a_day_is_scored_with_the_evening_before_and_its_tail_is_learned_the_next_day(workspace: Path) -> None:
    source = ListedSource({"2024-01-01": 40, "2024-01-02": 60})
    stream = decode(source, ["2024-01-01", "2024-01-02"], FEATURIZE, Path("s"), lambda _done, _all: None)
    first, second = (read_events(source.read(date(2024, 1, n)), SCHEMA, date(2024, 1, n), text=False) for n in (1, 2))
    one, two = stream.day(0), stream.day(1)
    assert not one.score.ids.any()  # nobody is known on the first morning
    assert one.score.row_hash.tolist() == first.events["row_hash"].to_list()
    assert one.learn.row_hash.tolist() == first.events["row_hash"].head(30).to_list()
    assert two.score.row_hash.tolist() == second.events["row_hash"].to_list()
    learned = pl.concat([first.events.tail(10), second.events.head(45)])
    assert two.learn.row_hash.tolist() == learned["row_hash"].to_list()
    known = Vocabulary.empty(SCHEMA).learn(first.events.head(30), Admission(2))
    assert np.array_equal(two.score.ids, known.encode(second.events))
    assert np.array_equal(two.learn.ids, known.learn(learned, Admission(2)).encode(learned))
    assert (one.sizes, two.sizes) == (known.sizes(), known.learn(learned, Admission(2)).sizes())
    assert stream.rows == (40, 60)
    assert stream.base_rate == pytest.approx([first.events["label"].mean(), second.events["label"].mean()])


def test_days_without_events_are_left_out_and_the_tail_goes_over_them(workspace: Path) -> None:
    source = ListedSource({"2024-01-01": 40, "2024-01-02": 0, "2024-01-04": 20})
    seen: list[tuple[int, int]] = []
    days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
    stream = decode(source, days, FEATURIZE, Path("s"), lambda done, every: seen.append((done, every)))
    assert stream.days == ("2024-01-01", "2024-01-04")
    assert len(stream.day(1).learn) == 10 + 15
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_stream_is_decoded_once(workspace: Path) -> None:
    source, days = ListedSource({"2024-01-01": 20}), ["2024-01-01"]
    first = decode(source, days, FEATURIZE, Path("s"), lambda _done, _all: None)
    assert source.reads == days
    assert decode(source, days, FEATURIZE, Path("s"), lambda _done, _all: None) == first == open_stream(Path("s"))
    assert source.reads == days


def test_the_same_days_have_the_same_digest_wherever_they_lie(tmp_path: Path, stream: Stream) -> None:
    assert decoded(tmp_path).digest == stream.digest


def test_other_days_have_another_digest(tmp_path: Path, stream: Stream) -> None:
    assert decoded(tmp_path, days=DAYS[:2]).digest != stream.digest


def test_a_source_without_events_is_refused(workspace: Path) -> None:
    told = "listed has no events from 2024-01-02 to 2024-01-03; choose other days (--from, --to)."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        decode(
            ListedSource({"2024-01-02": 0}),
            ["2024-01-02", "2024-01-03"],
            FEATURIZE,
            Path("s"),
            lambda _done, _all: None,
        )
    assert not Path("s").exists()


def test_a_changed_stream_is_refused_with_a_way_out(workspace: Path) -> None:
    decode(ListedSource({"2024-01-01": 20}), ["2024-01-01"], FEATURIZE, Path("s"), lambda _done, _all: None)
    np.save(Path("s/00000/score/label.npy"), np.ones(20, np.float32))
    told = (
        "s/00000/score/label.npy was changed since the manifest was written; delete s, the same command decodes it "
        "again."
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        open_stream(Path("s"))


def test_arrays_are_mapped_not_read(stream: Stream) -> None:
    assert isinstance(stream.day(0).learn.ids, np.memmap)


def test_a_vocabulary_that_knows_nobody_has_the_unknown_rows(stream: Stream) -> None:
    assert first_sizes(stream.schema) == Vocabulary.empty(stream.schema).sizes() == (1, 1, 1, 1)
