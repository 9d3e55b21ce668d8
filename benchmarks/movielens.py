"""Memory and time of a MovieLens day in the layout of 25M: python benchmarks/movielens.py [RATINGS] [--folder DIR].

Ratings are drawn: 162,541 users, 59,047 movies, 25 years, ordered by user as GroupLens does it. Each reading runs in a
process of its own, whose peak memory is told: the first sorts the file out, the second finds its rows kept.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from recprune.data.sources.file_settings import MovieLensSettings
from recprune.data.sources.movielens import MovieLensSource

USERS, MOVIES, DAYS = 162_541, 59_047, 25 * 365
FIRST, ASKED = datetime(1995, 1, 9, tzinfo=UTC), date(2010, 1, 1)


def write(folder: Path, ratings: int) -> None:
    """Write ratings.csv and movies.csv."""
    chance = np.random.default_rng(1)
    user = np.sort(1 + chance.integers(0, USERS, ratings))
    start = chance.integers(0, DAYS * 86_400, USERS + 1)[user]
    at = np.minimum(start + chance.integers(0, 100 * 86_400, ratings), DAYS * 86_400) + int(FIRST.timestamp())
    stars = chance.integers(1, 11, ratings) / 2
    columns = {"userId": user, "movieId": 1 + chance.integers(0, MOVIES, ratings), "rating": stars, "timestamp": at}
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(folder / "ratings.csv")
    movies = {"movieId": range(1, MOVIES + 1), "title": "A title (1995)", "genres": "Drama|Comedy"}
    pl.DataFrame(movies).write_csv(folder / "movies.csv")


def read(folder: Path) -> None:
    """Read a day and print rows, seconds and peak memory."""
    start = time.perf_counter()
    rows = sum(batch.rows.num_rows for batch in MovieLensSource(MovieLensSettings(path=str(folder))).read(ASKED))
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"{rows} {seconds:.1f} {time.process_time():.1f} {peak:.2f}\n")


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("ratings", type=int, nargs="?", default=25_000_095)
    asked.add_argument("--folder", type=Path, help="of the ratings, kept there; default: one that is removed")
    asked.add_argument("--read", action="store_true", help="read a day of --folder in this process")
    given = asked.parse_args()
    if given.read:
        read(given.folder)
        return
    table = Table(f"{given.ratings:,} ratings", "rows", "seconds", "processor seconds", "peak memory, GB")
    with tempfile.TemporaryDirectory() as own:
        folder = (given.folder or Path(own)).resolve()
        if not (folder / "ratings.csv").exists():
            write(folder, given.ratings)
        command = [sys.executable, str(Path(__file__).resolve()), "--read", "--folder", str(folder)]
        for which in ("first reading of a day", "second"):
            found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=os.environ)
            table.add_row(which, *found.stdout.split())
    Console().print(table)


if __name__ == "__main__":
    main()
