"""Export, evaluate and scoring of a workspace as large as the ladder's, but small."""

import pytest

from benchmarks.ladder import export, scoring
from benchmarks.ladder.large import CARDINALITIES, DAY, Place, make_events, make_model, sizes
from recprune.files import read_json
from tests.networks import use_threads

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = make_events(tmp_path_factory.mktemp("large"), vocabulary=800, rows=1200)
    make_model(found, "wide&deep")
    return found


@pytest.mark.parametrize("rows", [800, 1_000_000])
def test_tables_have_as_many_rows_as_asked_and_small_ones_are_whole(rows: int) -> None:
    found = sizes(rows)
    assert 0.9 * rows < sum(found) <= rows
    assert all(n == m or n == max(found) for n, m in zip(found, CARDINALITIES, strict=True))


def test_the_day_has_the_ids_that_were_asked_for_and_some_new_ones(place: Place) -> None:
    known = [read_json(place.folder / f"vocab/{day}/manifest.json")["sizes"] for day in ("2024-01-01", DAY)]
    asked, first, second = sum(sizes(800)), *map(sum, known)
    assert 0.9 * asked < first < second < 1.1 * asked, "a tail is learned a day later"


def test_both_steps_are_timed_and_taken_apart(place: Place) -> None:
    rows = {row.what: row for row in export.both(place, "wide&deep", turns=1)}
    whole = rows["wide&deep: export and evaluate: seconds"]
    assert whole.goal == "≤ 10"
    assert whole.reached is (whole.ours <= 10)
    for step in export.STEPS:
        assert rows[f"wide&deep: {step}: peak memory, MB"].ours > 50
        parts = {what: row.ours for what, row in rows.items() if f"{step}, of it" in what}
        assert len(parts) == len(export.PARTS[step]) + 2
        assert all(seconds > 0 for seconds in parts.values()), parts
    assert "wide&deep: export of a network of new sizes: seconds" in rows


def test_scoring_names_every_peer_and_says_where_there_is_no_compiler(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    try:
        rows = scoring.compare(place, "wide&deep", batches=(4,), seconds=0.0)
    finally:
        use_threads(1)
    assert len(rows) == 12
    assert all(row.ours > 0 for row in rows)
    measured = [row for row in rows if row.ratio]
    assert len(measured) == 8
    assert all(scoring.NO_COMPILER in row.what for row in rows if row not in measured)
    assert all("torch.compile" in row.what for row in rows if row not in measured)
