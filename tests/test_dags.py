"""The DAG: its tasks, its branches, what it refuses. A real scheduler runs it in e2e/test_airflow.py."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import Template

ROOT = Path(__file__).parents[1]
DAGS = ROOT / "dags"
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


def load(name="recprune_daily"):
    spec = importlib.util.spec_from_file_location(name, DAGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DAGS)  # as Airflow does
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
        assert task.bash_command.endswith(module.COMMAND)
        assert task.env == {
            "RECPRUNE_COMMAND": "recprune",
            "RECPRUNE_DAY": module.DAY,
            "RECPRUNE_STEP": name,
            "RECPRUNE_RUN": "{{ run_id }}",
        }


def test_every_task_leads_to_the_page_of_its_day(dag):
    """With the day as rendered, which is what a task has when it ends."""
    for task in dag.tasks:
        (link,) = task.operator_extra_links
        ended = SimpleNamespace(
            task_id=task.task_id, env={"RECPRUNE_DAY": "2024-01-01"}, op_kwargs={"day": "2024-01-01"}
        )
        assert link.get_link(ended, ti_key=None) == "/plugin/recprune/recprune/2024-01-01/index.html"
    assert ended.task_id


def test_a_delay_of_the_labels_moves_the_day(module, tmp_path):
    """The text itself, rendered as Airflow renders it, for a run of the interval of 2024-01-10."""
    from airflow.sdk.execution_time import macros

    interval = {
        "data_interval_start": datetime(2024, 1, 10, tzinfo=UTC),
        "macros": macros,
        "params": SimpleNamespace(day=None),
    }
    days = {"null": "2024-01-10", "{label: click}": "2024-01-10", "{label_delay_days: 2}": "2024-01-08"}
    for schema, day in days.items():
        (tmp_path / "params.yaml").write_text(f"schema: {schema}")
        delay = module.label_delay_days(tmp_path / "params.yaml")
        assert Template(module._DAY.format(delay=delay)).render(interval) == day
    asked = {**interval, "params": SimpleNamespace(day="2024-01-01")}
    assert Template(module._DAY.format(delay=2)).render(asked) == "2024-01-01"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema: {label_delay_days: two}", r"schema\.label_delay_days is 'two'; it must be a whole number of days\."),
        ("schema: {label_delay_days: -1}", r"schema\.label_delay_days is -1; it must be a whole number of days\."),
        ("schema: [", r"params\.yaml cannot be read"),
        ("- 1", r"params\.yaml cannot be read"),
    ],
)
def test_settings_that_say_no_delay_are_an_import_error(module, tmp_path, text, told):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(RuntimeError, match=told):
        module.label_delay_days(tmp_path / "params.yaml")


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
    assert shell(module.plan, env).stdout.splitlines() == ["run", "--day", "$(id) ;", "--only", "plan"]


def shell(task, env):
    """Run a task's shell text as Airflow does."""
    return subprocess.run(["bash", "-c", task.bash_command], env=env, capture_output=True, text=True, check=False)


def test_a_missing_command_says_what_to_set(module):
    env = {
        **os.environ,
        "RECPRUNE_COMMAND": "no-such-recprune",
        "RECPRUNE_DAY": "2024-01-01",
        "RECPRUNE_STEP": "plan",
    }
    done = shell(module.plan, env)
    assert done.returncode == 127
    assert done.stdout == (
        "RECPRUNE_COMMAND is no-such-recprune, which is no command here. Install recprune or set its path.\n"
    )


def test_everything_is_explained(dag, rollback):
    for each in (dag, rollback.dag):
        assert each.doc_md
        assert all(task.doc_md for task in each.tasks)
    assert {group.tooltip == "" for name, group in dag.task_group_dict.items() if name} == {False}


def test_the_groups_hold_the_steps_under_their_own_names(dag):
    groups = {name: [task.task_id for task in group] for name, group in dag.task_group_dict.items() if name}
    assert {name: set(tasks) for name, tasks in groups.items()} == {
        "data": {"ingest", "validate", "validated"},
        "model": {"featurize", "train", "prune"},
        "bundle": {"export", "evaluate", "gate", "gated"},
        "release": {"store", "promote", "report"},
    }


def test_a_retry_where_it_can_help_and_an_end_to_every_task(dag, rollback):
    never = {"plan", "validated", "gated", "rollback"}
    tasks = [*dag.tasks, *rollback.dag.tasks]
    assert {task.task_id for task in tasks if task.retries == 0} == never
    assert {task.retries for task in tasks if task.task_id not in never} == {1}
    hours = {task.task_id: task.execution_timeout.total_seconds() / 3600 for task in dag.tasks}
    assert (hours["train"], hours["plan"], hours["gated"]) == (12, 1, 0.1)


def test_a_command_that_ends_in_sh_is_the_name_of_no_template(module, workspace, monkeypatch):
    monkeypatch.setenv("RECPRUNE_WORKSPACE", str(workspace))
    monkeypatch.setenv("RECPRUNE_COMMAND", "/opt/recprune.sh")
    task = module.CommandOperator(task_id="sh", command="true\n", env={"RECPRUNE_DAY": "{{ day }}"})
    task.render_template_fields({"day": "2024-01-01"})
    assert task.env == {"RECPRUNE_COMMAND": "/opt/recprune.sh", "RECPRUNE_DAY": "2024-01-01"}


@pytest.mark.parametrize(("code", "for_good"), [(2, True), (1, False), (12, False)])
def test_wrong_use_is_not_tried_again(module, workspace, monkeypatch, code, for_good):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    monkeypatch.setenv("RECPRUNE_WORKSPACE", str(workspace))
    task = module.CommandOperator(task_id="wrong", command=f"exit {code}\n", env={"RECPRUNE_COMMAND": "true"})
    with pytest.raises(AirflowException) as failed:
        task.execute({})
    assert isinstance(failed.value, AirflowFailException) == for_good


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "two"])
def test_timeouts_are_scaled_by_a_number_above_zero(module, monkeypatch, value):
    monkeypatch.setenv("RECPRUNE_TIMEOUT_SCALE", "2.5")
    assert module.timeout(2).total_seconds() == 5 * 3600
    monkeypatch.setenv("RECPRUNE_TIMEOUT_SCALE", value)
    with pytest.raises(RuntimeError, match=f"^RECPRUNE_TIMEOUT_SCALE is '{value}'; .* write a number above 0\\.$"):
        module.timeout(2)


def test_one_step_at_a_time_and_a_rollback_beside_it(dag, rollback):
    """Of the three slots that scripts/airflow.sh and compose.yaml give Airflow's default pool."""
    assert {(task.pool, task.pool_slots) for task in dag.tasks} == {("default_pool", 2)}
    assert {(task.pool, task.pool_slots) for task in rollback.dag.tasks} == {("default_pool", 1)}
    for file in ("scripts/airflow.sh", "docker/compose.yaml"):
        assert re.search(r"DEFAULT_POOL_TASK_SLOT_COUNT[=:] ?\"?3\b", (ROOT / file).read_text())


@pytest.fixture(scope="module")
def rollback(module):
    """The DAG of rollbacks as Airflow imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECPRUNE_WORKSPACE", str(module.WORKSPACE))
        return load("recprune_rollback").rollback


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"why": "odd $(id) {{ 1 }}"}, ["rollback", "--why=odd $(id) {{ 1 }} (by ada in Airflow)"]),
        (
            {"why": "-x", "to": "2024-01-02"},
            ["rollback", "--why=-x (by ada in Airflow)", "--to=2024-01-02"],
        ),
    ],
)
def test_a_rollback_gives_its_reason_and_its_day(rollback, tmp_path, params, told):
    run = SimpleNamespace(triggering_user_name="ada")
    given = SimpleNamespace(**{"to": None, **params})
    env = {key: Template(value).render(params=given, dag_run=run) for key, value in rollback.env.items()}
    recorder = tmp_path / "recorder"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    done = shell(rollback, {**os.environ, **env, "RECPRUNE_COMMAND": str(recorder)})
    assert done.stdout.splitlines() == told


@pytest.mark.parametrize(
    ("name", "value"),
    [("why", ""), ("why", " "), ("why", None), ("to", "yesterday"), ("to", "2024-01-01; id"), ("to", "")],
)
def test_a_rollback_without_a_reason_or_to_no_day_is_refused(rollback, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        rollback.dag.params.get_param(name).resolve(value)


def test_a_rollback_is_only_ever_triggered_by_hand_and_needs_no_switch(rollback):
    assert (rollback.dag.schedule, rollback.dag.is_paused_upon_creation) == (None, False)


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
    assert roots - sys.stdlib_module_names == {"airflow", "yaml", "recprune_alerts", "recprune_commands"}


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module if not node.level else "a relative import"]
    return []


@pytest.fixture(scope="module")
def in_parts(module):
    """The DAG of days, two of whose steps four and two tasks do parts of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECPRUNE_WORKSPACE", str(module.WORKSPACE))
        with pytest.MonkeyPatch.context() as asked:
            asked.setenv("RECPRUNE_INGEST_PARTS", "4")
            asked.setenv("RECPRUNE_FEATURIZE_PARTS", "2")
            asked.setenv("RECPRUNE_PARTS_POOL", "readers")
            loaded = load()
        yield loaded


@pytest.fixture(scope="module")
def mapped(in_parts):
    return in_parts.plan.dag


def given(task):
    return task.expand_input.value["env"]


def test_parts_stand_before_their_steps_where_they_are_asked_for(mapped):
    parts = {"ingest_part": {"ingest"}, "featurize_part": {"featurize"}}
    before = {"plan": {"ingest", "ingest_part"}, "validated": {"featurize", "featurize_part", "store"}}
    assert {task.task_id: task.downstream_task_ids for task in mapped.tasks} == {**EDGES, **before, **parts}
    numbers = {name: [each["RECPRUNE_PART"] for each in given(mapped.get_task(name))] for name in parts}
    assert numbers == {"ingest_part": ["1/4", "2/4", "3/4", "4/4"], "featurize_part": ["1/2", "2/2"]}
    assert all(mapped.get_task(name).doc_md for name in parts)


def test_parts_run_at_once_in_a_pool_of_their_own_and_alert_nobody(mapped):
    for name in ("ingest", "featurize"):
        task = mapped.get_task(f"{name}_part")
        assert (task.pool, task.pool_slots, task.retries) == ("readers", 1, 1)
        assert not task.on_failure_callback
        assert mapped.get_task(name).on_failure_callback


def test_a_part_that_failed_does_not_stop_its_step_and_what_is_before_both_does(mapped):
    rules = {task.task_id: task.trigger_rule.value for task in mapped.tasks}
    assert rules["ingest"] == rules["featurize"] == "all_done_min_one_success"
    assert rules["ingest_part"] == rules["featurize_part"] == "all_success"


def test_a_good_day_goes_on_to_the_parts_and_a_quarantined_one_past_them(in_parts, workspace):
    for verdict, following in (("good", ["featurize_part", "featurize"]), ("quarantined", "store")):
        write_verdict(workspace / "reports/2024-01-06/validation/verdict.json", json.dumps({"verdict": verdict}))
        assert in_parts.after_validate("2024-01-06") == following


def test_the_command_line_of_a_part(mapped, tmp_path):
    recorder = tmp_path / "recorder"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    task = mapped.get_task("ingest_part")
    part = task.unmap({"env": given(task)[1]})
    env = {**os.environ, **part.env, "RECPRUNE_COMMAND": str(recorder), "RECPRUNE_DAY": "2024-01-01"}
    told = ["run", "--day", "2024-01-01", "--only", "ingest", "--part", "2/4"]
    assert shell(part, env).stdout.splitlines() == told


@pytest.mark.parametrize("value", ["0", "-1", "1001", "two", "1.5", "²"])
def test_parts_are_a_whole_number(module, monkeypatch, value):
    monkeypatch.setenv("RECPRUNE_FEATURIZE_PARTS", value)
    told = f"^RECPRUNE_FEATURIZE_PARTS is '{value}'; .* a whole number from 1 to 1000\\.$"
    with pytest.raises(RuntimeError, match=told):
        module.parts_of("featurize")


@pytest.fixture(scope="module")
def replay(module):
    """The DAG of replays as Airflow imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECPRUNE_WORKSPACE", str(module.WORKSPACE))
        yield load("recprune_replay")


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"from": "2024-01-01", "why": "odd $(id)"}, ["--from=2024-01-01", "--why=odd $(id) (by ada in Airflow)"]),
        (
            {
                "from": "2024-01-01",
                "why": "x",
                "to": "2024-01-03",
                "without": ["2024-01-02:13", "2024-01-02:shop=a b; $(id) *"],
                "amended": ["2024-01-01", "2024-01-03"],
            },
            [
                "--from=2024-01-01",
                "--why=x (by ada in Airflow)",
                "--to=2024-01-03",
                "--without=2024-01-02:13",
                "--without=2024-01-02:shop=a b; $(id) *",
                "--amended=2024-01-01",
                "--amended=2024-01-03",
            ],
        ),
    ],
)
def test_a_replay_tells_what_was_asked(replay, tmp_path, params, told):
    given = {"to": None, "without": None, "amended": None, **params}
    run = SimpleNamespace(triggering_user_name="ada")
    env = {key: Template(value).render(params=given, dag_run=run) for key, value in replay.compare.env.items()}
    recorder = tmp_path / "recorder"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit $CODE\n')
    recorder.chmod(0o755)
    for code, wanted in ((0, 0), (3, 0), (1, 1), (2, 2)):
        done = shell(replay.compare, {**os.environ, **env, "RECPRUNE_COMMAND": str(recorder), "CODE": str(code)})
        assert (done.stdout.splitlines(), done.returncode) == (["replay", *told], wanted)


def test_a_replay_has_a_task_for_each_day_that_was_run(replay, workspace, monkeypatch):
    monkeypatch.setenv("RECPRUNE_WORKSPACE", str(workspace))
    (workspace / "plans").mkdir()
    for day in ("2024-01-01", "2024-01-02", "2024-01-02.r2", "2024-01-03", "2024-01-05"):
        (workspace / "plans" / f"{day}.json").touch()
    assert [each["RECPRUNE_TO"] for each in replay.to_learn("2024-01-02", None)] == [
        "2024-01-02",
        "2024-01-03",
        "2024-01-05",
    ]
    assert [each["RECPRUNE_TO"] for each in replay.to_learn("2024-01-02", "2024-01-04")] == ["2024-01-02", "2024-01-03"]
    assert {task.doc_md is None for task in replay.compare.dag.tasks} == {False}
    assert {task.task_id: task.pool_slots for task in replay.compare.dag.tasks} == {"days": 1, "learn": 2, "compare": 2}
    assert (replay.compare.dag.schedule, replay.compare.dag.is_paused_upon_creation) == (None, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", None),
        ("from", "yesterday"),
        ("why", " "),
        ("without", ["13"]),
        ("without", "2024-01-01"),
        ("amended", ["2024-01-01; id"]),
    ],
)
def test_a_replay_of_no_day_or_without_a_reason_is_refused(replay, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        replay.compare.dag.params.get_param(name).resolve(value)
