"""The page in Airflow's interface: what it serves, what it adds. A real API server serves it in e2e/test_airflow.py."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.pages import Page

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "plugins" / "recprune_page.py"


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The plugin as Airflow imports it, with Airflow's home in a temporary folder."""
    os.environ.setdefault("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    spec = importlib.util.spec_from_file_location("recprune_page", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """The reports of a workspace beside which lies what must never be served."""
    names = ("index.html", "days.html", "2024-01-01/index.html", "2024-01-01.r2/gate.json")
    for name in (*names, "2024-01-01/validation/verdict.json", "2024-01-01/validation/suite.json", "secret.html"):
        (tmp_path / "reports" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reports" / name).write_text(name)
    (tmp_path / "params.yaml").write_text("a secret")
    (tmp_path / "index.html").write_text("a secret")
    monkeypatch.setenv("RECPRUNE_WORKSPACE", str(tmp_path))
    return tmp_path / "reports"


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "days.html",
        "2024-01-01/index.html",
        "2024-01-01.r2/gate.json",
        "2024-01-01/validation/verdict.json",
    ],
)
def test_what_is_served(module, reports, name):
    assert module.find(name) == reports / name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "/",
            ".",
            "..",
            "../params.yaml",
            "../index.html",
            "/etc/passwd",
            "secret.html",
            "index.html/",
            "/index.html",
        ),
        *("2024-01-01", "2024-01-01/", "2024-01-01/../index.html", "2024-01-01/../../index.html", "./index.html"),
        *("2024-01-01/validation/suite.json", "2024-01-01/gate.json", "index.html\n", "index.html\0", "INDEX.HTML"),
        *("..\\index.html", "%2e%2e/params.yaml", "٢٠٢٤-٠١-٠١/index.html", "2024-01-01//index.html", "x" * 100_000),
    ],
)
def test_what_is_not(module, reports, name):
    assert module.find(name) is None


def test_a_link_out_of_the_reports_is_not_followed(module, reports):
    for name, target in (("days.html", "../params.yaml"), ("2024-01-01/index.html", "/etc/passwd")):
        (reports / name).unlink()
        (reports / name).symlink_to(target)
        assert module.find(name) is None
    outside = reports.parent / "outside"
    outside.mkdir()
    (outside / "index.html").write_text("a secret")
    (reports / "2024-01-02").symlink_to(outside)
    assert module.find("2024-01-02/index.html") is None


@pytest.mark.parametrize("value", [None, "", "demo"])
def test_without_an_absolute_workspace_it_says_what_to_set(module, monkeypatch, value):
    monkeypatch.delenv("RECPRUNE_WORKSPACE", raising=False)
    if value is not None:
        monkeypatch.setenv("RECPRUNE_WORKSPACE", value)
    with pytest.raises(RuntimeError, match=r"^RECPRUNE_WORKSPACE is not the absolute path of a workspace\. Set it for"):
        module.find("index.html")


PAGE = """<!doctype html><html><head><style>a{}</style></head><body><nav></nav>
<span class="run" data-run="scheduled__2024-01-02T00:00:00+00:00">scheduled__2024-01-02T00:00:00+00:00</span>
<span class="run" data-run="&lt;b&gt; &#34;x&#34;/../?a=1" data-task="train">&lt;b&gt;</span>
<span class="run" data-run="x" data-task="train/../..">x</span>
</body></html>"""


def test_what_is_added_to_a_page(module):
    dressed = module.dress(PAGE, "once")
    links = [attrs for tag, attrs in Page(dressed).tags if tag == "a"]
    assert [link["href"] for link in links] == [
        "/dags/recprune_daily/runs",
        "/dags/recprune_daily/runs/scheduled__2024-01-02T00%3A00%3A00%2B00%3A00",
        "/dags/recprune_daily/runs/%3Cb%3E%20%22x%22%2F..%2F%3Fa%3D1/tasks/train",
    ]
    assert {link["target"] for link in links} == {"_top"}
    assert dressed.count('nonce="once"') == 2
    assert "<b>" not in dressed


def test_what_a_browser_may_do(module):
    found = module.headers("once")
    assert found["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'nonce-once'; script-src 'nonce-once'; img-src data:; frame-ancestors 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert (found["X-Content-Type-Options"], found["Cache-Control"]) == ("nosniff", "no-store")


def test_the_report_s_pages_need_no_more_than_the_policy_allows():
    """No style but the one block, which gets the nonce; pictures are drawn or in the page."""
    templates = ROOT / "recprune" / "report" / "templates"
    for name in ("page", "index", "day", "days", "chart", "tables"):
        text = (templates / f"{name}.html.j2").read_text()
        assert " style=" not in text
        assert text.count("<style>") == (name == "page")
        assert not re.search(r"<(?:script|img|iframe|form)\b", text)


def test_loading_it_makes_no_application():
    """Every process of Airflow loads plugins, each task's too; what only the API server needs costs them nothing."""
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); import recprune_page;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    env = {**os.environ, "PYTHONPATH": str(PLUGIN.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["recprune_page"]
