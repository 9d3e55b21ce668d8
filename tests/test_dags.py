"""The DAG: its tasks, its branches, what it refuses. A real scheduler runs it in e2e/test_airflow.py."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DAG_FILE = ROOT / "dags" / "recprune_daily.py"
STEPS = [
    *("plan", "ingest", "validate", "featurize", "train", "prune"),
    *("export", "evaluate", "gate", "store", "promote", "report"),
]
EDGES = {
    "plan": {"ingest"},
    "ingest": {"validate"},
    "validate": {"validated"},
    "validated": {"featurize", "store"},
    "featurize": {"train"},
    "train": {"prune"},
    "prune": {"export"},
    "export": {"evaluate"},
    "evaluate": {"gate"},
    "gate": {"gated", "store"},
    "gated": {"promote", "report"},
    "store": {"promote", "report"},
    "promote": {"report"},
    "report": set(),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def module(workspace, tmp_path_factory):
    """The DAG file as Airflow imports it, with Airflow's home in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        # Airflow writes its settings file when first imported, and only once: the home stays set.
        os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
        patch.setenv("RECPRUNE_WORKSPACE", str(workspace))
        return load()


def load():
    spec = importlib.util.spec_from_file_location("recprune_daily", DAG_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dag(module):
    return module.plan.dag


def test_a_task_per_step_and_two_branches(dag):
    assert set(dag.task_ids) == {*STEPS, "validated", "gated"}


def test_edges(dag):
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == EDGES


def test_one_day_at_a_time_and_none_waits_for_the_past(dag):
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert not any(task.depends_on_past for task in dag.tasks)


def test_every_task_runs_its_step_in_the_workspace(dag, module, workspace):
    for name in STEPS:
        task = dag.get_task(name)
        assert task.cwd == str(workspace)
        assert task.env == {
            "RECPRUNE_COMMAND": "recprune",
            "RECPRUNE_DAY": module.DAY,
            "RECPRUNE_STEP": name,
        }


def test_the_command_line(module, tmp_path):
    """The shell text itself, started as Airflow starts it; a day is never read as shell."""
    recorder = tmp_path / "a recorder"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    env = {
        **os.environ,
        "RECPRUNE_COMMAND": str(recorder),
        "RECPRUNE_DAY": "$(id) ;",
        "RECPRUNE_STEP": "plan",
    }
    done = subprocess.run(["bash", "-c", module.COMMAND], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["run", "--day", "$(id) ;", "--only", "plan"]


def test_a_missing_command_says_what_to_set(module):
    env = {
        **os.environ,
        "RECPRUNE_COMMAND": "no-such-recprune",
        "RECPRUNE_DAY": "2024-01-01",
        "RECPRUNE_STEP": "plan",
    }
    done = subprocess.run(["bash", "-c", module.COMMAND], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert done.stdout == (
        "RECPRUNE_COMMAND is no-such-recprune, which is no command here. Install recprune or set its path.\n"
    )


def test_everything_is_explained(dag):
    assert dag.doc_md
    assert all(task.doc_md for task in dag.tasks)


def test_store_and_report_run_past_what_was_skipped_but_not_past_what_failed(dag):
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks}
    assert rules.pop("store") == rules.pop("report") == "none_failed_min_one_success"
    assert set(rules.values()) == {"all_success"}


def test_a_held_day_cannot_reach_promote_through_its_branch(dag):
    assert "promote" not in dag.get_task("report").get_flat_relative_ids(upstream=False)


def test_airflow_can_store_and_restore_it(dag):
    from airflow.serialization.serialized_objects import DagSerialization

    restored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert {name: set(restored.get_task(name).downstream_task_ids) for name in restored.task_ids} == EDGES
    assert restored.timetable.summary == "0 0 * * *"


@pytest.mark.parametrize("day", [None, "2024-02-29"])
def test_days_it_takes(dag, day):
    assert dag.params.get_param("day").resolve(day) == day


@pytest.mark.parametrize("day", ["", "2024-02-30", "20240101", "2024-1-1", "2024-01-01\n", "2024-01-01; id", 20240101])
def test_days_it_refuses(dag, day):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        dag.params.get_param("day").resolve(day)


def write_verdict(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(("verdict", "following"), [("good", "featurize"), ("quarantined", "store")])
def test_after_validate(module, workspace, verdict, following):
    write_verdict(workspace / "reports/2024-01-01/validation/verdict.json", json.dumps({"verdict": verdict}))
    assert module.after_validate("2024-01-01") == following


@pytest.mark.parametrize(("verdict", "following"), [("passed", "promote"), ("held", "report")])
def test_after_gate(module, workspace, verdict, following):
    write_verdict(workspace / "reports/2024-01-02/gate.json", json.dumps({"verdict": verdict}))
    assert module.after_gate("2024-01-02") == following


@pytest.mark.parametrize("text", [None, "", "[]", "{}"])
def test_no_verdict_is_a_failure(module, workspace, text):
    from airflow.sdk.exceptions import AirflowFailException

    file = workspace / "reports/2024-01-03/gate.json"
    file.unlink(missing_ok=True)
    if text is not None:
        write_verdict(file, text)
    with pytest.raises(AirflowFailException, match=r"2024-01-03/gate\.json holds no verdict .* Clear that step"):
        module.after_gate("2024-01-03")


def test_an_unknown_verdict_is_a_failure(module, workspace):
    from airflow.sdk.exceptions import AirflowFailException

    write_verdict(workspace / "reports/2024-01-04/gate.json", '{"verdict": "maybe"}')
    with pytest.raises(AirflowFailException, match=r"the verdict is 'maybe'; it must be passed or held\.$"):
        module.after_gate("2024-01-04")


@pytest.mark.parametrize(("value", "shown"), [(None, "not set"), ("demo", "demo")])
def test_without_an_absolute_workspace_it_says_what_to_set(module, monkeypatch, value, shown):
    monkeypatch.delenv("RECPRUNE_WORKSPACE", raising=False)
    if value:
        monkeypatch.setenv("RECPRUNE_WORKSPACE", value)
    with pytest.raises(RuntimeError, match=f"^RECPRUNE_WORKSPACE is {shown}; it must be the absolute path"):
        load()


def test_dags_import_nothing_of_recprune():
    roots = {
        name.split(".")[0]
        for file in (ROOT / "dags").glob("**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imported(node)
    }
    assert roots - sys.stdlib_module_names == {"airflow"}


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module if not node.level else "a relative import"]
    return []
