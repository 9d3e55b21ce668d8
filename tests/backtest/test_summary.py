from typing import Any

import numpy as np
import pytest

from recprune.backtest.summary import MARGIN, Run, comparisons, recovered, trial_json
from recprune.metrics.bootstrap import compare, holm, verdict
from tests.backtest.streams import trial_of

FIRST, DAYS = 3, 40
Json = dict[str, Any]


def ne_of(policy: str, budget: float, seed: int) -> list[float | None]:
    """Draw a policy's NE; days are alike for all policies, so that pairing matters."""
    draw = np.random.default_rng([len(policy), round(100 * budget), seed])
    level = 0.8 + 0.1 * np.sin(np.arange(DAYS))
    worse = {"dense": 0.0, "small_dense": 0.02, "ads": 0.01}.get(policy, 0.03)
    return list(level * (1 + worse + draw.normal(0, 0.003, DAYS)))


def run_of(
    policy: str, budget: float, seed: int, failed: str | None = None, ne: list[float | None] | None = None
) -> Run:
    record: Json = {
        "ne": ne or ne_of(policy, budget, seed), "cost_share": [budget] * DAYS, "weights": list(range(DAYS)),
        "inputs_changed": [0] * DAYS, "inputs_returned": [0] * DAYS, "widths": {"top.0": list(range(DAYS))},
        "training_flops": 5.0, "train_seconds": 1.0, "decisions": [], "failed": failed,
    }  # fmt: skip
    return Run(trial_of(policy, budget, seed=seed), policy, record, None)


def runs_of(*policies: str, budgets: tuple[float, ...] = (0.2, 0.05), seeds: int = 3) -> list[Run]:
    return [
        run_of(policy, budget, seed)
        for seed in range(1, seeds + 1)
        for policy in policies
        for budget in (budgets[:1] if policy == "dense" else budgets)
    ]


def by_hand(policy: str, against: str, budget: float, seeds: tuple[int, ...] = (1, 2, 3)) -> Any:
    def table(name: str) -> Any:
        own = 0.2 if name == "dense" else budget
        return np.array([ne_of(name, own, seed)[FIRST:] for seed in seeds], float)

    return compare(table(policy), table(against))


def find(found: list[Json], policy: str, against: str, budget: float) -> Json:
    [row] = [c for c in found if (c["policy"], c["against"], c["budget"]) == (policy, against, budget)]
    return row


def test_numbers_are_those_of_the_bootstrap_called_by_hand() -> None:
    found = comparisons(runs_of("dense", "small_dense", "ads", "d2s:every=2"), (0.2, 0.05), FIRST)
    for policy, against in (
        ("ads", "small_dense"),
        ("ads", "dense"),
        ("small_dense", "dense"),
        ("d2s:every=2", "dense"),
    ):
        for budget in (0.2, 0.05):
            expected = by_hand(policy, against, budget)
            row = find(found, policy, against, budget)
            assert {key: row[key] for key in expected.to_json()} == expected.to_json()
            assert (row["days"], row["seeds"]) == (DAYS - FIRST, 3)


def test_every_policy_meets_dense_and_small_dense_at_every_budget_and_dense_meets_nobody() -> None:
    found = comparisons(runs_of("dense", "small_dense", "ads", "frozen"), (0.2, 0.05), FIRST)
    pairs = {("small_dense", "dense"), ("ads", "dense"), ("ads", "small_dense")}
    pairs |= {("frozen", "dense"), ("frozen", "small_dense")}
    asked = [(c["policy"], c["against"], c["budget"]) for c in found]
    assert sorted(asked) == sorted((*pair, budget) for pair in pairs for budget in (0.2, 0.05))


def test_only_the_policy_of_the_claims_is_judged() -> None:
    found = comparisons(runs_of("dense", "small_dense", "ads", "fixed_mask"), (0.2,), FIRST)
    for against in ("dense", "small_dense"):
        row, expected = find(found, "ads", against, 0.2), by_hand("ads", against, 0.2)
        assert {k: row[k] for k in ("verdict", "reason")} == verdict(expected, MARGIN).to_json()
    others = [c for c in found if c["policy"] != "ads"]
    assert {(c["verdict"], c["reason"], c["p_holm"]) for c in others} == {(None, None, None)}


def test_the_primary_comparisons_share_their_error() -> None:
    budgets = (0.2, 0.1, 0.05)
    found = comparisons(runs_of("dense", "small_dense", "ads", budgets=budgets), budgets, FIRST)
    primary = [find(found, "ads", "small_dense", budget) for budget in budgets]
    assert [c["p_holm"] for c in primary] == holm([c["p"] for c in primary])
    assert {c["p_holm"] for c in found if c not in primary} == {None}


def test_too_few_days_give_no_interval_and_no_corrected_p() -> None:
    found = comparisons(runs_of("small_dense", "ads"), (0.2,), DAYS - 20)
    row = find(found, "ads", "small_dense", 0.2)
    assert (row["low"], row["p"], row["p_holm"], row["verdict"]) == (None, None, None, "not decidable at this margin")
    assert row["relative"] is not None


def test_a_budget_of_all_is_not_mixed_with_smaller_ones() -> None:
    budgets = (1.0, 0.2)
    found = comparisons(runs_of("dense", "small_dense", "ads", budgets=budgets), budgets, FIRST)
    for budget in budgets:
        ours = np.array([ne_of("ads", budget, seed)[FIRST:] for seed in (1, 2, 3)], float)
        theirs = np.array([ne_of("small_dense", budget, seed)[FIRST:] for seed in (1, 2, 3)], float)
        assert find(found, "ads", "small_dense", budget)["relative"] == compare(ours, theirs).relative


def test_failed_trials_are_kept_out_and_the_seeds_that_both_have_are_compared() -> None:
    runs = runs_of("dense", "small_dense")
    runs += [run_of("ads", 0.2, seed, "2024-01-03: the loss is nan" if seed == 2 else None) for seed in (1, 2, 3)]
    row = find(comparisons(runs, (0.2,), FIRST), "ads", "small_dense", 0.2)
    assert row["seeds"] == 2
    assert row["relative"] == by_hand("ads", "small_dense", 0.2, (1, 3)).relative


def test_a_policy_that_always_failed_is_compared_with_nobody() -> None:
    runs = runs_of("dense", "small_dense") + [run_of("ads", 0.2, seed, "nan") for seed in (1, 2, 3)]
    assert not [c for c in comparisons(runs, (0.2,), FIRST) if "ads" in (c["policy"], c["against"])]
    only = [run_of("small_dense", 0.2, 1), run_of("ads", 0.2, 2)]
    assert comparisons(only, (0.2,), FIRST) == [], "no seed in common"


def test_days_without_ne_are_left_out_for_both() -> None:
    ne = ne_of("ads", 0.2, 1)
    ne[FIRST + 1] = None
    runs = [run_of("small_dense", 0.2, 1), run_of("ads", 0.2, 1, ne=ne)]
    row = find(comparisons(runs, (0.2,), FIRST), "ads", "small_dense", 0.2)
    assert (row["days"], row["left_out"]) == (DAYS - FIRST - 1, 1)


def test_a_trial_of_the_result_has_the_scored_days() -> None:
    run = run_of("ads", 0.05, 7)
    told = trial_json(run, FIRST)
    assert told["ne"] == ne_of("ads", 0.05, 7)[FIRST:]
    assert told["weights"] == told["widths"]["top.0"] == list(range(FIRST, DAYS))
    assert (told["policy"], told["budget"], told["seed"]) == ("ads", 0.05, 7)
    assert told["settings"] == {"policy": "ads", "learning_rate": 0.02, "embedding_learning_rate": 0.2}
    assert (told["latency_us"], told["latency_int8_us"]) == (None, None)


def test_dense_has_all_of_the_budget_and_a_tuned_policy_keeps_the_name_it_was_asked_by() -> None:
    assert trial_json(run_of("dense", 0.05, 1), FIRST)["budget"] == 1.0
    tuned = Run(trial_of("small_dense:top=two"), "small_dense", run_of("ads", 0.5, 1).record, {"fp32": {"1": 2.0}})
    told = trial_json(tuned, FIRST)
    assert (told["policy"], told["settings"]["policy"]) == ("small_dense", "small_dense:top=two")
    assert (told["latency_us"], told["latency_int8_us"]) == ({"1": 2.0}, None)


@pytest.mark.parametrize("name", ["dense", "small_dense"])
def test_what_is_compared_with_may_be_missing(name: str) -> None:
    found = comparisons(runs_of(name, "ads"), (0.2,), FIRST)
    assert [(c["policy"], c["against"]) for c in found] == [("ads", name)]


def test_the_share_of_the_headroom_is_the_one_computed_by_hand() -> None:
    [row] = recovered(runs_of("dense", "small_dense", "ads", budgets=(0.2,)), (0.2,), FIRST)
    mean = {p: np.mean([ne_of(p, 0.2, seed)[FIRST:] for seed in (1, 2, 3)]) for p in ("dense", "small_dense", "ads")}
    room = mean["small_dense"] - mean["dense"]
    assert row["share"] == pytest.approx((mean["small_dense"] - mean["ads"]) / room)
    assert 0.3 < row["share"] < 0.7  # the made-up ads lies in the middle


@pytest.mark.parametrize(
    ("level", "told"), [(0.002, "shown"), (0.01, "not decidable at this margin"), (0.018, "refuted")]
)
def test_at_least_half_of_the_headroom_is_judged_by_the_interval(level: float, told: str) -> None:
    runs = runs_of("dense", "small_dense", budgets=(0.2,))
    for seed in (1, 2, 3):
        dense = np.array(ne_of("dense", 0.2, seed), float)
        runs.append(run_of("ads", 0.2, seed, ne=list(dense * (1 + level))))
    [row] = recovered(runs, (0.2,), FIRST)
    assert (row["policy"], row["budget"], row["verdict"]) == ("ads", 0.2, told)


def test_without_headroom_or_one_of_the_three_nothing_is_recovered() -> None:
    assert recovered(runs_of("dense", "ads"), (0.2, 0.05), FIRST) == []
    same = runs_of("dense", "ads", budgets=(0.2,))
    same += [run_of("small_dense", 0.2, seed, ne=ne_of("dense", 0.2, seed)) for seed in (1, 2, 3)]
    assert recovered(same, (0.2,), FIRST) == []
    few = runs_of("dense", "small_dense", "ads")
    assert recovered(few, (0.2, 0.05), DAYS - 20) == [], "too few days for an interval"
    apart = [run_of("dense", 0.2, 1), run_of("small_dense", 0.2, 1), run_of("ads", 0.2, 2)]
    assert recovered(apart, (0.2,), FIRST) == [], "no seed in common"
