"""What a deployment job checks of a bundle, on the machine that will serve it."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from recprune.errors import DamagedArtefactError, RecpruneError, SettingsError
from recprune.files import SIGNATURE, open_artefact, read_json
from recprune.serving.latency import measure_latency
from recprune.serving.sample import FILE, read_sample
from recprune.serving.scorer import Scorer
from recprune.serving.signature import PublicKeys, check_signature, trusted

PARITY = 1e-5
"""Largest difference of a probability from the recorded one."""
ROUNDED = 0.05
"""Added for int8 layers, in logits: what CPUs compute differently in the last digit may round to another integer."""
BATCHES, REPEATS = (1, 128), 200
ROWS_A_CALL = 8192
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: Literal["passed", "failed", "told"]
    """`told`: there is nothing to compare with, or nothing was asked."""
    text: str
    value: Any = None


def verify(
    bundle: Path,
    measurements: Path | None,
    slowest: float | None,
    public_key: PublicKeys = None,
    *,
    rows: Callable[[Sequence[Mapping[str, str]]], Columns] | None = None,
) -> list[Check]:
    """Check a bundle: signature, digests, model file, inputs, parity on its sample rows, latency, versions.

    Where one check fails, those that need it are left out.

    Args:
        bundle: its folder.
        measurements: file of the latencies that were measured when it was made; None if it is not here.
        slowest: how many times the recorded latency a call may take; None if no limit is asked.
        public_key: PEM file of who must have signed it, or several; without one those of RECPRUNE_PUBLIC_KEY.
        rows: reads rows of one's own, given the manifest's inputs; latency is measured on them then.

    Raises:
        SettingsError: the key cannot be read, or the rows are none of this model.
    """
    signed = _signature(bundle, trusted(public_key))
    if signed.verdict == "failed":
        return [signed]
    try:
        manifest = open_artefact(bundle, "bundle")
        found = [signed, Check("digests", "passed", f"all {len(manifest['files'])} files are as the manifest says")]
    except RecpruneError as error:
        return [signed, Check("digests", "failed", str(error))]
    try:
        scorer = Scorer(bundle, public_key=public_key)
        found.append(Check("model", "passed", f"ONNX Runtime {ort.__version__} loads it"))
    except RecpruneError as error:
        return [*found, Check("model", "failed", str(error))]
    found.append(_inputs(scorer))
    if found[-1].verdict == "failed":
        return found
    own = rows(manifest["inputs"]) if rows else None
    if own is not None:
        found.append(_rows(scorer, own))
    if FILE not in manifest["files"]:
        return [*found, _without_sample(own), *_latency(scorer, own or {}, measurements, slowest)]
    try:
        columns, expected = read_sample(bundle, manifest["inputs"])
        p_click = scorer.score(columns).astype(np.float64)
    except RecpruneError as error:
        return [*found, Check("parity", "failed", str(error))]
    try:
        found += [_parity(p_click, expected, manifest), _versions(manifest)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [*found, Check("manifest", "failed", f"it holds values of another kind than expected ({error!r})")]
    sample = {name: np.asarray(values, object if _is_text(values) else None) for name, values in columns.items()}
    return [*found, *_latency(scorer, sample if own is None else own, measurements, slowest)]


def _signature(bundle: Path, keys: Sequence[Path]) -> Check:
    if not keys:
        has = "has one, which was not checked" if (bundle / SIGNATURE).exists() else "has none"
        return Check("signature", "told", f"no public key is configured; the bundle {has}")
    try:
        key = check_signature(bundle, keys)
    except DamagedArtefactError as error:
        return Check("signature", "failed", str(error))
    return Check("signature", "passed", f"the manifest was signed with the key of {key}")


def _inputs(scorer: Scorer) -> Check:
    wanted = {i["name"]: i["dtype"] for i in scorer.manifest["inputs"]}
    has = scorer.model_inputs()
    if wanted == has:
        return Check("inputs", "passed", f"the model takes the manifest's {len(has)} inputs", list(has))
    differ = sorted(name for name in wanted.keys() | has.keys() if wanted.get(name) != has.get(name))
    return Check("inputs", "failed", f"manifest and model differ in {', '.join(differ)}", differ)


def _parity(found: NDArray[np.float64], expected: NDArray[np.float64], manifest: dict[str, Any]) -> Check:
    parity = manifest.get("parity", {})
    if not len(expected):
        if parity.get("rows") == 0:
            return Check("parity", "told", "the bundle has no sample rows: it was made before its first day")
        return Check("parity", "failed", "the bundle's sample has no rows, though its manifest tells of some")
    rounded = manifest.get("lowering", {}).get("layers", "fp32") != "fp32"
    limits = PARITY + (ROUNDED if rounded else 0.0) * expected * (1 - expected)
    differs = np.abs(found - expected)
    largest = float(np.max(differs))
    good = bool(np.all(differs <= limits))  # NaN is not
    limit = f"{PARITY:.2g}{f' + {ROUNDED:g} · p · (1 − p)' if rounded else ''}"
    text = f"p_click differs by at most {largest:.2g} from the recorded one on {len(expected)} rows, limit {limit}"
    return Check("parity", "passed" if good else "failed", text, largest if np.isfinite(largest) else None)


def _rows(scorer: Scorer, own: Columns) -> Check:
    """Score rows without labels; of these nothing more can be said than that they are probabilities."""
    count = _count(own)
    if not count:
        return Check("rows", "told", "there are none")
    parts = [range(at, min(at + ROWS_A_CALL, count)) for at in range(0, count, ROWS_A_CALL)]
    try:
        p = np.concatenate(
            [scorer.score({name: v[part.start : part.stop] for name, v in own.items()}) for part in parts]
        )
    except SettingsError:
        raise
    except RecpruneError as error:
        return Check("rows", "failed", str(error))
    good = np.isfinite(p) & (p >= 0) & (p <= 1)
    if not good.all():
        first = int(np.argmin(good))
        text = (
            f"p_click of {count - int(good.sum()):,} of {count:,} rows is no number within [0, 1], first row {first:,}"
        )
        return Check("rows", "failed", f"{text}: {float(p[first])}")
    told = "whether it is right was not looked at: that needs their labels, or the network"
    return Check("rows", "passed", f"p_click of {count:,} rows is within [0, 1], mean {float(p.mean()):.4g}; {told}")


def _without_sample(own: Columns | None) -> Check:
    """Tell of a bundle that is older than sample rows; with rows of one's own it is known to score at least."""
    old = "the bundle is older than the sample rows that bundles carry now, so that parity cannot be checked here"
    if own is None:
        how = "score rows of your own with --rows FILE, or serve a bundle that recprune made since"
        return Check("parity", "failed", f"{old}: {how}")
    return Check("parity", "told", f"{old}; rows of --rows were scored instead")


def _latency(scorer: Scorer, rows: Columns, measurements: Path | None, slowest: float | None) -> list[Check]:
    """Measure calls; without rows there is nothing to measure."""
    if not _count(rows):
        return []
    here = measure_latency({"bundle": scorer}, rows, BATCHES, REPEATS)["latency"]["bundle"]
    medians = [f"{size} rows {times['p50_us']:.0f} µs" for size, times in here.items()]
    told = f"medians: {', '.join(medians)}"
    try:
        before = read_json(measurements)["latency"]["candidate"] if measurements else {}
    except (KeyError, TypeError, DamagedArtefactError) as error:
        return [Check("latency", "failed", f"{measurements} holds no latencies of a candidate ({error!r})", here)]
    ratios = {size: here[size]["p50_us"] / before[size]["p50_us"] for size in here.keys() & before.keys()}
    if not ratios:
        return [Check("latency", "told", f"{told}; no recorded ones to compare with", here)]
    text = f"{told}; {max(ratios.values()):.2f} times the recorded ones at most"
    if slowest is None:
        return [Check("latency", "told", text, here)]
    good = max(ratios.values()) <= slowest
    return [Check("latency", "passed" if good else "failed", f"{text}, limit {slowest:g}", here)]


def _count(rows: Columns) -> int:
    return len(next(iter(rows.values()), ()))


def _is_text(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values)


def _versions(manifest: dict[str, Any]) -> Check:
    about = manifest.get("environment", {})
    made = about.get("libraries", {}).get("onnxruntime", "unknown")
    here = f"here: {platform.machine()}, ONNX Runtime {ort.__version__}"
    text = f"made on {about.get('cpu', 'an unknown CPU')} with ONNX Runtime {made}; {here}"
    return Check("versions", "told", text, {"made": made, "here": ort.__version__})
