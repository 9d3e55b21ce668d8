"""The parts of a graph, each in a small model of its own, so that the time of each can be measured.

The parts are built by the functions that build the served graph: what is measured is what is served.

Legend: N rows of a request, D embedding width, V vectors, P pairs, K inputs.
"""

from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recprune.data.schema import Feature, IdType, Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import Builder
from recprune.lowering.families import attended, crossed
from recprune.lowering.graph import build_graph
from recprune.lowering.interaction import flattened, gathered, picked, square, turned
from recprune.lowering.look_up import look_up, number_part
from recprune.lowering.probe import IDLE_INPUT, Input, Probe, probe
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, with_every_input

VOCABULARY = 10_000
"""Ids of each feature that is looked up; 100 or 100,000 differ by a tenth."""
LOOKED_UP = 8
"""Features that are looked up together."""

WHOLE = (*(ids(f"n{i}", "int64") for i in range(6)), *(ids(f"s{i}") for i in range(6)), number("x"), number("y"))
"""Features of the whole network."""
AXES: dict[str, tuple[str, ...]] = {
    "call": (),
    "input_float32": (),
    "input_int64": (),
    "input_string": (),
    "look_up_int64": (),
    "look_up_string": (),
    "rows": ("width",),
    "standardize": ("numbers",),
    "layer": ("inputs", "outputs"),
    "flat": ("columns",),
    "pick": ("inputs",),
    "turn": ("inputs",),
    "join": ("inputs",),
    "gathered": ("pairs", "width"),
    "square": ("vectors", "width"),
    "cross": ("columns",),
    "attention_1": ("vectors", "width"),
    "attention_4": ("vectors", "width"),
}
"""Every part that is measured, and what its time depends on."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the parts are measured."""

    widths: tuple[int, ...] = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
    """Of a layer's inputs."""
    outputs: tuple[int, ...] = (1, 16, 32, 64, 128, 256, 512, 1024)
    inputs: tuple[int, ...] = (1, 16, 64, 256, 1024)
    pairs: tuple[int, ...] = (1, 16, 64, 128)
    vectors: tuple[int, ...] = (2, 4, 8, 16, 24, 32, 48)
    embedding: tuple[int, ...] = (8, 16, 32, 64)
    numbers: tuple[int, ...] = (1, 4, 16)


def probes(grid: Grid) -> list[Probe]:
    """Return a probe for every part at every place of the grid."""
    small = {
        "flat": (grid.inputs, _flat),
        "pick": (grid.inputs, _pick),
        "turn": (grid.inputs, _turn),
        "join": (grid.inputs, _join),
        "cross": (grid.inputs, _cross),
        "standardize": (grid.numbers, _standardize),
        "rows": (grid.embedding, _rows),
    }
    found = [_look_up(dtype) for dtype in ("int64", "string")]
    found += [make(n) for values, make in small.values() for n in values]
    found += [_layer(n, m) for n, m in product(grid.widths, grid.outputs)]
    found += [_gathered(n, width) for n, width in product(grid.pairs, grid.embedding)]
    found += [_square(n, width) for n, width in product(grid.vectors, grid.embedding)]
    found += [_attention(n, width, heads) for n, width in product(grid.vectors, grid.embedding) for heads in (1, 4)]
    return found


def call() -> Probe:
    """Return a model with one number, which it takes for the logit."""
    build = Builder()
    build.node("Sigmoid", [build.reshape(IDLE_INPUT.name, -1)], output="p_click")
    return Probe("call", (), (IDLE_INPUT,), 1, build.model([IDLE_INPUT.info()]).SerializeToString())


def whole() -> tuple[Probe, Line]:
    """Return a carved network as it is served: its time over that of its parts stands for all networks'."""
    dense, schema = _line(WHOLE, embedding=16, bottom=(32,), top=(64, 32)).shape, _schema(WHOLE)
    line = new_line(replace(dense, inputs=dense.inputs[::3]), [VOCABULARY + 1] * len(schema.categorical), 0)
    model = build_graph(line, _vocabulary(schema), schema, 0.0)
    inputs = tuple(Input(f.name, f.dtype, (0,), VOCABULARY) for f in WHOLE)
    return Probe("whole", (), inputs, 1, model.SerializeToString()), line


def _layer(inputs: int, outputs: int) -> Probe:
    def make(build: Builder) -> str:
        weight = build.constant("weight", _random(outputs, inputs))
        return build.node(
            "Relu", [build.node("Gemm", ["x", weight, build.constant("bias", _random(outputs))], transB=1)]
        )

    return probe("layer", (inputs, outputs), (Input("x", "float32", (0, inputs)),), make, work=inputs * outputs)


def _flat(count: int) -> Probe:
    width = min(16, count)
    x = Input("x", "float32", (count // width, 0, width))
    return probe("flat", (count,), (x,), lambda build: flattened(build, "x", count // width * width, by_row=False))


def _pick(count: int) -> Probe:
    index = np.linspace(0, 1023, count).astype(np.int64)
    return probe("pick", (count,), (Input("x", "float32", (1024, 0)),), lambda build: picked(build, "x", "i", index))


def _turn(count: int) -> Probe:
    return probe("turn", (count,), (Input("x", "float32", (count, 0)),), lambda build: turned(build, "x"))


def _join(count: int) -> Probe:
    parts = tuple(Input(name, "float32", (n, 0)) for name, n in (("x", (count + 1) // 2), ("y", count // 2)) if n)
    return probe("join", (count,), parts, lambda build: build.node("Concat", [i.name for i in parts], axis=0))


def _cross(count: int) -> Probe:
    sides = tuple(Input(name, "float32", (0, count)) for name in ("start", "projected", "x"))
    return probe("cross", (count,), sides, lambda build: crossed(build, "start", "projected", "x"))


def _gathered(pairs: int, width: int) -> Probe:
    first, second = np.array(list(combinations(range(32), 2)), np.int64)[np.linspace(0, 495, pairs).astype(int)].T
    x = Input("x", "float32", (32, 0, width))

    def make(build: Builder) -> str:
        return gathered(build, "x", "x", "pairs", (first, second))

    return probe("gathered", (pairs, width), (x,), make, work=pairs * 64)


def _square(vectors: int, width: int) -> Probe:
    x = Input("x", "float32", (0, vectors, width))
    work = vectors * vectors * width
    return probe("square", (vectors, width), (x,), lambda build: _square_of(build, vectors), work=work)


def _square_of(build: Builder, vectors: int) -> str:
    return turned(build, build.reshape(square(build, "x", "x"), 0, vectors * vectors))


def _attention(vectors: int, width: int, heads: int) -> Probe:
    line = _line(_ids(vectors), embedding=width, family="autoint", attention=1, heads=heads)
    x = Input("x", "float32", (0, vectors, width))

    def make(build: Builder) -> str:
        return attended(build, line, "attention.0", "x")

    return probe(f"attention_{heads}", (vectors, width), (x,), make, work=vectors * vectors * width)


def _standardize(count: int) -> Probe:
    features = tuple(number(f"x{i}") for i in range(count))
    line, inputs = _line(features, embedding=4), tuple(Input(f.name, "float32", (0,)) for f in features)
    return probe("standardize", (count,), inputs, lambda build: number_part(build, line, _schema(features)).name)


def _look_up(dtype: IdType) -> Probe:
    features = tuple(ids(f"x{i}", dtype) for i in range(LOOKED_UP))
    line, vocabulary = _line(features, VOCABULARY + 1, embedding=1), _vocabulary(_schema(features))
    inputs = tuple(Input(f.name, dtype, (0,), VOCABULARY) for f in features)
    return probe(f"look_up_{dtype}", (), inputs, lambda build: str(look_up(build, line, vocabulary)), units=LOOKED_UP)


def _rows(width: int) -> Probe:
    index = Input("index", "int64", (LOOKED_UP, 0), LOOKED_UP * VOCABULARY)
    table = _random(LOOKED_UP * VOCABULARY, width)

    def make(build: Builder) -> str:
        return build.node("Gather", [build.constant("table", table), "index"])

    return probe("rows", (width,), (index,), make, units=LOOKED_UP)


def _line(features: tuple[Feature, ...], rows: int = 1, **sizes: object) -> Line:
    schema = _schema(features)
    shape = Shape(
        categorical=tuple(f.name for f in schema.categorical),
        numeric=tuple(f.name for f in schema.numeric),
        inputs=(),
        **{"bottom": (), "top": (), **sizes},  # type: ignore[arg-type]
    )
    return new_line(with_every_input(shape), [rows] * len(schema.categorical), 0)


def _schema(features: tuple[Feature, ...]) -> Schema:
    return Schema(label="label", time="time", key=(), features=features)


def _ids(count: int) -> tuple[Feature, ...]:
    return tuple(ids(f"x{i}") for i in range(count))


def _vocabulary(schema: Schema) -> Vocabulary:
    n = pl.int_range(VOCABULARY, eager=True)
    keys = {"int64": n, "string": pl.select("id " + n.cast(pl.String)).to_series()}
    columns = {"count": n, "row": (n + 1).cast(pl.Int32)}
    return Vocabulary(
        schema.categorical, {f.name: pl.DataFrame({"id": keys[f.dtype], **columns}) for f in schema.categorical}
    )


def _random(*shape: int) -> NDArray[np.float32]:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).numpy() * np.float32(0.1)
