import re
from typing import Any

import pytest

from recprune.errors import SettingsError
from recprune.gating.limits import GATE_RULES, HARD_RULES, changed_limits
from recprune.gating.rules import judge
from tests.gating.judged import SETTINGS, seen


def test_the_names_are_those_of_the_rules() -> None:
    assert tuple(rule.name for rule in judge(seen(), SETTINGS.gate)) == GATE_RULES
    assert set(HARD_RULES) < set(GATE_RULES)


@pytest.mark.parametrize("changes", [{"ne_margin": 0.5, "warn": ["ne"]}, {"gate": {"ne_margin": 0.5, "warn": ["ne"]}}])
def test_what_is_not_named_stays(changes: Any) -> None:
    found = changed_limits(SETTINGS.gate, changes, "new.yaml")
    assert (found.ne_margin, found.warn, found.parity) == (0.5, ("ne",), SETTINGS.gate.parity)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"warn": ["nee"]}, "new.yaml: warn names 'nee'; the rules are finite, schema, parity, rounding,"),
        ({"skip": ["finite"]}, "new.yaml: skip names finite, which always holds: what it finds cannot serve."),
        ({"ne_margn": 1}, "new.yaml: ne_margn is not a setting; did you mean ne_margin?"),
        ({"ne_margin": 0}, "new.yaml: ne_margin is 0; it must lie in (0, inf)."),
        ([1], "new.yaml: it must be limits by name, as in the section gate of params.yaml."),
        (None, "new.yaml: it must be limits by name, as in the section gate of params.yaml."),
        ({"gate": 3}, "new.yaml: it must be limits by name, as in the section gate of params.yaml."),
    ],
)
def test_what_is_wrong_is_told(changes: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        changed_limits(SETTINGS.gate, changes, "new.yaml")
