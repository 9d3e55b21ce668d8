import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.config import Within, load_settings, parse_settings
from recprune.errors import ExitCode, SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    kind: Literal["parquet", "csv"]
    share: Annotated[float, Within("(0, 1]")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    seed: int
    rows: Annotated[int, Within("[1, inf)")]
    on: bool
    name: str
    widths: tuple[Annotated[int, Within("[1, inf)")], ...]
    inner: Inner
    other: Inner | None
    named: dict[str, Inner]
    low: float

    def __post_init__(self) -> None:
        if self.low > self.rows:
            raise ValueError(f"low is {self.low}; it must not exceed rows.")


INNER = {"kind": "csv", "share": 0.5}
GOOD = {
    "seed": -3,
    "rows": 5,
    "on": False,
    "name": "x",
    "widths": [4, 2],
    "inner": INNER,
    "other": None,
    "named": {"a": INNER},
    "low": 2,
}


def problems(**changes: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(Outer, GOOD | changes, "params.yaml")
    return str(caught.value).removeprefix("params.yaml: ").split("\nparams.yaml: ")


def test_good_settings_are_read_into_the_dataclass() -> None:
    inner = Inner(kind="csv", share=0.5)
    assert parse_settings(Outer, GOOD, "params.yaml") == Outer(
        seed=-3,
        rows=5,
        on=False,
        name="x",
        widths=(4, 2),
        inner=inner,
        other=None,
        named={"a": inner},
        low=2.0,
    )


def test_a_whole_number_where_a_number_is_wanted_becomes_a_float() -> None:
    assert isinstance(parse_settings(Outer, GOOD, "params.yaml").low, float)


def test_all_problems_are_reported_together_with_the_nearest_names() -> None:
    raw = {k: v for k, v in GOOD.items() if k not in ("seed", "inner")}
    raw |= {"sead": 1, "rows": 0, "zzz": 1, "inner": {"kind": "cvs", "shar": 2, "share": 0}}
    with pytest.raises(SettingsError) as caught:
        parse_settings(Outer, raw, "params.yaml")
    assert caught.value.exit_code is ExitCode.WRONG_USE
    assert str(caught.value).splitlines() == [
        "params.yaml: sead is not a setting; did you mean seed?",
        "params.yaml: zzz is not a setting; remove it.",
        "params.yaml: seed is missing; every setting is written out.",
        "params.yaml: rows is 0; it must lie in [1, inf).",
        "params.yaml: inner.shar is not a setting; did you mean share?",
        "params.yaml: inner.kind is 'cvs'; it must be one of parquet, csv; did you mean csv?",
        "params.yaml: inner.share is 0; it must lie in (0, 1].",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number."),
        ({"seed": True}, "seed is True; it must be a whole number."),
        ({"seed": None}, "seed is empty; it must be a whole number."),
        (
            {"seed": "7"},
            "seed is '7'; it must be a whole number. YAML reads 7 as text; write 7.",
        ),
        (
            {"low": "1e-5"},
            "low is '1e-5'; it must be a number. YAML reads 1e-5 as text; write 1.0e-05.",
        ),
        ({"low": "much"}, "low is 'much'; it must be a number."),
        ({"low": True}, "low is True; it must be a number."),
        ({"on": 1}, "on is 1; it must be true or false."),
        ({"name": 3}, "name is 3; it must be text in quotes."),
        ({"widths": 4}, "widths is 4; it must be a list."),
        ({"widths": [4, 0]}, "widths[1] is 0; it must lie in [1, inf)."),
        ({"widths": ["a"]}, "widths[0] is 'a'; it must be a whole number."),
        ({"inner": None}, "inner is empty; it must be a section of settings."),
        ({"inner": [1]}, "inner is [1]; it must be a section of settings."),
        ({"other": 5}, "other is 5; it must be a section of settings."),
        ({"named": []}, "named is []; it must be a mapping of names."),
        ({"named": {"a": INNER | {"share": 2}}}, "named.a.share is 2; it must lie in (0, 1]."),
        ({"named": {False: INNER}}, "named.False is named False; a name must be text in quotes."),
        ({"inner": INNER | {"share": math.nan}}, "inner.share is nan; it must lie in (0, 1]."),
        ({"inner": INNER | {"kind": ["csv"]}}, "inner.kind is ['csv']; it must be one of parquet, csv."),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(changes: dict[str, object], told: str) -> None:
    assert problems(**changes) == [told]


def test_rules_between_settings_are_reported_beside_the_others() -> None:
    assert problems(low=6) == ["low is 6.0; it must not exceed rows."]


@pytest.mark.parametrize("huge", [10**400, -(10**400)])
def test_whole_numbers_beyond_floats_are_out_of_range(huge: int) -> None:
    (told,) = problems(inner=INNER | {"share": huge})
    assert told.endswith("it must lie in (0, 1].")


def test_huge_whole_numbers_are_whole_numbers() -> None:
    assert parse_settings(Outer, GOOD | {"rows": 10**400}, "params.yaml").rows == 10**400


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(raw: object) -> None:
    with pytest.raises(SettingsError, match=r"^params.yaml: the file is .*; it must be a section of setti"):
        parse_settings(Outer, raw, "params.yaml")


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_plain, st.sampled_from(sorted(GOOD)), _plain)
def test_whatever_stands_there_is_read_or_told(raw: object, name: str, value: object) -> None:
    for given_ in (raw, GOOD | {name: value}):
        try:
            assert isinstance(parse_settings(Outer, given_, "params.yaml"), Outer)
        except SettingsError as error:
            lines = str(error).split("\nparams.yaml: ")
            assert lines[0].startswith("params.yaml: ")


@given(st.floats())
def test_an_interval_holds_what_mathematics_says(x: float) -> None:
    assert (x in Within("(0, 1]")) == (0 < x <= 1)
    assert (x in Within("[0, 1)")) == (0 <= x < 1)
    assert (x in Within("[0, inf)")) == (0 <= x < math.inf)


# files


def load(folder: Path, content: bytes) -> Inner:
    file = folder / "params.yaml"
    file.write_bytes(content)
    return load_settings(Inner, file)


def test_a_file_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, b"kind: csv # why\nshare: 1\n") == Inner(kind="csv", share=1.0)


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    told = f"{file} does not exist; make a workspace with: recprune init DIR"
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        load_settings(Inner, file)


@pytest.mark.parametrize(
    "content",
    [
        b"a: [",
        b"a: \xff",
        b"a: \x00",
        b"a: 2024-13-45",  # PyYAML's own ValueError
        b"!!python/object:os.system {}",
        b"? [a]\n: 1",
    ],
)
def test_what_is_no_yaml_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(str(tmp_path))}/params.yaml is not valid YAML: "):
        load(tmp_path, content)


@pytest.mark.parametrize("content", [b"kind: csv\nshare: 1\nkind: csv\n", b"{kind: csv, share: 1, kind: csv}"])
def test_a_setting_that_stands_twice_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError, match=r"is not valid YAML: kind is set twice"):
        load(tmp_path, content)


@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_told(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(SettingsError):
        load(folder, content)
