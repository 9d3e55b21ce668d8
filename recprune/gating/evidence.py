"""What the gate's rules judge by, as the steps of the day left it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.verdict import read_verdict
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import open_artefact, read_json
from recprune.gating.pool import POOLED, SUMS

FILES = {
    "pruned": "prune.json",
    "evaluation": "evaluation.json",
    "measurements": "measurements.json",
    "validation": "verdict.json",
    "delivered": "export/measurements.json",
}
"""The file of each part of the evidence."""


class MissingNumberError(RecpruneError):
    """What a rule judges by is not there; what is not known is not promoted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the rules judge by."""

    day: str
    pruned: Any
    """The day's `prune.json`."""
    evaluation: Any
    measurements: Any
    validation: Any
    """The verdict on the day's data."""
    delivered: Any
    """What the exported file has and takes beside the dense network's."""
    pool: pl.DataFrame
    """Losses of served line and champion on rows that neither had learned, of this day and earlier ones."""
    sums: pl.DataFrame | None
    """Sums over the same rows by slice; None for a day that an earlier version evaluated."""

    @property
    def champion(self) -> str:
        """Return the day of the champion that the candidate meets.

        Raises:
            MissingNumberError: the evaluation names none.
        """
        day = self.value("evaluation", "champion_day")
        if not isinstance(day, str):
            raise _missing("evaluation", ("champion_day",), day)
        return day

    def number(self, part: str, *path: str) -> float:
        """Return a number of one of the files.

        Raises:
            MissingNumberError: it is null, not finite, no number or not there.
        """
        value = self.value(part, *path)
        if not _finite(value):
            raise _missing(part, path, value)
        return float(value)

    def flag(self, part: str, *path: str) -> bool:
        """Return what one of the files says to be true or false.

        Raises:
            MissingNumberError: it is neither, or not there.
        """
        value = self.value(part, *path)
        if not isinstance(value, bool):
            raise _missing(part, path, value)
        return value

    def section(self, part: str, *path: str) -> dict[str, Any]:
        """Return a mapping of one of the files.

        Raises:
            MissingNumberError: it is something else, or not there.
        """
        value = self.value(part, *path)
        if not isinstance(value, dict):
            raise _missing(part, path, value)
        return value

    def value(self, part: str, *path: str) -> Any:
        """Return whatever one of the files has at a path; raises MissingNumberError where that ends."""
        found = getattr(self, part)
        for name in path:
            if not isinstance(found, dict) or name not in found:
                raise MissingNumberError(f"{'.'.join(path)} is missing in {FILES[part]}")
            found = found[name]
        return found

    def losses(self) -> pl.DataFrame:
        """Return the pool, its numbers checked.

        Raises:
            MissingNumberError: a loss is null or not finite, or the day's own rows are not in it.
        """
        for name in ("served", "champion"):
            bad = self.pool.filter(~pl.col(name).is_finite().fill_null(value=False))
            if len(bad):
                raise MissingNumberError(
                    f"{len(bad)} of {len(self.pool)} losses of column {name} are missing in {POOLED}, the first on "
                    f"{bad['day'][0]}"
                )
        self._expect_tail(self.pool.filter(pl.col("rows") == "tail"), POOLED)
        return self.pool

    def slice_sums(self) -> pl.DataFrame:
        """Return the sums by slice, their numbers checked.

        Raises:
            MissingNumberError: a sum is null or not finite, or the day's own rows are not in it.
        """
        if self.sums is None:
            raise MissingNumberError(f"{SUMS} is missing: an earlier version of recprune evaluated {self.day}")
        for name in ("sums", "products"):
            numbers = self.sums[name].to_list()
            bad = [i for i, row in enumerate(numbers) if row is None or not all(map(_finite, row))]
            if bad:
                what = " ".join(self.sums.row(bad[0])[2:4]).strip() or "all rows"
                raise MissingNumberError(
                    f"{len(bad)} of {len(numbers)} rows of column {name} have no number in {SUMS}, the first is that "
                    f"of {what} on {self.sums['day'][bad[0]]}"
                )
        self._expect_tail(self.sums.filter(pl.col("kind") == "tail"), SUMS)
        return self.sums

    def _expect_tail(self, rows: pl.DataFrame, file: str) -> None:
        wanted = self.number("evaluation", "tail", "rows")
        if wanted > 0 and self.day not in rows["day"]:
            raise MissingNumberError(f"the tail of {self.day}, {wanted:.0f} rows, is missing in {file}")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _missing(part: str, path: tuple[str, ...], value: object) -> MissingNumberError:
    shown = "null" if value is None else repr(value)[:40]
    return MissingNumberError(f"{'.'.join(path)} is {shown} in {FILES[part]}")


def read_evidence(
    day: str,
    *,
    prune_report: Path,
    evaluation: Path,
    measurements: Path,
    validation: Path,
    delivered: Path,
    pooled: Path,
) -> Evidence:
    """Read a day's evidence.

    Raises:
        DamagedArtefactError: a file is missing or was changed.
    """
    open_artefact(pooled, "pooled", day)
    for file in (prune_report, evaluation, measurements):
        found = read_json(file)
        if isinstance(found, dict) and found.get("day", day) != day:
            raise DamagedArtefactError(f"{file} is that of {found['day']}, not of {day}; run that step of {day} again")
    return Evidence(
        day=day,
        pruned=read_json(prune_report),
        evaluation=read_json(evaluation),
        measurements=read_json(measurements),
        validation=read_verdict(validation),
        delivered=read_json(delivered) if delivered.exists() else {},
        pool=pl.read_parquet(pooled / POOLED),
        sums=pl.read_parquet(pooled / SUMS) if (pooled / SUMS).exists() else None,
    )
