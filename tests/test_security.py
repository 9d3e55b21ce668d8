"""Attacks: what comes from data, settings, artefacts and bundles neither runs, nor steers, nor reaches outside."""

import ast
import io
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from recprune.cli.serve import _inert
from recprune.cli.terminal import Terminal
from recprune.config import read_yaml
from recprune.daily.run import _Hearing
from recprune.data.features import FeatureSet
from recprune.data.sources.user_schema import user_schema
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, artefact, open_artefact, to_json
from recprune.lowering.card import _cell
from recprune.model.checkpoint import load_lines
from recprune.printable import one_line, printable, redacted, told
from recprune.serving.champion import Champion
from recprune.settings import FeatureSettings, SchemaSettings

ROOT = Path(__file__).parent.parent
PYTHON = sorted(p for part in ("recprune", "dags", "scripts", "benchmarks") for p in (ROOT / part).rglob("*.py"))
TEMPLATES = sorted((ROOT / "recprune/report/templates").glob("*"))

pytestmark = pytest.mark.usefixtures("workspace")


# what the source may call

NEVER = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "torch.load", "yaml.unsafe_load",
    "yaml.full_load", "shutil.unpack_archive", "tarfile.open", "Markup", "markupsafe.Markup",
}  # fmt: skip


@pytest.mark.parametrize("file", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_call_can_run_or_unpack_what_was_read(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        where = f"{file.name}:{node.lineno} calls {called}"
        assert called not in NEVER, where
        assert words.get("shell", "False") == "False", where
        if called in ("np.load", "numpy.load"):
            assert words.get("allow_pickle") == "False", where
        if called.startswith("subprocess."):
            assert node.args, where
            assert not isinstance(node.args[0], ast.JoinedStr | ast.Constant), f"{where} with a text, not a list"
        if called.endswith((".extract", ".extractall")) and "str" not in called:
            assert "archive" not in called, where
        if called == "Environment":
            assert words.get("autoescape") == "True", where


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda p: p.name)
def test_no_template_switches_escaping_off(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("][i % 8] | safe }}", "")  # one of eight shapes that stand there
    assert not re.search(r"\|\s*safe\b|autoescape\s+false|\|\s*tojson", text)


# settings and artefacts


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch hacked']", "!!python/name:os.system", "!!python/module:os", "!x 1"]
)
def test_a_tag_in_settings_is_no_command(tag: str) -> None:
    Path("params.yaml").write_text(f"ingest: {tag}\n")
    with pytest.raises(SettingsError, match=r"^params\.yaml is not valid YAML: could not determine a constructor"):
        read_yaml(Path("params.yaml"))
    assert not Path("hacked").exists()


def test_arrays_with_objects_are_refused() -> None:
    Path("set").mkdir()
    for name in FeatureSet.__slots__:
        np.save(f"set/{name}.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DamagedArtefactError, match=r"^set holds something else .*Python objects in dtype"):
        FeatureSet.load(Path("set"))


def forged(path: Path, **entries: object) -> Path:
    """Write an artefact whose manifest is whole but says something else."""
    import hashlib

    with artefact(path, "lines", "2024-01-05", {}):
        pass
    manifest = json.loads((path / MANIFEST).read_text()) | entries
    manifest.pop("digest")
    digest = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (path / MANIFEST).write_text(to_json(manifest | {"digest": digest}))
    return path


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/../../secret", "..", "secret\0"])
def test_a_manifest_names_no_file_outside_its_folder(name: str) -> None:
    Path("secret").write_text("secret")
    path = forged(Path("models/2024-01-05/pruned"), files={name: "0" * 64})
    with pytest.raises(DamagedArtefactError, match="is missing since the manifest was written"):
        open_artefact(path, "lines")


@pytest.mark.parametrize("name", ["../../served", "/elsewhere/served", "served/../served", ""])
def test_a_line_is_called_like_a_line(name: str) -> None:
    path = forged(Path("models/2024-01-05/pruned"), lines={name: {}})
    with pytest.raises(DamagedArtefactError, match=r"^models/2024-01-05/pruned holds something else"):
        load_lines(path)


def test_a_link_out_of_the_folder_must_have_the_digest_of_what_was_written() -> None:
    Path("secret").write_text("secret")
    with artefact(Path("vocab/2024-01-05"), "vocabulary", "2024-01-05", {}) as folder:
        (folder / "000.parquet").write_text("rows")
    file = Path("vocab/2024-01-05/000.parquet")
    file.unlink()
    file.symlink_to(Path("secret").resolve())
    with pytest.raises(DamagedArtefactError, match=r"^vocab/2024-01-05/000\.parquet was changed since"):
        open_artefact(Path("vocab/2024-01-05"), "vocabulary")


@pytest.mark.parametrize("day", ["../../outside", "/outside", "a/b"])
def test_the_registry_leads_nowhere_outside(day: str) -> None:
    Path("registry").mkdir()
    Path("registry/current.json").write_text(json.dumps({"champion": day, "digest": "0"}))
    with pytest.raises(DamagedArtefactError, match=r"which is no day; see: recprune doctor$"):
        Champion(Path())


# text


ATTACKS = [
    "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202etxet", "\u2066x\u2069", "a\x0bb\x0cc",
    "\u2028x", "\x7f", "\ufeffx",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_printed_steers_the_terminal(attack: str) -> None:
    for terminal in (False, True):
        out = Terminal(file=io.StringIO(), force_terminal=terminal, width=200, no_color=True, legacy_windows=False)
        table = Table("heading", title=attack)
        table.add_row(attack)
        out.print(attack)
        out.print(table)
        out.print(f"[red]{attack}[/red]")
        shown = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())  # type: ignore[attr-defined]
        assert "[red]" in shown, "square brackets are text"
        assert printable(shown) == shown


@given(st.text())
def test_printable_text_is_printable_and_told_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert "\n" not in one_line(text)
    assert len(one_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("cannot read https://me:hunter2@host/a.csv", "hunter2"),
        ("remote s3://AKIA:abcd1234@bucket", "abcd1234"),
        ("remote s3://AKIA:ab/cd+1234@bucket", "cd+1234"),
        ("GET /a?X-Amz-Signature=f00ba4&x=1", "f00ba4"),
        ("https://host/a.csv?sig=f00ba4", "f00ba4"),
        ("AWS_SECRET_ACCESS_KEY=f00ba4 is wrong", "f00ba4"),
        ("{'password': 'f00ba4'}", "f00ba4"),
        ("Authorization: Bearer f00ba4", "f00ba4"),
        ("https://hooks.slack.com/services/T0/B0/f00ba4 answered 500", "f00ba4"),
        ("token of the environment: s3cr3tvalue!", "s3cr3tvalue!"),
    ],
)
def test_secrets_are_never_told(said: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_STORE_TOKEN", "s3cr3tvalue!")
    assert secret not in told(said)
    out = Terminal(file=io.StringIO(), width=200)
    out.print(said)
    assert secret not in out.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_no_secret_is_told() -> None:
    for text in (
        "prune.budget is 1.2; it must lie in (0, 1].",
        "a token of 3 letters",
        "s3://bucket/logs/a.csv?part=1",
        "http://host:8080/a@b, and http://host:80",
    ):
        assert redacted(text) == text


def test_a_forged_line_of_progress_is_a_line() -> None:
    class Deaf:
        def step(self, name: str) -> None: ...
        def progress(self, done: int, total: int) -> None:
            raise AssertionError

        def say(self, line: str) -> None: ...

    hearing = _Hearing(Deaf())
    for line in ("@progress", "@progress x", "@progress a b c", "@progress x 1 two"):
        hearing.hear(line)


@pytest.mark.parametrize("name", ["a\nerror: forged", "\x1b[31mred", "\u202etxet"])
def test_a_feature_has_a_name_that_prints(name: str) -> None:
    settings = SchemaSettings(
        label="click", time="at", key=(), negative_sampling_rate=1.0, features={name: FeatureSettings(type="string")}
    )
    with pytest.raises(SettingsError, match="has characters that do not print"):
        user_schema(settings)


def test_a_name_stays_in_its_cell_of_the_model_card() -> None:
    assert _cell("a`|<script>alert(1)</script>") == "a'\\|<script>alert(1)</script>"


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_of_a_csv_is_a_formula(cell: str) -> None:
    table = pl.DataFrame({cell: [cell, "plain"], "number": [-1.0, 2.0]})
    found = _inert(table)
    assert found.columns == [f"'{cell}", "number"]
    assert found.to_dict(as_series=False) == {f"'{cell}": [f"'{cell}", "plain"], "number": [-1.0, 2.0]}
