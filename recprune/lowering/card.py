"""The model card in a bundle."""

from typing import Any

from recprune.printable import one_line

_EMPTY = '""'


def _cell(name: str) -> str:
    """Return a name that stays in its cell, and in its quotes, of a table in Markdown."""
    return one_line(name).replace("`", "'").replace("|", "\\|")


def model_card(day: str, manifest: dict[str, Any], counts: dict[str, int]) -> str:
    """Return the bundle's README: what it is, how to call it, what was measured."""
    inputs = "\n".join(
        f"| `{_cell(i['name'])}` | {i['dtype']} | {i['per']} | `{i['missing'] or _EMPTY}` |" for i in manifest["inputs"]
    )
    flops, parity = manifest["flops"], manifest["parity"]
    return f"""# Click model of {day}

Takes raw feature values, returns the probability of a click (`p_click`). Look-ups, transforms, network and
calibration are inside `model.onnx`; ids never seen are allowed.

```python
from pathlib import Path
from recprune.serving.scorer import Scorer

p_click = Scorer(Path("bundles/{day}")).score(columns)  # columns: name → N values
```

| input | type | one per | missing |
|---|---|---|---|
{inputs}

- Learned: the events up to {day}, {counts["accepted"]:,} of them on the last day (its tail not yet).
- FLOPs per row: {flops["served"]:,} of the dense network's {flops["dense"]:,}
  (asked {manifest["asked"]:.4f}, delivered {manifest["delivered"]:.4f}).
- Widths: {", ".join(f"{name} {width}" for name, width in manifest["widths"].items())}.
- Written down as: {manifest["precision"]} layers, embedding rows {
        manifest["lowering"]["rows"]
    }; largest difference from torch: {
        ", ".join(f"{name} {value:.2g}" for name, value in parity.items() if name != "rows")
    } over {parity["rows"]:,} rows with unknown ids and missing values.
- Calibration on the logit ({manifest["calibration"]["kind"]}): {
        manifest["calibration_offset"]:+.4f} on average. Share of
  the rows without a click that the log kept: {manifest["negative_sampling_rate"]:g}; the probabilities are of all rows.
"""
