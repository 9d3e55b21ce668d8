"""The profile of a day: what is measured in one streaming pass, for Great Expectations to judge.

Everything is a share, a mean or a ratio, so that a day is compared with days of other sizes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from recprune.data.partition import Partition
from recprune.data.schema import Feature
from recprune.data.vocabulary import Vocabulary

TOP = 30
"""Most frequent ids per feature whose shares are kept."""
BINS = 10
SMALLEST = 0.005
"""Shares below this count as this in a stability index: ln(p / q) would make much of an empty cell."""

Profile = dict[str, Any]


def measure(partition: Partition, vocabulary: Vocabulary, earlier: Sequence[Profile]) -> Profile:
    """Profile a day.

    Args:
        partition: the day's events.
        vocabulary: the parent's; ids outside it are new.
        earlier: the good profiles before; the newest one that has a number gives its bin edges.
    """
    schema, rows = partition.schema, partition.scan()
    asked = [pl.len().alias("rows"), pl.col("label").mean().alias("base_rate")]
    for feature in schema.numeric:
        asked += _numeric_measures(feature.name)
    for feature in schema.categorical:
        asked += _categorical_measures(feature, vocabulary)
    found = rows.select(asked).collect(engine="streaming").row(0, named=True)
    read = max(partition.counts["read"], 1)
    return {
        "day": partition.day,
        "rows": found["rows"],
        "base_rate": found["base_rate"],
        "shares": {kind: partition.counts[kind] / read for kind in ("rejected", "duplicate", "late")},
        "numeric": {f.name: _numeric(rows, f.name, found, earlier) for f in schema.numeric},
        "categorical": {f.name: _categorical(rows, f, found, vocabulary) for f in schema.categorical},
    }


def having(kind: str, name: str, profiles: Sequence[Profile]) -> list[Profile]:
    """Return the profiles of days that had a feature: a schema may have changed between them."""
    return [profile for profile in profiles if name in profile[kind]]


def _numeric_measures(name: str) -> list[pl.Expr]:
    value = pl.col(name).cast(pl.Float64)
    there = value.filter(value.is_not_nan())
    return [
        value.is_nan().mean().alias(f"{name}/missing"),
        there.mean().alias(f"{name}/mean"),
        there.std().alias(f"{name}/std"),
        there.min().alias(f"{name}/min"),
        there.max().alias(f"{name}/max"),
    ]


def _categorical_measures(feature: Feature, vocabulary: Vocabulary) -> list[pl.Expr]:
    name, value = feature.name, pl.col(feature.name)
    missing = value == feature.missing if feature.pooling is None else value.list.len() == 0
    measures = [missing.mean().alias(f"{name}/missing")]
    if feature.pooling is not None and _known(feature, vocabulary) is not None:
        measures.append(vocabulary.unseen(name).mean().alias(f"{name}/new"))
    return measures


def _known(feature: Feature, vocabulary: Vocabulary) -> pl.DataFrame | None:
    """Return the ids that were seen before, if any were."""
    table = vocabulary.tables.get(feature.name)
    return table if table is not None and len(table) else None


def _numeric(rows: pl.LazyFrame, name: str, found: Mapping[str, Any], earlier: Sequence[Profile]) -> Profile:
    value = pl.col(name).cast(pl.Float64)
    there = rows.select(value).filter(value.is_not_nan())
    known = having("numeric", name, earlier)
    if known:
        edges = known[-1]["numeric"][name]["edges"]
    else:
        quantiles = [value.quantile(i / BINS, "lower").alias(str(i)) for i in range(1, BINS)]
        edges = sorted({q for q in there.select(quantiles).collect().row(0) if q is not None})
    there = rows.select(value, "label").filter(value.is_not_nan())
    counted = there.select("label", bin=_bin(value, edges)).group_by("bin").agg(pl.len(), pl.col("label").mean())
    cells = {cell: (count, rate) for cell, count, rate in counted.collect().iter_rows()}
    total = max(sum(count for count, _ in cells.values()), 1)
    bins = [cells.get(i, (0, None)) for i in range(len(edges) + 1)]
    measures = {key: found[f"{name}/{key}"] for key in ("missing", "mean", "std", "min", "max")}
    histogram, rates = [count / total for count, _ in bins], [rate for _, rate in bins]
    return {**measures, "edges": edges, "histogram": histogram, "rates": rates}


def _bin(value: pl.Expr, edges: Sequence[float]) -> pl.Expr:
    # nothing is above infinity: without edges all values lie in bin 0, and no value in none
    return pl.sum_horizontal([(value > edge).cast(pl.Int32) for edge in (*edges, math.inf)])


def _categorical(rows: pl.LazyFrame, feature: Feature, found: Mapping[str, Any], vocabulary: Vocabulary) -> Profile:
    name = pl.col(feature.name)
    ids = rows.select(name, "label")
    ids = ids if feature.pooling is None else ids.explode(feature.name).filter(name.is_not_null())
    grouped = ids.group_by(name.alias("id")).agg(pl.len(), pl.col("label").mean().alias("rate"))
    counted = grouped.collect(engine="streaming")
    top = counted.with_columns(pl.col("id").cast(pl.String)).top_k(TOP, by=["len", "id"], reverse=[False, True])
    top = top.sort(["len", "id"], descending=[True, False])
    total, known, new = max(found["rows"], 1), _known(feature, vocabulary), found.get(f"{feature.name}/new")
    if known is not None and feature.pooling is None:
        new = counted.join(known, on="id", how="anti")["len"].sum() / total if found["rows"] else None
    return {
        "missing": found[f"{feature.name}/missing"],
        "unique": counted.height,
        "new": new,
        "top": {ident: count / total for ident, count, _ in top.iter_rows()},
        "rates": {ident: rate for ident, _, rate in top.iter_rows()},
    }


def stability_index(
    today: Mapping[Any, float], before: Mapping[Any, float], today_rows: int, before_rows: int
) -> float:
    """Return the population stability index Σ (p − q)·ln(p / q), less what chance alone adds.

    With k cells, two samples of n and m rows of one distribution have an expected index of about
    (k − 1)(1/n + 1/m); it is taken off, so that a verdict does not depend on volume.

    >>> round(stability_index({"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}, 10**6, 10**6), 3)
    0.879
    """
    cells = set(today) | set(before)
    index = 0.0
    for cell in sorted(cells, key=str):
        p, q = max(today.get(cell, 0.0), SMALLEST), max(before.get(cell, 0.0), SMALLEST)
        index += (p - q) * math.log(p / q)
    noise = (len(cells) - 1) * (1 / max(today_rows, 1) + 1 / max(before_rows, 1))
    return index - noise


def drift(feature: str, kind: str, today: Profile, earlier: Sequence[Profile], *, turnover: bool = False) -> float:
    """Return a feature's stability index against the earlier profiles taken together.

    Of ids, those frequent on both sides are compared, and all others together: an id that comes or goes is
    turnover, which the share of new ids tells, and would alone make the index large. With `turnover` ids
    that are frequent before and absent today are cells of their own.
    """
    mine, theirs = today[kind][feature], [p[kind][feature] for p in earlier]
    rows = sum(p["rows"] for p in earlier)
    if kind == "numeric":
        before = pooled([dict(enumerate(t["histogram"])) for t in theirs], earlier)
        return stability_index(dict(enumerate(mine["histogram"])), before, today["rows"], rows)
    before = pooled([t["top"] for t in theirs], earlier)
    kept = [ident for ident in sorted(before, key=lambda i: (-before[i], i))[:TOP] if turnover or ident in mine["top"]]
    return stability_index(_with_rest(mine["top"], kept), _with_rest(before, kept), today["rows"], rows)


def pooled(shares: Sequence[Mapping[Any, float]], profiles: Sequence[Profile]) -> dict[Any, float]:
    """Return the shares of ids, or bins, over some days."""
    total = sum(p["rows"] for p in profiles)
    cells = {cell for s in shares for cell in s}
    return {c: sum(s.get(c, 0.0) * p["rows"] for s, p in zip(shares, profiles, strict=True)) / total for c in cells}


def _with_rest(shares: Mapping[Any, float], kept: Sequence[str]) -> dict[Any, float]:
    chosen = {ident: shares.get(ident, 0.0) for ident in kept}
    return {**chosen, "(the rest)": max(0.0, 1.0 - sum(chosen.values()))}
