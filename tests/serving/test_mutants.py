"""Damaged model files: refused with a sentence, or let through and then no crash and no hang in ONNX Runtime.

RECPRUNE_MUTANTS sets how many; 20,000 take half a minute of one core. Those that are let through are loaded in a
process of its own, so that one that ended it would fail the test instead of ending the run.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.test_model_file import MODEL

MUTANTS = int(os.environ.get("RECPRUNE_MUTANTS", "20000"))
SECONDS_EACH = 0.05
"""More than thirty times what one takes: beyond that one hangs."""


def test_mutants_are_refused_or_score_and_never_anything_else(tmp_path: Path) -> None:
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(MODEL.SerializeToString())
    command = [sys.executable, "-m", "tests.serving.mutants", str(whole), str(tmp_path), "0", str(MUTANTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + SECONDS_EACH * MUTANTS, check=False)
    number = (tmp_path / "number").read_text()
    assert done.returncode == 0, f"mutant {number} ended it with {done.returncode}: {done.stderr[-2000:]}"
    passed, loaded = map(int, done.stdout.split()[-2:])
    assert 0 < loaded < passed < MUTANTS, "a changed weight is for the digest to find"
