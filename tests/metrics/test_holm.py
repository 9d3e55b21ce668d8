from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.metrics.holm import holm


def rejected_at(p: float, error: float) -> bool:
    return p <= error


def by_steps(values: list[float], error: float) -> set[int]:
    """Holm's procedure as the textbook has it: sorted, until the first that stays."""
    gone: set[int] = set()
    for step, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        if values[i] > error / (len(values) - step):
            break
        gone.add(i)
    return gone


@pytest.mark.parametrize(
    ("values", "level"),
    [([], 0.05), ([0.9], 0.05), ([0.01], 0.05), ([0.02, 0.9], 0.05), ([0.03, 0.04], 0.025), ([0.02, 0.04], 0.05)],
)
def test_the_error_of_those_that_stay(values: list[float], level: float) -> None:
    assert holm([partial(rejected_at, p) for p in values], 0.05) == level


@given(st.lists(st.floats(0, 0.2), max_size=12))
def test_it_rejects_what_the_steps_reject(values: list[float]) -> None:
    level = holm([partial(rejected_at, p) for p in values], 0.05)
    assert {i for i, p in enumerate(values) if p <= level} == by_steps(values, 0.05)
