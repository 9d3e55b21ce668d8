"""A workspace as a git repository with days that are stored: what promotion, force and rollback work on."""

import re
import subprocess
from pathlib import Path

import pytest

from recprune.days import days_between
from recprune.errors import RecpruneError
from recprune.files import read_json, write_json
from recprune.registry.forced import NEEDED
from recprune.registry.history import read_history, record
from recprune.steps.promote import finish, promote
from recprune.workspace import plan_path
from tests.lineage import bundle_of, held, passed, plan_of

ROOT = Path(__file__).parents[2]
G, D1, D2, D3, D4, D5, D6 = days_between("2023-12-31", "2024-01-06")


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def make_repository() -> None:
    """Make a git repository with a genesis."""
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    plan_of(G, kind="genesis")
    record("genesis", G, G, bundle_of(G), "genesis")
    finish()


def store(day: str) -> None:
    passed(day)
    bundle_of(day)
    git("tag", f"day/{day}")


def store_held(day: str, **outcomes: str) -> None:
    """Store a day that the rule ne held, with other outcomes of the rules that nobody overrules."""
    held(day, rules={**dict.fromkeys(NEEDED, "passed"), "ne": "failed", **outcomes})
    bundle_of(day)
    git("tag", f"day/{day}")


def promoted(*days: str) -> None:
    for day in days:
        store(day)
        assert promote(day=day)


def three_days() -> None:
    """Make a repository of three promoted days, each of which goes on from the one before."""
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    make_repository()
    for parent, day in ((G, D1), (D1, D2), (D2, D3)):
        promoted(day)
        write_json(plan_path(day), {**read_json(plan_path(day)), "parent": parent})


def events() -> list[tuple[str, str, str]]:
    return [(e.event, e.day, e.champion) for e in read_history()]


def raises(told: str) -> "pytest.RaisesExc[RecpruneError]":
    return pytest.raises(RecpruneError, match=f"^{re.escape(told)}$")
