"""The day's verdict: rules that hold, warn, or are not asked."""

from dataclasses import replace
from typing import Any

from recprune.gating.limits import GateSettings
from recprune.gating.rules import verdict
from tests.gating.judged import RULES, SETTINGS, evaluation
from tests.gating.test_rules import seen


def softened(**changes: Any) -> GateSettings:
    return replace(SETTINGS.gate, **changes)


def test_a_rule_that_only_warns_does_not_hold_and_is_told() -> None:
    heavy = evaluation(delivered__candidate=0.3)
    found = verdict(seen(found=heavy), softened(warn=("budget", "ne")))
    assert found["verdict"] == "passed"
    assert found["sentence"] == (
        "2024-01-05 passed: no rule proves harm against champion 2024-01-04. Warning: the share of the dense network's "
        "FLOPs delivered is 0.3, above the limit 0.2."
    )
    assert {r["name"]: r["verdict"] for r in found["rules"]}["budget"] == "warned"
    found = verdict(
        seen(found=evaluation(delivered__candidate=0.3, inputs_unchanged=False)), softened(warn=("budget",))
    )
    assert found["sentence"] == (
        "2024-01-05 held: the bundle's inputs differ from the champion's (new: city); once production sends them, "
        'write into params.yaml, section gate: accept_inputs: "3f2a91c0be12". '
        "Champion 2024-01-04 keeps serving. "
        "Warning: the share of the dense network's FLOPs delivered is 0.3, above the limit 0.2."
    )


def test_a_rule_that_is_skipped_is_not_asked() -> None:
    found = verdict(seen(found=evaluation(delivered__candidate=0.3)), softened(skip=("budget",)))
    assert found["verdict"] == "passed"
    assert [r["name"] for r in found["rules"]] == [name for name in RULES if name != "budget"]
