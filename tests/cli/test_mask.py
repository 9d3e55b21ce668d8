"""The commands read reports/ and nothing else: no plans, no artefacts, no DVC."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.cli.mask import diff, show
from recprune.errors import DamagedArtefactError, RecpruneError, SettingsError
from recprune.files import write_json
from recprune.pruning.ledger import Mask
from tests.report.days import BEFORE, CARVED, SWAPPED, ledger

pytestmark = pytest.mark.usefixtures("workspace")
PLAIN = replace(BEFORE, vectors=("city", *BEFORE.vectors[1:]))


def put(day: str, before: Mask, after: Mask, decided: list[str] | None = None, **changes: Any) -> None:
    """Write a day's prune.json."""
    marked = {key: changes.pop(key) for key in ("takeover", "restarted") if key in changes}
    found = {"day": day, "decisions": decided or [], **ledger(before, after, **marked)}
    write_json(Path(f"reports/{day}/prune.json"), found | changes)


@pytest.fixture
def days(workspace: Path) -> None:
    """Four days: nothing, a swap, a takeover, a restart."""
    swapped, carved = (replace(PLAIN, kept=mask.kept) for mask in (SWAPPED, CARVED))
    begun, took = "2024-01-03: a carving starts, the prune tax has risen", "2024-01-04: the challenger took over"
    put("2024-01-02", PLAIN, PLAIN, ["2023-12-31: long ago"])
    put("2024-01-03", PLAIN, swapped, ["2023-12-31: long ago", begun])
    put("2024-01-04", swapped, carved, [begun, took], takeover=True)
    put("2024-01-05", PLAIN, PLAIN, [begun, took], restarted=True)


def printed(*arguments: str) -> str:
    """Return what a command printed, with one space wherever there is some."""
    done = CliRunner().invoke(app, ["mask", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.output.split())


@pytest.mark.usefixtures("days")
def test_a_swap_is_told_by_layer_and_by_feature() -> None:
    found = printed("diff", "2024-01-02", "2024-01-03")
    assert "after 2024-01-02 and after 2024-01-03: 5.9 % of the groups kept on either day changed." in found
    assert "groups 2024-01-02 2024-01-03 dense Jaccard came went inputs of top.0 12 12 40 0.846 1 1" in found
    assert "feature vectors 5 5 5 1.000 0 0 top.0, neurons 16 16 64 1.000 0 0" in found
    assert "feature inputs came went city 2 → 1 [3] item 5 → 6 × user user 3 → 4 × item" in found
    assert found.endswith("Decided in between 2024-01-03: a carving starts, the prune tax has risen")


@pytest.mark.usefixtures("days")
def test_what_was_decided_between_two_days_is_told_in_order() -> None:
    found = printed("diff", "2024-01-02", "2024-01-05")
    assert "Inputs that came and went, by feature: no input came or went." in found
    assert found.endswith(
        "2024-01-03: a carving starts, the prune tax has risen 2024-01-04: the challenger took over "
        "2024-01-05: the served line restarted from the champion"
    )
    assert "age (gone) 4 → 0 [0, 1] × item, × user store (gone) 1 → 0 [0]" in printed(
        "diff", "2024-01-03", "2024-01-04"
    )
    assert "age (new) 0 → 4 [0, 1] × item, × user" in printed("diff", "2024-01-04", "2024-01-05")


@pytest.mark.usefixtures("days")
def test_a_day_does_not_differ_from_itself() -> None:
    found = printed("diff", "2024-01-03", "2024-01-03")
    assert "0.0 % of the groups" in found
    assert found.endswith("no input came or went. Nothing was decided in between.")


@pytest.mark.usefixtures("days")
def test_a_days_mask_is_shown_with_what_the_day_changed() -> None:
    found = printed("show", "2024-01-04")
    assert "The served mask after 2024-01-04: 30 of 109 groups kept." in found
    assert "The day changed 68.8 % of it: a challenger took over." in found
    assert "groups before 2024-01-04 after dense Jaccard came went inputs of top.0 12 12 40 0.263 7 7" in found
    assert "Features read feature columns of 6 pairs of 4 item 6 0 user 6 0 city (not read) 0 0" in found
    assert "It started from the champion's mask." in printed("show", "2024-01-05")


def test_a_network_without_pairs_counts_columns() -> None:
    mask = Mask(
        vectors=("city", "item"),
        embedding=2,
        dense={"inputs": 4, "vectors": 2},
        kept={"inputs": (0, 1, 3), "vectors": (0, 1)},
    )
    put("2024-01-02", mask, mask)
    assert "Features read feature columns of 2 city 2 item 1" in printed("show", "2024-01-02")


# mistakes


def refused(command: Callable[[], None], kind: type[RecpruneError], told: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(told)}$"):
        command()


@pytest.mark.usefixtures("days")
def test_a_day_without_a_report_names_the_days_that_have_one() -> None:
    told = "2024-01-09 has no mask: reports/2024-01-09/prune.json is not there. Days that have one: "
    refused(lambda: show("2024-01-09"), SettingsError, told + "2024-01-02, 2024-01-03, 2024-01-04, 2024-01-05.")
    for day in ("2024-01-06", "2024-01-07"):
        put(day, PLAIN, PLAIN)
    refused(lambda: diff("2024-01-02", "2024-01-09"), SettingsError, told + "6 days from 2024-01-02 to 2024-01-07.")


def test_where_no_day_was_run_it_says_so() -> None:
    told = "2024-01-09 has no mask: reports/2024-01-09/prune.json is not there. "
    refused(
        lambda: show("2024-01-09"), SettingsError, told + "No day here has one; run a day first, or go to a workspace."
    )


@pytest.mark.usefixtures("days")
def test_a_quarantined_day_has_no_mask() -> None:
    told = {"day": "2024-01-06", "verdict": "quarantined", "sentence": "2024-01-06 is quarantined: rows is 3."}
    write_json(Path("reports/2024-01-06/validation/verdict.json"), told)
    sentence = "2024-01-06 has no mask: 2024-01-06 is quarantined: rows is 3. Nothing was pruned; "
    refused(lambda: show("2024-01-06"), RecpruneError, sentence + "the mask is that of the last day before.")


@pytest.mark.usefixtures("days")
def test_days_come_in_order_of_time() -> None:
    told = "2024-01-04 is after 2024-01-02; give the earlier day first: recprune mask diff 2024-01-02 2024-01-04"
    refused(lambda: diff("2024-01-04", "2024-01-02"), SettingsError, told)
    with pytest.raises(SettingsError, match="is not a calendar day"):
        diff("yesterday", "2024-01-02")


@pytest.mark.usefixtures("days")
def test_masks_of_different_dense_networks_say_which_layer_differs() -> None:
    wider = replace(PLAIN, dense=PLAIN.dense | {"top.0": 128})
    put("2024-01-06", wider, wider)
    told = "the masks after 2024-01-02 and 2024-01-06 are of different dense networks and cannot be compared: "
    told += "top.0 has 64 groups in the first dense network and 128 in the second."
    refused(lambda: diff("2024-01-02", "2024-01-06"), SettingsError, told)


def test_a_report_of_before_the_ledger_says_so() -> None:
    write_json(Path("reports/2024-01-02/prune.json"), {"day": "2024-01-02", "decisions": []})
    told = (
        "reports/2024-01-02/prune.json has no mask: an earlier version of recprune wrote it, and it is never rewritten."
    )
    refused(lambda: show("2024-01-02"), RecpruneError, told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mask": {**PLAIN.to_json(), "embedding": 7}}, "5 vectors of width 7 do not give 40 inputs of 5 vectors; "),
        ({"mask": {"vectors": []}}, "a mask without dense, embedding, kept; "),
        ({"mask": {**PLAIN.to_json(), "kept": {"inputs": 3}}}, "; bring the stored one back with: "),
    ],
)
def test_a_damaged_report_says_how_to_bring_it_back(changes: dict[str, Any], told: str) -> None:
    put("2024-01-02", PLAIN, PLAIN, **changes)
    with pytest.raises(
        DamagedArtefactError, match=f"^{re.escape('reports/2024-01-02/prune.json is damaged: ')}"
    ) as error:
        show("2024-01-02")
    assert told in str(error.value)
    assert str(error.value).endswith("git checkout day/2024-01-02 -- reports/2024-01-02/prune.json")


def test_it_starts_at_once() -> None:
    code = "import sys, recprune.cli.mask; print(*{'torch', 'pandas', 'polars', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
