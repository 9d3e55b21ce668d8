"""The documentation: it builds without a warning, loads nothing from elsewhere, and shows commands that exist."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import typer

from recprune.cli.main import app
from recprune.errors import ExitCode
from recprune.gating.limits import GATE_RULES
from scripts.docs_hooks import on_config
from tests.documentation import DOCS, ROOT, commands, parts

PAGES = sorted(DOCS.rglob("*.md"))
SHOWING = [page for page in (*PAGES, ROOT / "README.md") if commands(page)]
RUN = {"quick-start.md", "data.md", "operating.md", "pruning.md"}
"""Pages whose commands tests/e2e/test_documentation.py runs, those of ELSEWHERE apart."""
ELSEWHERE = {
    "make demo": "tests/test_documentation.py::test_what_make_demo_runs",  # ten days of real data are minutes
    "recprune gates force": "tests/e2e/test_force.py::"
    "test_a_forced_day_serves_until_its_end_and_the_next_day_meets_the_champion_of_before",
    "recprune replay --from": "tests/e2e/test_again.py::"
    "test_an_ordered_replay_reads_the_amended_day_again_and_leaves_an_hour_out",
    "recprune replay": "tests/e2e/test_days.py::test_a_past_day_is_rebuilt_to_the_same_bytes",
    "recprune plan-late": "tests/e2e/test_again.py::"
    "test_a_day_that_its_source_amended_is_priced_and_marked_until_something_is_chosen",
    "recprune backtest": "tests/e2e/test_backtest.py::test_a_back_test_shows_and_writes_its_result",
    "distributed.md": "tests/training/distributed/test_launch.py::test_processes_of_several_hosts_learn_together",
    "bad-morning.md": "tests/e2e/test_bad_morning.py::test_the_page_shows_what_the_operator_saw",
    "sources/your-own.md": "tests/e2e/test_sources.py::test_your_own_file",
    "sources/": "tests/e2e/test_sources.py::test_the_page_of_a_data_set",
    "results/": "tests/test_documentation.py::test_what_made_a_result_is_here",  # hours each
}
"""How a command begins, or a page's name: the test that runs it."""
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}


def elsewhere(page, line):
    """The test that runs a command which the page's own does not."""
    name = page.relative_to(DOCS).as_posix()
    return next((test for start, test in ELSEWHERE.items() if line.startswith(start) or name.startswith(start)), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """Collects what a browser fetches with a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        asked = [given.get(LOADING.get(tag, ""))]
        asked += [given.get("href")] if tag == "link" and given.get("rel") != "canonical" else []
        asked += re.findall(r"url\((.*?)\)", given.get("style") or "") + (given.get("srcset") or "").split(",")
        self.found += [address for address in asked if address]


def test_the_site_has_every_page(site):
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in PAGES}
    built = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    renamed = {name.replace("README", "index") for name in pages}
    assert renamed | {"settings.html"} <= built


def test_nothing_is_loaded_from_elsewhere(site):
    asked = 0
    for page in site.rglob("*.html"):
        reader = Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        asked += len(reader.found)
        assert [address for address in reader.found if re.match(r"(\w+:)?//", address.strip())] == [], page
    assert asked > 100
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"@import|url\([\"']?(?!data:)(?:\w+:)?//[^)]*", text) == [], sheet


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_recprune_that_is_shown_exists(page):
    for line in commands(page):
        for words in parts(line):
            if words and words[0] == "recprune":
                parse(words[1:])


def parse(words):
    """Read a command's arguments as the command line does, and stop there."""
    command, context = typer.main.get_command(app), None
    while True:
        name = command.name or "recprune"
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):  # no group
            return
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--dey", "x"], "No such option: --dey"),
        (["init", "d", "--source", "no"], "'no' is not one of"),
        (["rollback"], "Missing parameter: why"),
        (["gates", "no"], "No such command 'no'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(words, told):
    with pytest.raises(Exception, match=told):
        parse(words)


def test_every_command_of_the_pages_is_run_by_a_test():
    shown = [(page, line) for page in PAGES for line in commands(page)]
    assert len(shown) > 40
    missing = [
        (page.name, line)
        for page, line in shown
        if page.relative_to(DOCS).as_posix() not in RUN and not elsewhere(page, line)
    ]
    assert missing == []


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_the_tests_that_are_named_exist(test):
    file, name = test.split("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_what_make_demo_runs():
    done = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "scripts/demo.sh demo" in done.stdout
    script = (ROOT / "scripts/demo.sh").read_text(encoding="utf-8")
    values = dict(re.findall(r"(\w+)=(\d{4}-\d\d-\d\d)", script)) | {"workspace": "demo"}
    script = re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), script)
    ours = [line.split("||")[0] for line in script.splitlines() if line.startswith("recprune ")]
    assert [line.split()[1] for line in ours] == ["init", "run", "report"]
    for line in ours:
        (words,) = parts(line)
        parse(words[1:])


def test_what_made_a_result_is_here():
    lines = [line for page in (DOCS / "results").glob("*.md") for line in commands(page)]
    scripts = {words[1] for line in lines for words in parts(line) if words[:1] == ["python"]}
    assert len(scripts) > 2
    for script in scripts - {"-m"}:
        compile((ROOT / script).read_text(encoding="utf-8"), script, "exec")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {words[1] for line in lines for words in parts(line) if words[:1] == ["make"]} <= set(targets)


def test_the_operating_guide_names_every_rule_verdict_exit_code_and_alert():
    text = (DOCS / "operating.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == set(GATE_RULES)
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert {*ExitCode, 130, 127} <= codes
    alerts = (ROOT / "dags/recprune_alerts.py").read_text(encoding="utf-8")
    subjects = re.findall(r'send\(f?"recprune: ([^"]*)"', alerts)
    assert len(subjects) == 6
    known = {"{ti.task_id} of {day or 'a day'} failed": ["**STEP of DAY failed**"], "rolled back": ["**rolled back**"]}
    known["{day} is {aside}"] = ["**DAY is held**", "**DAY is quarantined**"]
    known["{day} goes on without {bad}"] = ["**DAY goes on without another day**"]
    known["a replay failed"] = ["**a replay failed**"]
    known["replay r{last['number']} {last['event']}"] = [f"**replay r2 {e}**" for e in ("begun", "adopted", "dropped")]
    assert all(words in text for subject in subjects for words in known[subject])


def test_a_folder_of_the_navigation_is_its_pages_in_order(tmp_path):
    for name in ("2-b.md", "README.md", "1-a.md", "picture.svg"):
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / name).write_text("")
    config = {"docs_dir": str(tmp_path), "nav": [{"Home": "index.md"}, {"Results": "results/"}]}
    assert on_config(config)["nav"] == [
        {"Home": "index.md"},
        {"Results": ["results/README.md", "results/1-a.md", "results/2-b.md"]},
    ]
