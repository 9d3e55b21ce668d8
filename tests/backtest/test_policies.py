import re

import pytest

from recprune.backtest.policies import POLICIES, choose
from recprune.errors import SettingsError
from recprune.pruning.ads import Ads
from recprune.pruning.d2s import DenseToSparse
from recprune.pruning.masked import Masked, Prior
from recprune.pruning.policy import Policy
from recprune.pruning.static import SmallDense
from tests.makers import settings

PRUNE = settings().prune


def test_every_policy_is_found_by_its_name() -> None:
    for name in POLICIES:
        chosen = choose(name, PRUNE, 0.3)
        assert (chosen.text, chosen.name, chosen.prune.budget, chosen.budget) == (name, name, 0.3, 0.3)
        assert type(chosen.policy) is type(POLICIES[name]())


def test_a_policy_without_settings_of_its_own_has_those_of_the_section() -> None:
    chosen = choose("fixed_mask", PRUNE, PRUNE.budget)
    assert type(chosen.policy) is Policy
    assert chosen.prune == PRUNE


def test_settings_are_the_policys_own_or_the_sections() -> None:
    chosen = choose("d2s:every=2:swap=16:guide=own:swap_ratio=2", PRUNE, 0.05)
    assert chosen.policy == DenseToSparse(every=2)
    assert (chosen.prune.swap, chosen.prune.guide, chosen.prune.swap_ratio) == (16, "own", 2.0)
    assert (chosen.name, chosen.text) == ("d2s", "d2s:every=2:swap=16:guide=own:swap_ratio=2")
    assert choose("small_dense:top=two:reads=swap", PRUNE, 0.2).policy == SmallDense(top="two", reads="swap")
    assert choose("rigl:block=16", PRUNE, 0.2).policy == Masked(method="rigl", block=16)
    assert choose("ads:guide=own", PRUNE, 0.2).policy == Ads()


def test_a_whole_number_may_stand_for_one_with_a_fraction() -> None:
    assert choose("incremental_prior:strength=3", PRUNE, 0.2).policy == Prior(strength=3.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adz", f"--policies: 'adz' is not a policy; it must be one of {', '.join(POLICIES)}; did you mean ads?"),
        ("magnitude", f"--policies: 'magnitude' is not a policy; it must be one of {', '.join(POLICIES)}."),
        ("d2s:evry=2", "'evry=2' is not SETTING=VALUE of d2s (every, swap, "),
        ("d2s:evry=2", ", min_neurons, min_inputs); did you mean every?"),
        ("d2s:every", "--policies: d2s:every: 'every' is not SETTING=VALUE of d2s ("),
        ("ads:", "--policies: ads:: '' is not SETTING=VALUE of ads ("),
        ("d2s:every=0", "--policies: d2s:every=0: every is 0; it must be a whole number, at least 1, as 4."),
        ("d2s:every=2.5", "every is 2.5; it must be a whole number, at least 1, as 4."),
        ("d2s:every=yes", "every is True; it must be a whole number, at least 1, as 4."),
        ("incremental_prior:strength=much", "strength is 'much'; it must be a number, as 256.0."),
        ("incremental_prior:strength=yes", "strength is True; it must be a number, as 256.0."),
        ("small_dense:top=3", "top is 3; it must be a word, as 'three'."),
        ("small_dense:top=four", "--policies: small_dense:top=four: small_dense: top is four, reads is all; top is "),
        ("ads:swap=-1", "--policies: ads:swap=-1: swap is -1; it must lie in [0, 1000]."),
        ("ads:swap=", "--policies: ads:swap=: swap is empty; it must be a whole number."),
        ("ads:swap={", "--policies: ads:swap={: swap is '{'; it must be a whole number."),
        ("ads:guide=2024-13-45", "guide is '2024-13-45'; it must be one of dense, own."),
        ("ads:budget=0.1", "--policies: ads:budget=0.1: budget is the same for all policies, or they could not be co"),
        ("ads:cost=parameters", "cost is the same for all policies"),
        ("dense:swap=3", "--policies: dense:swap=3: dense has nothing to set: it is the full model that the others"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_is_right(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        choose(text, PRUNE, 0.2)


def test_a_budget_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--policies: ads: budget is 1.5; it must lie in \(0, 1\]\.$"):
        choose("ads", PRUNE, 1.5)
