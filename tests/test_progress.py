import re

import pytest

from recprune.progress import MARKED, Progress


def test_marks_for_the_wrapper_are_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(MARKED, "1")
    with Progress("train", 10) as progress:
        progress.to(3)  # too soon after the start
        progress.to(10)
    assert capsys.readouterr() == ("@progress train 10 10\n", "")


def test_elsewhere_plain_lines_are_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(MARKED, raising=False)
    with Progress("train", 1200) as progress:
        progress.to(1200)
    assert capsys.readouterr() == ("", "train: 1,200 of 1,200\n")


def test_a_terminal_gets_one_line_that_grows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(MARKED, raising=False)
    progress = Progress("train", 4)
    progress._terminal, progress._pause = True, 0.0
    with progress:
        for done in (1, 4, 5):  # more than the total is no error
            progress.to(done)
    bars = capsys.readouterr().err.split("\r")
    assert bars == [
        "",
        f"train [{'#' * 7}{'.' * 23}] 1/4",
        f"train [{'#' * 30}] 4/4",
        f"train [{'#' * 37}] 5/4\n",
    ]


def test_nothing_to_do_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(MARKED, "1")
    with Progress("carve", 0) as progress:
        progress.to(0)
        progress.to(1)
    assert re.fullmatch("@progress carve 1 1\n", capsys.readouterr().out)
