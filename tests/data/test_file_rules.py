from typing import Any

import pytest

from recprune.config import parse_settings
from recprune.data.sources.file_rules import dialect_of, problems_of_files
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.records import Dialect

PATH = {"path": "logs/{day}.csv", "format": "csv", "first_day": "2024-01-01"}


def settings(**more: Any) -> FilesSettings:
    return parse_settings(FilesSettings, PATH | more, "params.yaml")


@pytest.mark.parametrize(
    ("given", "dialect"),
    [
        ({}, Dialect(separator=",", quotes=True)),
        ({"format": "tsv"}, Dialect(separator="\t", quotes=False)),
        ({"format": "tsv", "quotes": True}, Dialect(separator="\t", quotes=True)),
        ({"separator": ";"}, Dialect(separator=";", quotes=True)),
        ({"separator": "::", "quotes": False, "header": False, "columns": ["a", "b"]},
         Dialect(separator="::", quotes=False, columns=("a", "b"))),
    ],
)  # fmt: skip
def test_a_dialect(given: dict[str, Any], dialect: Dialect) -> None:
    assert (list(problems_of_files(settings(**given))), dialect_of(settings(**given))) == ([], dialect)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"path": "all.csv"},
            (
                "path is 'all.csv'; it must hold {day}, or every day would deliver the same rows: for example "
                "logs/{day}/*.parquet. Where a file holds many days, set ingest.files.days: by_time."
            ),
        ),
        (
            {"days": "by_time"},
            (
                "path is 'logs/{day}.csv', days is by_time; the event time tells the day, so that the path must not "
                "hold {day}."
            ),
        ),
        (
            {"format": "parquet", "separator": ";"},
            "separator is set, but format is parquet, which names its own columns: remove it.",
        ),
        (
            {"columns": ["a"]},
            "columns is set, and header is true; name the columns only of files without a header: header: false.",
        ),
        (
            {"header": False},
            "columns is empty, and header is false; without a header the columns must be named: columns: [a, b].",
        ),
        ({"header": False, "columns": ["a", "a"]}, "columns is ['a', 'a']; every name must be another."),
        ({"separator": ""}, "separator is ''; it must be text without quotes or line ends, such as ;."),
        ({"separator": "::"}, "separator is '::', of several letters, which only goes with quotes: false."),
        (
            {"time_format": "seconds"},
            (
                "time_format is 'seconds'; it must be iso, unix, unix_ms, unix_us, or a pattern that tells a day, as "
                "%Y-%m-%d %H:%M:%S or %y%m%d%H does."
            ),
        ),
    ],
)
def test_settings_that_contradict_one_another(given: dict[str, Any], problem: str) -> None:
    assert list(problems_of_files(settings(**given))) == [f"params.yaml: ingest.files.{problem}"]
