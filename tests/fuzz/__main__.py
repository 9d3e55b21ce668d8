"""Fuzzing of all that is read: ``python -m tests.fuzz --cases 200000 --seed 1``.

Property: what was damaged gives a sentence or the right answer, never another exception, a hang, a row that is lost, or
half an artefact. A case is known by seed, target and number, and can be tried alone: ``--only csv --number 17``.
"""

import argparse
import multiprocessing
import os
import platform
import queue
import sys
import time
from typing import Any

STILL = 180.0
"""Seconds without a new case, after which a case counts as one that never ends."""
LISTED = 20
"""Failures that are told in full."""


def main() -> int:
    """Try the cases that are asked for; the exit code says whether all came out as they may."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--cases", type=int, default=200_000, help="cases over all targets (200000)")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--only", help="one target; without cases and number all targets are listed")
    asked.add_argument("--number", type=int, help="one case of --only, told in full")
    given = asked.parse_args()
    os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}  # cases are counted per core

    from tests.fuzz.targets import TARGETS, split
    from tests.fuzz.work import one

    if given.only is not None and given.only not in TARGETS:
        asked.error(f"--only {given.only} is no target; there are {', '.join(TARGETS)}")
    if given.number is not None:
        return 0 if one(given.seed, given.only, given.number, sys.stdout.write) else 1
    return _Watch(given.seed, split(given.cases, given.only)).run()


class _Watch:
    """Watches the process that tries the cases, and tells how far it is."""

    def __init__(self, seed: int, counts: dict[str, int]) -> None:
        self.seed, self.counts = seed, counts
        self.now, self.done, self.failed = "", 0, 0
        self.began = self.moved = time.monotonic()
        context = multiprocessing.get_context("spawn")
        self.at, self.told = context.Value("q", 0), context.Queue()
        from tests.fuzz.work import work

        self.process = context.Process(target=work, args=(seed, counts, self.at, self.told), daemon=True)

    def run(self) -> int:
        """Watch to the end; return the exit code."""
        total = sum(self.counts.values())
        self.say(f"seed {self.seed}, {total:,} cases, Python {platform.python_version()}, {platform.machine()}")
        self.say(
            f"{'target':16} {'cases':>9} {'answered':>9} {'refused':>9} {'failed':>7} {'seconds':>8} {'per second':>11}"
        )
        self.process.start()
        last, finished = (-1, ""), 0
        while finished < len(self.counts):
            try:
                kind, what = self.told.get(timeout=0.5)
                finished += kind == "done"
                self.hear(kind, what)
            except queue.Empty:
                if not self.process.is_alive():
                    return self.broke(f"ended the process (exit code {self.process.exitcode})")
            here = (self.at.value, self.now)
            if here != last:
                last, self.moved = here, time.monotonic()
            elif time.monotonic() - self.moved > STILL:
                self.process.kill()
                return self.broke("never ends")
            self.bar(total)
        self.process.join()
        self.say(f"{self.done:,} cases in {time.monotonic() - self.began:.0f} s, {self.failed} failed")
        return 1 if self.failed else 0

    def hear(self, kind: str, what: Any) -> None:
        """Tell what the process told."""
        if kind == "target":
            self.now = what
        elif kind == "failed":
            self.failed += 1
            name, number, trace = what
            if self.failed <= LISTED:
                self.say(f"FAILED {self.again(name, number)}\n{trace}")
        else:
            name, found, seconds = what
            self.done += self.counts[name]
            numbers = [found.get(each, 0) for each in ("answered", "refused", "failed")]
            told = f"{name:16} {self.counts[name]:9,} {numbers[0]:9,} {numbers[1]:9,} {numbers[2]:7,} {seconds:8.1f}"
            self.say(f"{told} {self.counts[name] / max(seconds, 1e-9):11,.0f}")

    def broke(self, how: str) -> int:
        """Tell of a case that the process did not live through."""
        self.say(f"FAILED {self.again(self.now, self.at.value)}\nthe case {how}")
        return 1

    def again(self, name: str, number: int) -> str:
        return f"again: python -m tests.fuzz --seed {self.seed} --only {name} --number {number}"

    def bar(self, total: int) -> None:
        """Draw how far it is, on a terminal only."""
        if sys.stderr.isatty():
            here = self.done + (self.at.value if self.now else 0)
            filled = int(40 * min(here / total, 1))
            sys.stderr.write(f"\r{'█' * filled}{'·' * (40 - filled)} {here:,} of {total:,}  {self.now:16}")
            sys.stderr.flush()

    def say(self, line: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
