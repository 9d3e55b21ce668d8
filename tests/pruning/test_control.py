import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.pruning.control import (
    ALLOWANCE,
    FEWEST_TAXES,
    LONGEST_COOLDOWN,
    Control,
    after_competition,
    challenger_outcome,
    page_hinkley,
    refresh_is_called,
    start_carving,
    tax_rise,
)
from tests.networks import PRUNE

DAY = "2024-01-10"
numbers = st.lists(st.floats(-1, 1), max_size=40)


def slow_page_hinkley(values: list[float], allowance: float) -> float:
    means = [np.mean(values[: n + 1]) for n in range(len(values))]
    sums = [0.0, *np.cumsum([x - m - allowance for x, m in zip(values, means, strict=True)])]
    return float(max(sums[-1] - m for m in sums))


@given(numbers, st.sampled_from([0.0, 0.5, 1.0]))
def test_page_hinkley_is_the_slow_reference(values: list[float], allowance: float) -> None:
    assert page_hinkley(values, allowance) == pytest.approx(slow_page_hinkley(values, allowance), abs=1e-9)
    assert page_hinkley(values) == page_hinkley(values, 0.0)


@given(numbers, st.floats(-5, 5))
def test_page_hinkley_ignores_the_level(values: list[float], level: float) -> None:
    assert page_hinkley([x + level for x in values]) == pytest.approx(page_hinkley(values), abs=1e-9)


def test_page_hinkley_grows_while_a_rise_lasts_and_forgets_none_after_a_fall() -> None:
    flat = [0.01] * 10
    rising = [page_hinkley([*flat, *[0.03] * n]) for n in range(6)]
    assert rising == sorted(rising)
    assert rising[0] == 0
    assert page_hinkley([*flat, *[-0.05] * 20]) < 1e-12


taxes = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=FEWEST_TAXES, max_size=40)


@given(taxes)
def test_a_rise_of_the_tax_is_page_hinkley_in_standard_deviations(values: list[float]) -> None:
    steps = [abs(b - a) for a, b in pairwise(values)]
    spread = sum(steps) / len(steps) * math.sqrt(math.pi) / 2
    slow = slow_page_hinkley([x / spread for x in values], ALLOWANCE) if spread else 0.0
    assert tax_rise(values) == pytest.approx(slow, abs=1e-6)


@given(taxes, st.floats(0.01, 100), st.floats(-5, 5))
def test_neither_level_nor_scale_of_the_tax_matters(values: list[float], scale: float, level: float) -> None:
    assert tax_rise([scale * x + level for x in values]) == pytest.approx(tax_rise(values), rel=1e-6, abs=1e-6)


def test_a_few_days_say_nothing_about_a_rise() -> None:
    values = [0.0, 0.01] * 10 + [0.5] * 3
    risen = [tax_rise(values[-n:]) > 0 for n in range(1, 20)]
    assert risen == [n >= FEWEST_TAXES for n in range(1, 20)]
    assert tax_rise([0.02] * 40) == 0


def test_the_standard_deviation_is_that_of_the_noise_whatever_the_level_does() -> None:
    """A step of the level moves the differences of neighbours once, the days' spread on every day."""
    noise = np.random.default_rng(0).normal(0, 0.01, 400)
    steps = np.abs(np.diff(noise + 0.1 * (np.arange(400) > 200)))
    assert float(steps.mean()) * math.sqrt(math.pi) / 2 == pytest.approx(0.01, rel=0.1)
    assert tax_rise([*noise[:200], *(noise[200:205] + 0.02)]) > 5
    assert tax_rise(list(noise[:200])) < 5


RISEN = Control(taxes=(*[0.0] * 10, *[0.05] * 4))


def test_a_refresh_is_called_by_a_rise() -> None:
    assert refresh_is_called(RISEN, DAY, PRUNE)


@pytest.mark.parametrize("control", [
    replace(RISEN, phase="carving"),
    replace(RISEN, phase="probation"),
    replace(RISEN, quiet_until="2024-01-11"),
    replace(RISEN, taxes=()),
    replace(RISEN, taxes=(0.05,) * 40),  # a level, however high
    replace(RISEN, taxes=(*[-0.2] * 10, *[-0.01] * 4)),  # a rise while dense is behind
], ids=["carving", "probation", "quiet", "no taxes", "level", "behind"])  # fmt: skip
def test_else_it_is_not(control: Control) -> None:
    assert not refresh_is_called(control, DAY, PRUNE)


def test_the_quiet_time_ends_with_its_day() -> None:
    assert refresh_is_called(replace(RISEN, quiet_until=DAY), DAY, PRUNE)


def on_probation(blocks: list[float], days: int = 3) -> Control:
    return Control(phase="probation", probation_days=days, blocks=tuple(blocks))


@pytest.mark.parametrize(("blocks", "days", "outcome"), [
    ([-1.0, -1.1, -0.9], 2, "undecided"),
    ([-1.0, -1.1, -0.9], 3, "won"),
    ([1.0, 1.1, 0.9], 3, "lost"),
    ([-1.0, 1.0, -1.0, 0.9], 3, "lost"),  # better by a hair, not proved
    ([-1.0], 3, "lost"),
    ([], 3, "lost"),
    ([0.0, 0.0, 0.0], 3, "lost"),
])  # fmt: skip
def test_the_outcome_of_a_probation(blocks: list[float], days: int, outcome: str) -> None:
    assert challenger_outcome(on_probation(blocks, days), replace(PRUNE, probation=3)) == outcome


def test_the_proof_is_one_sided_by_hand() -> None:
    rules = replace(PRUNE, probation=3)
    # mean −0.1, standard deviation s over 4 blocks: proved while 1.645·s / 2 < 0.1, so s < 0.12158
    for spread, outcome in ((0.121, "won"), (0.122, "lost")):
        half = spread * math.sqrt(3) / 2
        blocks = [-0.1 - half, -0.1 + half, -0.1 - half, -0.1 + half]
        assert np.std(blocks, ddof=1) == pytest.approx(spread)
        assert challenger_outcome(on_probation(blocks), rules) == outcome


def test_without_probation_a_challenger_takes_over_untested() -> None:
    assert challenger_outcome(on_probation([], 0), replace(PRUNE, probation=0)) == "won"


def test_cooldown_doubles_by_each_loss_and_is_reset_by_a_win() -> None:
    rules, control, seen = replace(PRUNE, cooldown=7), Control(taxes=(0.1,)), []
    for won in (False, False, False, False, False, True, False):
        control = after_competition(control, won, DAY, rules)
        seen.append(control.cooldown)
    assert seen == [7, 14, 28, 56, LONGEST_COOLDOWN, 7, 14]


def test_the_quiet_days_are_those_after_the_competition() -> None:
    control = after_competition(replace(RISEN, phase="probation"), False, DAY, replace(PRUNE, cooldown=7))
    calls = [refresh_is_called(control, f"2024-01-{d}", PRUNE) for d in (10, 11, 17, 18)]
    assert calls == [False, False, False, True]
    assert control.quiet_until == "2024-01-18"


def test_a_win_forgets_the_taxes_a_loss_keeps_them() -> None:
    before = replace(RISEN, phase="probation", carved_days=4, probation_days=3, blocks=(0.1, 0.2))
    won, lost = (after_competition(before, outcome, DAY, PRUNE) for outcome in (True, False))
    assert (won.taxes, lost.taxes) == ((), RISEN.taxes)
    for after in (won, lost):
        assert (after.phase, after.carved_days, after.probation_days, after.blocks) == ("none", 0, 0, ())
    assert won.history == ("2024-01-10: the challenger took over",)
    assert lost.history == ("2024-01-10: the challenger was dropped",)


def test_a_long_cooldown_of_the_settings_is_not_cut() -> None:
    assert after_competition(Control(), False, DAY, replace(PRUNE, cooldown=100)).cooldown == 100


def test_a_carving_starts_from_nothing_and_says_why() -> None:
    control = start_carving(Control(blocks=(1.0,), probation_days=2, history=("x",) * 20), DAY, "it was asked for")
    assert (control.phase, control.carved_days, control.probation_days, control.blocks) == ("carving", 0, 0, ())
    assert (len(control.history), control.history[-1]) == (20, "2024-01-10: a carving starts, it was asked for")


@given(st.lists(st.floats(-1, 1)), st.sampled_from(["none", "carving", "probation"]), st.lists(st.text()))
def test_json_brings_the_control_back(taxes: list[float], phase: str, history: list[str]) -> None:
    control = replace(Control(), taxes=tuple(taxes), phase=phase, history=tuple(history))  # type: ignore[arg-type]
    assert Control.from_json(control.to_json()) == control
