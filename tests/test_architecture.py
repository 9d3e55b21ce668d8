"""The layers and the homes of libraries, read from the source tree (design.md, "The layers")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("recprune", "dags", "plugins") for path in (ROOT / folder).rglob("*.py"))
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}

LAYERS = {"recprune.cli": 4, "recprune.__main__": 4, "recprune.daily": 3, "recprune.steps": 2}
NOUNS = {
    "recprune", "recprune.backtest", "recprune.config", "recprune.data", "recprune.days", "recprune.environment",
    "recprune.errors", "recprune.files", "recprune.gating", "recprune.lock", "recprune.lowering", "recprune.metrics",
    "recprune.model", "recprune.printable", "recprune.progress", "recprune.pruning", "recprune.registry",
    "recprune.report", "recprune.serving", "recprune.settings", "recprune.times", "recprune.training",
    "recprune.versioning", "recprune.workspace",
}  # fmt: skip
HOMES = {
    "airflow": ("dags", "plugins"),
    "fastapi": ("plugins",),
    "torch": ("recprune.model", "recprune.training", "recprune.pruning", "recprune.lowering", "recprune.backtest"),
    "safetensors": ("recprune.model",),
    "great_expectations": ("recprune.steps.validate",),
    "onnx": ("recprune.lowering",),
    "onnxruntime": ("recprune.lowering", "recprune.serving"),
    "typer": ("recprune.cli",),
    "rich": ("recprune.cli",),
    "subprocess": ("recprune.versioning",),
}
"""Which part may import a library; a library that is not named may be imported anywhere."""
LIGHT = {"recprune.errors", "recprune.files", "recprune.serving"}
"""What `recprune.serving` may import of ours."""
LONGEST_MODULE, LONGEST_FUNCTION = 300, 60


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def part(module: str) -> str:
    """Return the part that a module belongs to: recprune.steps.train belongs to recprune.steps."""
    return ".".join(module.split(".")[:2])


def layer(module: str) -> int:
    return 1 if part(module) in NOUNS else LAYERS[part(module)]


def imports(module: str) -> Iterator[str]:
    """Yield the full name of everything imported, at whatever depth."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def ours(module: str) -> Iterator[str]:
    return (name for name in imports(module) if name.split(".")[0] == "recprune")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_known(module: str) -> None:
    known = NOUNS | LAYERS.keys()
    assert module.split(".")[0] in ("dags", "plugins") or part(module) in known, (
        f"{module}: say in this test which layer it is in"
    )


def test_every_part_that_this_test_knows_exists() -> None:
    assert {part(m) for m in MODULES if m.split(".")[0] == "recprune"} == NOUNS | LAYERS.keys()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("recprune")])
def test_imports_go_down_only(module: str) -> None:
    for name in ours(module):
        assert layer(name) <= layer(module), f"{module} imports {name}, which is above it"


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) == "recprune.steps"])
def test_steps_never_import_one_another(module: str) -> None:
    other = [n for n in ours(module) if part(n) == "recprune.steps" and n not in (module, "recprune.steps")]
    assert not other, f"{module} imports {other}; steps meet in files"


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_at_home(module: str) -> None:
    for name in imports(module):
        homes = HOMES.get(name.split(".")[0])
        at_home = homes is None or any(module == home or module.startswith(f"{home}.") for home in homes)
        assert at_home, f"{module} imports {name}, whose home is {homes}"


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) == "recprune.serving"])
def test_serving_imports_light_modules_only(module: str) -> None:
    for name in ours(module):
        assert part(name) in LIGHT, f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(("dags", "plugins"))])
def test_what_airflow_loads_imports_nothing_of_ours(module: str) -> None:
    assert list(ours(module)) == []


FORBIDDEN_CALLS = {
    "eval", "exec", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "torch.load", "torch.save",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "__import__", "importlib.import_module",
}  # fmt: skip
FORBIDDEN_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_WORDS = {("allow_pickle", True), ("shell", True), ("weights_only", False)}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_is_read_can_run_code(module: str) -> None:
    for name in imports(module):
        assert name.split(".")[0] not in FORBIDDEN_IMPORTS, f"{module} imports {name}"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            assert not taken & FORBIDDEN_CALLS, f"{module}:{node.lineno} imports {taken}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS or loads_safely(node, module), f"{module}:{node.lineno} calls {called}"
            for word in node.keywords:
                value = word.value.value if isinstance(word.value, ast.Constant) else None
                assert (word.arg, value) not in FORBIDDEN_WORDS, f"{module}:{node.lineno} says {word.arg}={value!r}"


def loads_safely(call: ast.Call, module: str) -> bool:
    """Say whether a call is `yaml.load` with a class of the module's own, made from SafeLoader."""
    made = [node for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef)]
    safe = {node.name for node in made if [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]}
    return ast.unparse(call.func) == "yaml.load" and len(call.args) == 2 and ast.unparse(call.args[1]) in safe


@pytest.mark.parametrize("module", MODULES)
def test_house_sizes(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{module} has {lines} lines, the house has {LONGEST_MODULE}"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{module}.{node.name} has {length} lines, the house {LONGEST_FUNCTION}"
