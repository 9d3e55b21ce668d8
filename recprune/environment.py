"""What bytes depend on besides inputs and settings: CPU class, threads, library versions."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "recprune", "safetensors", "torch")


def environment(
    threads: int, device: str | None = None, processes: int = 1, bfloat16: str | None = None
) -> dict[str, Any]:
    """Return what, being the same, gives the same bytes: CPU class, threads, library versions, and what else was used.

    Args:
        threads: of a line's pass.
        device: a GPU's name.
        processes: that learned together.
        bfloat16: the instructions that multiplied bfloat16.
    """
    versions = {name: version(name).split("+")[0] for name in _LIBRARIES}
    digest = hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:16]
    found = {"cpu": cpu_class(), "threads": threads, "libraries": versions, "libraries_digest": digest}
    found |= {} if device is None else {"device": device}
    found |= {} if bfloat16 is None else {"bfloat16": bfloat16}
    return found if processes == 1 else found | {"processes": processes}


def cpu_class() -> str:
    """Return machine and widest vector instructions, for example `x86_64-avx512`."""
    flags = _cpu_flags()
    vectors = next((name for name in ("avx512f", "avx2") if name in flags), "none")
    return f"{platform.machine()}-{vectors.removesuffix('f')}"


def cpu_bfloat16() -> str | None:
    """Return the processor's instructions that multiply bfloat16, `amx_bf16` or `avx512_bf16`; None: it has none."""
    flags = _cpu_flags()
    return next((name for name in ("amx_bf16", "avx512_bf16") if name in flags), None)


@cache
def _cpu_flags() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""


def code_digest() -> str:
    """Return the digest of recprune's own source: what is kept within a day is of no use to another version."""
    here = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        found.update(f"{path.relative_to(here)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()
