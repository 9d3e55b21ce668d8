"""`recprune score` and `recprune verify`: a bundle on rows, and a bundle on the machine that will serve it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from recprune.cli.terminal import Terminal
from recprune.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

out = Terminal(soft_wrap=True)
ROWS_A_CALL = 8192

Bundle = Annotated[Path, typer.Argument(help="A bundle: bundles/DAY, or a copy of that folder.")]


def score(
    bundle: Bundle,
    rows: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON lines (.parquet, .csv, .jsonl) of raw values.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write the rows with p_click to this .parquet or .csv; default: print.")
    ] = None,
) -> None:
    """Score rows with a bundle: p_click of each row, in their order.

    The columns that the model takes are read, others are kept. Needs no workspace.
    """
    import numpy as np
    import polars as pl

    from recprune.serving.scorer import Scorer

    if to is not None and to.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"--out {to}: the name must end in .parquet or .csv.")
    if to is not None and to.resolve() == rows.resolve():
        raise SettingsError(f"--out {to} is the file of the rows, which would be lost; choose another name.")
    scorer = Scorer(bundle)
    table, given = _read(rows, scorer.manifest["inputs"])
    parts = (given[at : at + ROWS_A_CALL] for at in range(0, max(1, len(table)), ROWS_A_CALL))
    found = pl.Series("p_click", np.concatenate([scorer.score(part) for part in parts]))
    if to is None:
        sys.stdout.writelines(f"{p:.9g}\n" for p in found)
        return
    scored = table.with_columns(found)
    try:
        scored.write_parquet(to) if to.suffix == ".parquet" else _inert(scored).write_csv(to)
    except pl.exceptions.PolarsError as error:
        raise SettingsError(f"--out {to} cannot hold these columns: {str(error).splitlines()[0]}") from None
    out.print(f"{to}: {len(table):,} rows, mean p_click {float(np.mean(found.to_numpy())) if len(found) else 0.0:.4g}")


def _inert(table: "pl.DataFrame") -> "pl.DataFrame":
    """Return a table whose texts no spreadsheet takes for formulas: one that begins like one gets a quote before it."""
    import polars as pl

    begins = ("=", "+", "-", "@", "\t", "\r", "\n")
    texts = pl.selectors.string()
    cells = pl.when(texts.str.slice(0, 1).is_in(begins)).then("'" + texts).otherwise(texts).name.keep()
    return table.with_columns(cells).rename({n: f"'{n}" for n in table.columns if n.startswith(begins)})


def verify(
    bundle: Bundle,
    measurements: Annotated[
        Path | None, typer.Option(help="measurements.json of its day; default: the workspace's, if it lies in one.")
    ] = None,
    slowest: Annotated[
        float | None, typer.Option(min=0.0, help="Fail if a call takes this many times the recorded latency.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            help="PEM file of who must have signed it; several are joined as in PATH. Default: RECPRUNE_PUBLIC_KEY."
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="Score these raw values too (.parquet, .csv, .jsonl), and measure the latency on them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a bundle where it will serve: signature, digests, model, inputs, parity on sample rows, latency, versions.

    Of --rows it is checked that p_click is finite and within [0, 1], not that it is right: that needs their labels,
    or the network, neither of which is here. Exit code 0 if no check failed, 1 otherwise.
    """
    from recprune.serving.signature import key_files
    from recprune.serving.verify import verify as check

    beside = bundle.resolve().parent.parent / "reports" / bundle.resolve().name / "measurements.json"
    keys = None if public_key is None else key_files(public_key, "--public-key")
    read = None if rows is None else partial(_columns, rows)
    found = check(bundle, measurements or (beside if beside.exists() else None), slowest, keys, rows=read)
    failed = any(each.verdict == "failed" for each in found)
    if as_json:
        verdict = {"bundle": str(bundle), "verdict": "failed" if failed else "passed"}
        sys.stdout.write(json.dumps(verdict | {"checks": [asdict(each) for each in found]}, indent=2) + "\n")
    else:
        for each in found:
            mark, style = {"passed": ("✓", "green"), "failed": ("✗", "red"), "told": ("·", "")}[each.verdict]
            out.print(Text.assemble((mark, style), f" {each.name}: {each.text}"))
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _columns(file: Path, inputs: Sequence[Mapping[str, str]]) -> "dict[str, NDArray[Any]]":
    """Read the inputs that a file has; the scorer names those that it lacks."""
    _, given = _read(file, inputs)
    return {i["name"]: given[i["name"]].to_numpy() for i in inputs if i["name"] in given.columns}


def _read(file: Path, inputs: Sequence[Mapping[str, Any]]) -> "tuple[pl.DataFrame, pl.DataFrame]":
    """Return the rows of a file as they are, and the model's inputs among them."""
    import polars as pl

    kinds = {"float32": pl.Float32, "int64": pl.Int64, "string": pl.String}
    wanted = {i["name"]: pl.String if _is_parsed(i) else kinds[i["dtype"]] for i in inputs}
    parsed = {i["name"] for i in inputs if _is_parsed(i)}
    readers = {
        ".parquet": lambda: pl.read_parquet(file),
        ".csv": lambda: pl.read_csv(file, schema_overrides=wanted, infer_schema_length=None),
        ".jsonl": lambda: pl.read_ndjson(
            file, schema_overrides={n: t for n, t in wanted.items() if n not in parsed}, infer_schema_length=None
        ),
    }
    if file.suffix not in readers:
        raise SettingsError(f"{file}: the name must end in {', '.join(readers)}, which says how to read it.")
    try:
        table = readers[file.suffix]()
    except pl.exceptions.PolarsError as error:
        raise SettingsError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    if "p_click" in table.columns:
        raise SettingsError(f"{file} has a column p_click already; drop or rename it.")
    return table, _given(table, file, inputs)


def _is_parsed(about: Mapping[str, Any]) -> bool:
    """Say whether text stands for an input that is none: lists, dates, true and false."""
    return "most" in about or "reading" in about


def _given(table: "pl.DataFrame", file: Path, inputs: Sequence[Mapping[str, Any]]) -> "pl.DataFrame":
    from recprune.data.schema import Feature
    from recprune.data.values import feature_value

    found = table.select(i["name"] for i in inputs if i["name"] in table.columns)
    for about in (i for i in inputs if i["name"] in found.columns):
        name, dtype = about["name"], about["dtype"]
        if _is_parsed(about):
            asked = {"pooling": "mean", "separator": about["separator"]} if "most" in about else {}
            feature = Feature(
                name=name, type=about["type"], dtype=dtype, reading=about.get("reading", "number"), **asked
            )
            typed = feature_value(table, feature)
            if why := table.filter(typed.bad).select(typed.reason.alias("why")).to_series().to_list():
                raise SettingsError(f"{file}: {why[0]} ({len(why):,} rows are such)")
            found = found.with_columns(table.select(typed.value).to_series())
        elif found[name].null_count() and _fits(found[name].dtype, dtype):
            found = found.with_columns(_filled(name, dtype))
    return found


def _fits(found: "pl.DataType", dtype: str) -> bool:
    """Say whether missing values of a column can be filled; the scorer judges what cannot."""
    import polars as pl

    return {
        "float32": found.is_numeric(),
        "int64": found.is_signed_integer(),
        "string": isinstance(found, pl.String),
    }[dtype]


def _filled(name: str, dtype: str) -> "pl.Expr":
    """Return an input's column with missing values as the model takes them."""
    import polars as pl

    from recprune.data.schema import MISSING_INT, MISSING_STRING

    missing = {"float32": float("nan"), "int64": MISSING_INT, "string": MISSING_STRING}[dtype]
    return pl.col(name).fill_null(missing)
