import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from recprune.backtest.trial import Schedule, Trial
from recprune.backtest.tuning import (
    FACTOR,
    FINALISTS,
    MORE_SEEDS,
    REACH,
    STRUCTURES,
    at,
    every_structure,
    structures,
    tune,
    tuning_score,
)
from recprune.errors import SettingsError
from recprune.pruning.static import READS, TOPS
from tests.backtest.streams import SCHEDULE, trial_of

BASE = trial_of("ads").train
SETTLED = SCHEDULE.warm + 2 + 4


def record(ne: float, trial: Trial, failed: str | None = None) -> dict[str, Any]:
    return {"ne": [None if failed else ne] * trial.days, "failed": failed}


class Valley:
    """Runs trials on a landscape with one lowest point: powers of two away from the given learning rates."""

    def __init__(self, layers: float, rows: float, breaks_above: float = math.inf) -> None:
        self.layers, self.rows, self.breaks_above = layers, rows, breaks_above
        self.ran: list[list[Trial]] = []

    def __call__(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        self.ran.append(list(trials))
        return [self._record(trial) for trial in trials]

    def _record(self, trial: Trial) -> dict[str, Any]:
        i, j = point(trial)
        ne = 1 + 0.01 * ((i - self.layers) ** 2 + (j - self.rows) ** 2)
        return record(ne, trial, "2024-01-03: the loss is nan" if i > self.breaks_above else None)


def point(trial: Trial) -> tuple[int, int]:
    i = math.log2(trial.train.learning_rate / BASE.learning_rate)
    return round(i), round(math.log2(trial.train.embedding_learning_rate / BASE.embedding_learning_rate))


def test_a_valley_inside_the_grid_takes_nine_trials() -> None:
    valley = Valley(0.2, -0.1)
    [(best, about)] = tune([trial_of("ads")], valley)
    assert best == trial_of("ads")
    assert [len(trials) for trials in valley.ran] == [9, FINALISTS * MORE_SEEDS]
    assert {point(trial) for trial in valley.ran[0]} == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert len(about["tried"]) == 9
    assert not about["at_the_edge"]


def test_the_grid_grows_until_the_best_is_inside_of_it() -> None:
    valley = Valley(3, -2)
    [(best, about)] = tune([trial_of("ads")], valley)
    assert point(best) == (3, -2)
    around = {(3 + a, -2 + b) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    assert around <= {point(trial) for trials in valley.ran for trial in trials}
    assert [len(trials) for trials in valley.ran] == [9, 5, 5, 3, 6]  # corner to corner, then along one side
    assert not about["at_the_edge"]


def test_no_point_is_tried_twice_and_all_on_the_tuning_days_with_the_seed_of_the_trial() -> None:
    valley = Valley(3, -2)
    tune([trial_of("ads", seed=5)], valley)
    *searched, finals = valley.ran
    ran = [trial for trials in searched for trial in trials]
    assert len({point(trial) for trial in ran}) == len(ran)
    assert {(trial.days, trial.train.seed) for trial in ran} == {(SCHEDULE.tuned, 5)}
    assert {(trial.days, trial.train.seed) for trial in finals} == {(SCHEDULE.tuned, 6), (SCHEDULE.tuned, 7)}


def test_the_best_points_meet_again_with_more_seeds_and_the_best_mean_wins() -> None:
    class Lucky(Valley):
        """Two points look alike with the first seed, and one that looks worse is better with the others."""

        def _record(self, trial: Trial) -> dict[str, Any]:
            if point(trial) == (1, 0):
                return record(1.001 if trial.train.seed == BASE.seed else 0.5, trial)
            return super()._record(trial)

    valley = Lucky(0, 0)
    [(best, about)] = tune([trial_of("ads")], valley)
    assert point(best) == (1, 0)
    finals = valley.ran[-1]
    assert {point(trial) for trial in finals} == {(0, 0), (1, 0), (-1, 0)}, "of equal ones the first"
    tried = {round(math.log2(t["learning_rate"] / BASE.learning_rate)): t["ne_by_seed"] for t in about["tried"]
             if t["embedding_learning_rate"] == BASE.embedding_learning_rate}  # fmt: skip
    assert tried == {-1: pytest.approx([1.01] * 3), 0: [1.0] * 3, 1: [1.001, 0.5, 0.5]}
    assert about["ne"] == pytest.approx((1.001 + 0.5 + 0.5) / 3)


def test_a_finalist_that_fails_with_another_seed_loses() -> None:
    class Fragile(Valley):
        def _record(self, trial: Trial) -> dict[str, Any]:
            broken = point(trial) == (0, 0) and trial.train.seed > BASE.seed
            return record(1.0, trial, "2024-01-03: the loss is nan") if broken else super()._record(trial)

    [(best, about)] = tune([trial_of("ads")], Fragile(0, 0))
    assert point(best) == (-1, 0)
    assert about["ne"] == pytest.approx(1.01)


def test_a_valley_out_of_reach_is_said() -> None:
    [(best, about)] = tune([trial_of("ads")], Valley(10, 0))
    assert point(best) == (REACH, 0)
    assert about["at_the_edge"]


def test_every_policy_has_the_same_budget() -> None:
    names = ("dense", "ads", "fixed_mask", "small_dense:top=two", "rigl")
    valley = Valley(2, 1)
    told = [about["tried"] for _, about in tune([trial_of(name) for name in names], valley)]
    assert [tried == told[0] for tried in told] == [True] * 5
    for trials in valley.ran:
        counts = {name: sum(trial.chosen.text == name for trial in trials) for name in names}
        assert len(set(counts.values())) == 1, counts


def test_searches_that_are_done_wait_for_the_others() -> None:
    class Two(Valley):
        def _record(self, trial: Trial) -> dict[str, Any]:
            self.layers = 0 if trial.chosen.name == "dense" else 3
            return super()._record(trial)

    valley = Two(0, 0)
    (dense, _), (ads, _) = tune([trial_of("dense"), trial_of("ads")], valley)
    assert (point(dense), point(ads)) == ((0, 0), (3, 0))
    assert [len(trials) for trials in valley.ran] == [18, 3, 3, 3, 12]


def test_the_found_rates_hold_for_all_days() -> None:
    [(best, _)] = tune([trial_of("ads")], Valley(1, 0))
    assert best.days == 14
    assert best.train.learning_rate == FACTOR * BASE.learning_rate
    assert replace(best, train=BASE) == trial_of("ads")


def test_a_trial_that_fails_is_never_chosen_and_has_no_ne() -> None:
    [(best, about)] = tune([trial_of("ads")], Valley(4, 0, breaks_above=1))
    assert point(best) == (1, 0)
    broken = [t["ne"] for t in about["tried"] if t["learning_rate"] > 2 * BASE.learning_rate]
    assert broken
    assert set(broken) == {None}


def test_where_all_fail_the_search_ends() -> None:
    valley = Valley(0, 0, breaks_above=-100)
    [(_, about)] = tune([trial_of("ads")], valley)
    assert {t["ne"] for t in about["tried"]} == {None}
    assert about["at_the_edge"]


def test_the_score_is_the_mean_from_the_settled_carving_to_the_end_of_tuning() -> None:
    trial = trial_of("ads")
    ne: list[float | None] = [9.0] * SETTLED + [0.5] + [9.0] * 5
    assert SCHEDULE.tuned - 1 == SETTLED
    assert tuning_score({"ne": ne, "failed": None}, trial) == 0.5
    long = replace(trial, schedule=Schedule(warm=2, tuned=11))
    assert tuning_score({"ne": [*ne[:SETTLED], 0.5, None, 0.7, 9.0], "failed": None}, long) == pytest.approx(0.6)
    assert tuning_score({"ne": ne, "failed": "2024-01-03: the loss is nan"}, trial) == math.inf
    assert tuning_score({"ne": [None] * 14, "failed": None}, trial) == math.inf


def test_rates_move_by_powers_of_two() -> None:
    moved = at(BASE, (2, -1))
    assert moved.learning_rate == 4 * BASE.learning_rate
    assert moved.embedding_learning_rate == BASE.embedding_learning_rate / 2


def test_all_structures_of_small_dense_are_tried_at_two_rates_and_the_best_ones_tuned() -> None:
    ran: list[Trial] = []
    good = {("three-flat", "swap"): 0.1, ("two", "all"): 0.2, ("one", "pairs"): 0.3, ("two", "swap"): 0.31}

    def run(trials: Sequence[Trial]) -> list[dict[str, Any]]:
        ran.extend(trials)
        found = []
        for trial in trials:
            policy: Any = trial.chosen.policy
            worse = 0.0 if point(trial) == (1, 0) else 0.5  # as good as told at twice the rate only
            found.append(record(good.get((policy.top, policy.reads), 0.9) + worse, trial))
        return found

    chosen = structures(trial_of("small_dense"), run)
    assert len(TOPS) == 8
    assert len(ran) == 2 * len(TOPS) * len(READS) == 48
    assert {point(trial) for trial in ran} == {(0, 0), (1, 0)}
    assert {trial.days for trial in ran} == {SCHEDULE.tuned}
    assert [trial.chosen.text for trial in chosen] == [
        "small_dense:top=three-flat:reads=swap",
        "small_dense:top=two:reads=all",
        "small_dense:top=one:reads=pairs",
    ]
    assert len(chosen) == STRUCTURES
    assert {(trial.days, trial.train, trial.chosen.prune) for trial in chosen} == {
        (14, BASE, trial_of("small_dense").chosen.prune)
    }


def test_structures_that_do_not_fit_are_passed_over() -> None:
    def run(trials: Sequence[Trial]) -> list[dict[str, Any]]:
        fits = [t.chosen.text == "small_dense:top=two:reads=swap" for t in trials]
        return [record(1.0, t, None if fit else "too wide") for fit, t in zip(fits, trials, strict=True)]

    assert [t.chosen.text for t in structures(trial_of("small_dense"), run)] == ["small_dense:top=two:reads=swap"]


def test_it_is_said_if_no_structure_fits() -> None:
    told = "none of the structures of small_dense could be trained; of the first: too wide"
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        structures(trial_of("small_dense"), lambda trials: [record(1.0, t, "too wide") for t in trials])


@pytest.mark.parametrize("text", ["ads", "dense", "small_dense:top=two"])
def test_whoever_has_no_structure_to_choose_is_tuned_as_it_is(text: str) -> None:
    def run(trials: Sequence[Trial]) -> list[dict[str, Any]]:
        raise AssertionError("nothing is to be tried")

    assert structures(trial_of(text), run) == [trial_of(text)]


def test_structures_differ_in_shape_and_reading_alone() -> None:
    trial = trial_of("small_dense", 0.3)
    found = every_structure(trial)
    assert len({t.chosen.policy for t in found}) == 24
    assert {replace(t, chosen=trial.chosen) for t in found} == {trial}
    assert {t.chosen.prune for t in found} == {trial.chosen.prune}
