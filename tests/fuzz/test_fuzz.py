"""Damaged input of every kind, some of it at every run; ``make fuzz`` tries a million cases.

RECPRUNE_FUZZ sets how many cases the long one of the two tests tries; 200,000 take a few minutes of one core.
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutations import damaged, varied
from tests.fuzz.sources import good_rows, slow_records
from tests.fuzz.targets import TARGETS

CASES = int(os.environ.get("RECPRUNE_FUZZ", "200000"))
ROOT = Path(__file__).parents[2]


def fuzz(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)


def check(cases: int, seed: int) -> None:
    done = fuzz("--cases", str(cases), "--seed", str(seed))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for name in TARGETS:
        found = re.search(rf"^{name} +([0-9,]+) +([0-9,]+) +([0-9,]+) +0 ", done.stdout, re.MULTILINE)
        assert found, f"{name} is not in {done.stdout}"
        assert found[2] != "0", f"{name} never gave an answer: what it tries is refused before it is looked at"


def test_some_damage_is_refused_or_answered() -> None:
    check(8_000, seed=random.Random(str(CASES)).randrange(1000))


@pytest.mark.e2e
def test_much_damage_is_refused_or_answered() -> None:
    check(CASES, seed=1)


def test_a_case_can_be_tried_alone_and_is_the_same() -> None:
    told = [fuzz("--seed", "3", "--only", "manifest", "--number", "5").stdout for _ in range(2)]
    assert told[0] == told[1]
    assert re.match(r"manifest 5: (answered|refused)\n", told[0])


def test_another_target_than_there_is_is_told() -> None:
    done = fuzz("--only", "nothing")
    assert done.returncode == 2
    assert "--only nothing is no target; there are csv-records, " in done.stderr


def test_damage_is_the_same_for_the_same_generator_and_leaves_the_whole_as_it_is() -> None:
    whole, value = b"a,b\n1,2\n", {"a": [1, {"b": "x"}]}
    first, second = ([damaged(random.Random(n), whole) for n in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 40
    changed = [repr(varied(random.Random(n), value)) for n in range(50)]
    assert len(set(changed)) > 25
    assert value == {"a": [1, {"b": "x"}]}


def test_the_slow_reader_splits_as_the_dialect_says() -> None:
    assert slow_records('a,b\n"x\ny, ""z""",1\r\n\n"open\n2,3') == [
        (1, ["a", "b"], True), (2, ['x\ny, "z"', "1"], True), (5, [], False), (6, ["2", "3"], True)
    ]  # fmt: skip
    assert len(good_rows()) == 24
