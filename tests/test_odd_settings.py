"""Settings that nobody means: each ends in a sentence, soon, and nothing of it is run."""

import os
import time
from pathlib import Path

import pytest

from recprune.errors import SettingsError
from recprune.settings import Settings, read_settings
from tests.makers import packaged_text

FILE = Path("params.yaml")

pytestmark = pytest.mark.usefixtures("workspace")


def refusal(text: str | bytes) -> str:
    FILE.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.process_time()
    with pytest.raises(SettingsError) as caught:
        read_settings(Path())
    assert time.process_time() - began < 5
    for line in str(caught.value).splitlines():
        assert line.startswith("params.yaml"), line
        assert len(line) < 600, line
    return str(caught.value)


def changed(setting: str, value: str) -> str:
    """Return the packaged settings with another value, as text."""
    lines = packaged_text().splitlines()
    [at] = [n for n, line in enumerate(lines) if line.strip().startswith(f"{setting}: ")][:1]
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    return "\n".join([*lines[:at], f"{indent}{setting}: {value}", *lines[at + 1 :]]) + "\n"


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("rows", "1" + "0" * 30, "ingest.simulator.rows is 1" + "0" * 30 + "; it must lie in [1, 1000000000]."),
        ("rows", "9" * 5000, "is not valid YAML: Exceeds the limit (4300 digits) for integer string conversion"),
        ("seed", "-1", "ingest.simulator.seed is -1; it must lie in [0, 4294967295]."),
        ("zipf", ".nan", "ingest.simulator.zipf is nan; it must lie in (0, inf)."),
        ("zipf", ".inf", "ingest.simulator.zipf is inf; it must lie in (0, inf)."),
        ("season", "-.inf", "ingest.simulator.season is -inf; it must lie in [0, inf)."),
        ("zipf", "1.0e+999", "ingest.simulator.zipf is inf; it must lie in (0, inf)."),
        ("rows", "0100", "0100 is read as 64 or as something else; write the number out"),
        ("rows", "0x64", "0x64 is read as 100 or as something else; write the number out"),
        ("rows", "1_000", "1_000 is read as 1000 or as something else; write the number out"),
        ("rows", "1:30", "1:30 is read as 90 or as something else; write the number out"),
        ("rows", "2024-01-05", "ingest.simulator.rows is datetime.date(2024, 1, 5); it must be a whole number."),
        ("first_day", "2024-01-05", "first_day is datetime.date(2024, 1, 5); it must be text in quotes."),
        ("first_day", "2024-13-45", "is not valid YAML: month must be in 1..12"),
        ("rows", "yes", "ingest.simulator.rows is True; it must be a whole number."),
        ("rows", "!!python/object/apply:os.system [touch ran]", "could not determine a constructor for the tag"),
        ("rows", "!!python/name:os.system", "could not determine a constructor for the tag"),
        ("rows", "!thing 5", "could not determine a constructor for the tag '!thing'"),
        ("rows", "\t4000", "is not valid YAML: while scanning"),
        ("rows", "*never", "is not valid YAML: found undefined alias"),
        ("rows", "5\n    rows: 6", "rows is set twice"),
        ("rows", "[" * 3000 + "]" * 3000, "is not valid YAML: it is nested too deeply"),
        ("faults", "&a [*a]", "ingest.simulator.faults[0] is [[[...]]]; it must be a section of settings."),
        ("? [a, b]\n    rows", "5", "found unhashable key"),
    ],
)
def test_a_value_that_nobody_means_is_told(setting: str, value: str, told: str) -> None:
    key = setting.split()[-1]
    text = changed(key, value)
    if key != setting:
        text = text.replace(f"    {key}: {value}", f"    ? [a, b]\n    : 1\n    {key}: {value}")
    assert told in refusal(text)
    assert not Path("ran").exists()


def test_aliases_of_aliases_are_not_written_out() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    told = refusal("\n".join(lines) + "\n" + packaged_text())
    assert "params.yaml: a29 is not a setting; remove it." in told
    assert "ingest.simulator.rows is [[[...], [...], [...]" in refusal(
        packaged_text().replace("rows: 4000", "rows: *a29").replace("ingest:", "\n".join(lines) + "\ningest:", 1)
    )


def test_mappings_that_take_in_others_are_refused_before_they_grow() -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 30)]
    assert "<< is not read; write the settings out" in refusal("\n".join(lines) + "\n" + packaged_text())


def test_a_hundred_megabytes_are_not_read() -> None:
    with FILE.open("wb") as file:
        file.truncate(100_000_000)
    told = r"^params\.yaml has 100,000,000 bytes; settings have 1,000,000 at most: is it another file\?$"
    with pytest.raises(SettingsError, match=told):
        read_settings(Path())


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"rows: caf\xe9\n", b"a: \x00\n", "a: \ufffe\n".encode()])
def test_what_is_no_text_is_told(content: bytes) -> None:
    assert refusal(content).startswith("params.yaml is not valid YAML: ")


@pytest.mark.parametrize(
    "content", ["", "- 1\n", "text\n", "5\n", "null\n", "a: 1\n---\nb: 2\n", "%YAML 9.9\n---\n{}\n"]
)
def test_what_is_no_mapping_of_settings_is_told(content: str) -> None:
    refusal(content)


def test_a_folder_or_a_pipe_is_no_file_and_is_never_waited_for() -> None:
    FILE.mkdir()
    with pytest.raises(SettingsError, match=r"^params\.yaml is no file; settings are read from a file of YAML\.$"):
        read_settings(Path())
    FILE.rmdir()
    os.mkfifo(FILE)
    with pytest.raises(SettingsError, match=r"^params\.yaml is no file; "):
        read_settings(Path())


def test_an_anchor_that_is_used_once_is_read() -> None:
    FILE.write_text(packaged_text().replace("rows: 4000", "rows: &many 4000").replace("ids: 500", "ids: *many"))
    found = read_settings(Path())
    assert isinstance(found, Settings)
    assert (found.ingest.simulator.rows, found.ingest.simulator.ids) == (4000, 4000)
