from dataclasses import replace

import numpy as np
import pytest

from recprune.data.features import encode
from recprune.data.schema import Feature, ids, many, number
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.lowering import Lowering
from recprune.lowering.ready import ready_values
from recprune.lowering.session import feed, open_session
from tests.lowering.served import SMALL, rows_of, served
from tests.networks import FAMILIES

PLAIN = (ids("a"), number("x"), ids("b", "int64", "request"), number("y", "request"))
LISTS = (many("a", most=3), ids("b"), number("x"), many("c", "int64", "sum", most=2, per="request"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", [PLAIN, LISTS], ids=["plain", "lists"])
def test_a_graph_of_ready_rows_gives_what_the_one_of_ids_gives(features: tuple[Feature, ...], family: str) -> None:
    model = served(features, model=replace(SMALL, family=family), learned=200)
    network, events = Network(model.line, model.vocabulary, model.schema), rows_of(model.schema, 50, seed=2)
    for lowering in (Lowering(), Lowering(rows="uint8")):
        found = []
        rows = ready_values(encode(events, model.schema, model.vocabulary), model.line, model.schema)
        for each, given in ((network, feed(model.raw(events))), (network.ready(), rows)):
            graph = build_graph(each.line, each.vocabulary, each.schema, 0.25, lowering)
            found.append(open_session(graph.SerializeToString()).run(["p_click"], given)[0])
        assert np.ptp(found[0]) > 0
        assert found[0].tolist() == found[1].tolist()


def test_what_it_takes_are_rows_of_the_one_table() -> None:
    model = served(PLAIN, learned=200)
    events = encode(rows_of(model.schema, 50, seed=2), model.schema, model.vocabulary)
    found = ready_values(events, model.line, model.schema)
    assert list(found) == ["x", "y", "a", "b"]
    assert (found["b"] == events.ids[:, 1] + model.line.sizes[0]).all()
    assert found["b"].dtype == np.int64
    ready = Network(model.line, model.vocabulary, model.schema).ready()
    graph = build_graph(ready.line, ready.vocabulary, ready.schema, 0.0)
    assert "LabelEncoder" not in {node.op_type for node in graph.graph.node}
