from recprune.lowering.card import model_card

MANIFEST = {
    "inputs": [
        {"name": "user", "dtype": "int64", "per": "request", "missing": -(2**63)},
        {"name": "item", "dtype": "string", "per": "row", "missing": ""},
        {"name": "price", "dtype": "float32", "per": "row", "missing": "NaN"},
    ],
    "flops": {"dense": 12_345, "served": 2_469},
    "asked": 0.2,
    "delivered": 0.19999,
    "widths": {"inputs": 40, "top.0": 12},
    "precision": "int8",
    "lowering": {"rows": "uint8"},
    "parity": {"fp32": 3.2e-8, "rounded": 0.0013, "rows": 2000},
    "calibration": {"kind": "platt"},
    "negative_sampling_rate": 0.1,
    "calibration_offset": -0.0312,
}
PRECISION = (
    "- Written down as: int8 layers, embedding rows uint8; largest difference from torch: fp32 3.2e-08, rounded 0.0013 "
    "over 2,000 rows with unknown ids and missing values."
)


def test_the_card_says_what_it_is_and_how_to_call_it() -> None:
    card = model_card("2024-01-05", MANIFEST, {"accepted": 1234})
    for line in (
        "# Click model of 2024-01-05",
        'p_click = Scorer(Path("bundles/2024-01-05")).score(columns)  # columns: name → N values',
        "| `user` | int64 | request | `-9223372036854775808` |",
        '| `item` | string | row | `""` |',
        "| `price` | float32 | row | `NaN` |",
        "- Learned: the events up to 2024-01-05, 1,234 of them on the last day (its tail not yet).",
        "- FLOPs per row: 2,469 of the dense network's 12,345",
        "  (asked 0.2000, delivered 0.2000).",
        "- Widths: inputs 40, top.0 12.",
        PRECISION,
        "- Calibration on the logit (platt): -0.0312 on average. Share of",
        "  the rows without a click that the log kept: 0.1; the probabilities are of all rows.",
    ):
        assert line in card.splitlines()
