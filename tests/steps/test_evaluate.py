import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from recprune.data.features import calibrating_half
from recprune.data.partition import open_partition
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.trial_rows import TrialRows
from recprune.files import artefact, read_json
from recprune.gating.pool import Pool
from recprune.metrics.scores import entropy
from recprune.metrics.sums import ALL, read_sums
from recprune.serving.scorer import Scorer
from recprune.steps import evaluate as step
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    SIMULATOR,
    bytes_of,
    evaluate_day,
    featurize_day,
    ingest_and_featurize,
    run_day,
    small,
)

REPORT, MEASURED = Path(f"reports/{FIRST}/evaluation.json"), Path(f"reports/{FIRST}/measurements.json")


@pytest.fixture
def evaluated(genesis: Path) -> Path:
    run_day(small())
    return genesis


def pool(day: str = FIRST) -> pl.DataFrame:
    return pl.read_parquet(f"scores/{day}/pooled/pooled.parquet")


def scored(rows: pl.DataFrame, bundle: str) -> np.ndarray:
    scorer = Scorer(Path(f"bundles/{bundle}"))
    return scorer.score({i["name"]: rows[i["name"]].to_numpy() for i in scorer.manifest["inputs"]}).astype(float)


@pytest.mark.usefixtures("evaluated")
@pytest.mark.parametrize("part", [1, 7, 100])
def test_a_day_that_is_scored_in_parts_has_the_same_numbers(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding in their last bit where a part is a single row, which another kernel computes."""
    before, pooled = read_json(REPORT), pool()
    monkeypatch.setattr(step, "PART", part)
    evaluate_day(small())
    again = read_json(REPORT)
    for kind in ("next_day", "tail"):
        for metric in ("ne", "auc", "calibration"):
            assert again[kind][metric] == pytest.approx(before[kind][metric], rel=1e-6)
    assert pool()["champion"].to_numpy() == pytest.approx(pooled["champion"].to_numpy(), rel=1e-5)


@pytest.mark.usefixtures("evaluated")
def test_next_day_metrics_are_sklearns() -> None:
    found, rows = read_json(REPORT), open_partition(Path(f"data/events/{FIRST}")).scan().collect()
    label, p = rows["label"].to_numpy(), scored(rows, GENESIS)
    next_day = found["next_day"]
    assert next_day["rows"] == len(rows)
    assert next_day["ne"].keys() == {"champion", "dense", "served"}
    assert next_day["ne"]["champion"] == pytest.approx(log_loss(label, p) / entropy(label.mean()), rel=1e-6)
    assert next_day["auc"]["champion"] == pytest.approx(roc_auc_score(label, p))
    assert next_day["calibration"]["champion"] == pytest.approx(p.mean() / label.mean())
    table = pl.read_parquet(f"scores/{FIRST}/next_day/scores.parquet")
    assert next_day["auc"]["dense"] == pytest.approx(roc_auc_score(label, table["p_dense"].to_numpy()))


@pytest.mark.usefixtures("evaluated")
def test_the_gating_half_of_the_tail_compares_the_bundles() -> None:
    found, rows = read_json(REPORT), open_partition(Path(f"data/events/{FIRST}")).scan().collect()
    tail = rows.tail(read_json(Path(f"data/features/{FIRST}/manifest.json"))["tail_rows"])
    gating = tail.filter(~calibrating_half(tail["row_hash"].to_numpy()))
    assert 0.3 * len(tail) < found["tail"]["rows"] == len(gating) < 0.7 * len(tail)
    label = gating["label"].to_numpy()
    for name, bundle in (("candidate", FIRST), ("champion", GENESIS)):
        wanted = log_loss(label, scored(gating, bundle)) / entropy(label.mean())
        assert found["tail"]["ne"][name] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.usefixtures("evaluated")
def test_the_pool_holds_the_tail_and_not_what_one_model_scored_twice() -> None:
    """The parent is the champion: served line and champion are one model on the whole day."""
    assert pool()["rows"].unique().to_list() == ["tail"]
    assert len(pool()) == read_json(REPORT)["tail"]["rows"]


@pytest.mark.usefixtures("evaluated")
def test_a_champion_that_has_learned_the_day_meets_the_rows_that_it_held_back_and_no_others() -> None:
    """As the last day of a replay may: the champion is of the same date, or of a later one."""
    before = read_json(REPORT)["tail"]
    evaluate_day(small(), champion=FIRST)
    found = read_json(REPORT)
    assert [found["next_day"][name]["champion"] for name in ("ne", "auc", "calibration")] == [None] * 3
    assert found["next_day"]["ne"]["served"] is not None
    assert found["line"]["difference"] is None
    assert found["tail"]["rows"] == before["rows"] == len(pool())
    assert found["tail"]["ne"]["champion"] == pytest.approx(before["ne"]["candidate"])
    assert pool()["rows"].unique().to_list() == ["tail"]

    ingest_and_featurize(SECOND, FIRST)
    run_day(small(), SECOND, FIRST, FIRST)
    evaluate_day(small(), champion=SECOND)
    assert (read_json(REPORT)["tail"]["rows"], len(pool())) == (0, 0), "a later champion has learned the tail too"


@pytest.mark.usefixtures("evaluated")
def test_the_pool_is_carried_on_and_grows_by_the_day() -> None:
    ingest_and_featurize(SECOND, FIRST)
    run_day(small(), SECOND, FIRST)
    counts = {(day, rows): n for day, rows, n in pool(SECOND).group_by("day", "rows").len().iter_rows()}
    events = open_partition(Path(f"data/events/{SECOND}")).scan().collect()
    assert counts.keys() == {(FIRST, "tail"), (SECOND, "tail"), (SECOND, "next_day")}
    assert counts[FIRST, "tail"] == len(pool())
    assert counts[SECOND, "next_day"] == len(events)
    assert pool(SECOND).filter(pl.col("day") == FIRST).equals(pool())


@pytest.mark.usefixtures("evaluated")
def test_the_pool_forgets_what_is_older_than_its_window() -> None:
    days = [f"2023-12-{d:02}" for d in range(1, 21)]
    old = pl.concat([pool().head(1).with_columns(day=pl.lit(day)) for day in days])
    with artefact(Path(f"scores/{GENESIS}/pooled"), "pooled", GENESIS, {"days": days}) as folder:
        old.write_parquet(folder / "pooled.parquet")
    evaluate_day(small())
    assert sorted(pool()["day"].unique().to_list()) == [*days[-13:], FIRST]


@pytest.mark.usefixtures("evaluated")
def test_the_sums_by_slice_are_of_the_pools_rows() -> None:
    ingest_and_featurize(SECOND, FIRST)
    run_day(small(), SECOND, FIRST)
    table = pl.read_parquet(f"scores/{SECOND}/pooled/sums.parquet")
    losses = dict(pool(SECOND).group_by("day", "rows"))
    assert {(day, kind) for day, kind in table.select("day", "kind").iter_rows()} == losses.keys()
    for (day, kind), rows in losses.items():
        sums = read_sums(table.filter((pl.col("day") == day) & (pl.col("kind") == kind)))
        assert sums[ALL].of({"rows": 1.0}) == len(rows)
        assert sums[ALL].of({"ours": 1.0}) == pytest.approx(rows["served"].sum())
        assert sums[ALL].of({"theirs": 1.0}) == pytest.approx(rows["champion"].sum())
        for feature in {feature for feature, _ in sums} - {""}:
            of = [each.of({"rows": 1.0}) for (name, _), each in sums.items() if name == feature]
            assert sum(of) == len(rows), feature
    features = set(table["feature"])
    assert "hour (UTC)" in features
    assert any(name.endswith(", id") for name in features)


@pytest.mark.usefixtures("evaluated")
def test_sums_begin_with_the_day_where_the_parent_has_none() -> None:
    """A parent that an earlier version evaluated."""
    with artefact(Path(f"scores/{GENESIS}/pooled"), "pooled", GENESIS, {"days": []}) as folder:
        Pool.empty().losses.write_parquet(folder / "pooled.parquet")
    evaluate_day(small())
    assert set(pl.read_parquet(f"scores/{FIRST}/pooled/sums.parquet")["day"]) == {FIRST}


@pytest.mark.usefixtures("evaluated")
def test_latency_is_measured_once_and_all_else_is_the_same_again() -> None:
    first, measured = (bytes_of([str(REPORT), f"scores/{FIRST}/pooled"]), REPORT.read_bytes()), MEASURED.read_bytes()
    evaluate_day(small())
    assert (bytes_of([str(REPORT), f"scores/{FIRST}/pooled"]), REPORT.read_bytes()) == first
    assert MEASURED.read_bytes() == measured
    assert set(read_json(MEASURED)["latency"]) == {"candidate", "champion"}
    assert "us" not in REPORT.read_text().split('"')


@pytest.mark.usefixtures("evaluated")
def test_reports_are_json_without_nan() -> None:
    for file in (REPORT, MEASURED):
        json.loads(file.read_text(), parse_constant=pytest.fail)


def test_an_empty_pool_has_the_pools_columns() -> None:
    assert Pool.empty().losses.schema == {
        "day": pl.String, "champion_day": pl.String, "rows": pl.String, "served": pl.Float64, "champion": pl.Float64,
    }  # fmt: skip
    assert Pool.empty().losses.is_empty()


@pytest.mark.usefixtures("evaluated")
def test_rows_by_which_a_trial_chose_the_parent_count_for_no_figure_of_the_day() -> None:
    trial = TrialRows(share=0.5, before=f"{SECOND}T20:00:00+00:00")
    featurize_day(SimulatorSource(SIMULATOR), SECOND, FIRST, trial)
    run_day(small(), SECOND, FIRST, GENESIS)
    rows = open_partition(Path(f"data/events/{SECOND}")).scan().collect()
    unseen = trial.unseen(rows)
    assert 0 < len(unseen) < 0.7 * len(rows)
    found = read_json(Path(f"reports/{SECOND}/evaluation.json"))
    label, p = unseen["label"].to_numpy(), scored(unseen, GENESIS)
    next_day = found["next_day"]
    assert (next_day["rows"], next_day["not_counted"]) == (len(unseen), len(rows) - len(unseen))
    assert next_day["ne"]["champion"] == pytest.approx(log_loss(label, p) / entropy(label.mean()), rel=1e-6)
    assert found["line"]["rows"] == len(unseen)
    assert read_json(Path(f"reports/{SECOND}/prune.json"))["tax"]["rows"] == len(unseen)
    table = pl.read_parquet(f"scores/{SECOND}/next_day/scores.parquet")
    assert table["row_hash"].to_list() == unseen["row_hash"].to_list()
    of_day = pool(SECOND).filter(pl.col("day") == SECOND)
    counts = dict(of_day.group_by("rows").len().iter_rows())
    assert counts == {"next_day": len(unseen), "tail": found["tail"]["rows"]}
    tail = rows.tail(read_json(Path(f"data/features/{SECOND}/manifest.json"))["tail_rows"])
    assert found["tail"]["rows"] == (~calibrating_half(tail["row_hash"].to_numpy())).sum(), "the tail was not seen"
    label = tail.filter(~calibrating_half(tail["row_hash"].to_numpy()))["label"].to_numpy()
    assert found["tail"]["base_rate"] == pytest.approx(label.mean())
    learned = np.load(f"data/features/{SECOND}/learn/row_hash.npy")
    assert set(rows.head(len(rows) - len(tail))["row_hash"]) <= set(learned.tolist()), "all of them are learned"
