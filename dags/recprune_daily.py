"""recprune, every day: one task per step, and two branches that read the verdict files.

```
plan - ingest - validate - validated - featurize - train - prune - export - evaluate - gate - gated - promote
                               |                                                         |      |        |
                          (quarantined) ------------------------------------------- store    (held) - report
```

A task runs ``recprune run --day DAY --only STEP`` in the workspace, so Airflow schedules and shows, and the
command line does the work; this file imports nothing from recprune, which may live in another environment.
``store`` and ``report`` run whatever the verdict. A failure (exit 1) stops the run; a verdict never does.

Set where Airflow's processes see it:

- ``RECPRUNE_WORKSPACE``: the absolute path of the workspace that ``recprune init`` made. Required.
- ``RECPRUNE_COMMAND``: the command to start, a name on ``PATH`` or a path (default ``recprune``).
"""

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowFailException

# A run triggered through the API without a logical date has no data interval: it gets the last whole day, as
# every other manual run does. Never `ds`: for a manual run that is the day on which someone clicked.
DAY = (
    "{{ params.day or (data_interval_start if data_interval_start is defined"
    " else dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}"
)

# The day arrives as an environment variable, so nothing typed into the form is ever read as shell.
COMMAND = """\
command -v "$RECPRUNE_COMMAND" >/dev/null || {
  echo "RECPRUNE_COMMAND is $RECPRUNE_COMMAND, which is no command here. Install recprune or set its path."
  exit 127
}
exec "$RECPRUNE_COMMAND" run --day "$RECPRUNE_DAY" --only "$RECPRUNE_STEP"
"""

STEPS = {
    "plan": "Resolves the day's parent and champion as they were before the day. Fails, naming the days to "
    "run, if a day in between has no verdict yet.",
    "ingest": "Reads the day from its source into one typed partition; sets bad rows aside with a reason.",
    "validate": "Profiles the day, judges the profile, and writes the verdict: good or quarantined.",
    "featurize": "Encodes the day, with the parent's vocabulary to score and with its own to learn.",
    "train": "Scores the day first, then learns it: dense, served and challenger, one pass each.",
    "prune": "Adapts the mask of the served model, and starts or continues a carving.",
    "export": "Shrinks and calibrates the served model; writes the bundle: raw values in, p_click out.",
    "evaluate": "Runs the candidate and the champion through ONNX Runtime on rows that neither has learned.",
    "gate": "Applies every rule and writes the verdict, passed or held, with its reasons.",
    "store": "Makes the day durable: DVC, git and the tag day/DAY. Runs whatever the verdict.",
    "promote": "Makes the day's bundle the champion. Only after the gate passed it.",
    "report": "Renders the report. Runs whatever the verdict.",
}

ABOUT = """\
Retrains, prunes, checks and, if the gate passes, promotes the model: one run a day, one task a step.

- **Scheduled** runs process yesterday (UTC). **Backfills** process each day of their range. A **manual** run
  processes the parameter `day`, or yesterday if `day` is empty.
- A *quarantined* or *held* day is a verdict, not a failure: the run is green, the champion keeps serving, and
  the next day goes on. Look at `validated` and `gated` for what was decided.
- A *red* task is a failure; its log says in a sentence what to do. Clearing the task resumes the day.
- Days build on one another. If earlier days are missing, `plan` fails and names them: backfill those first.
  Switching the DAG on starts with yesterday, so on a workspace of past data that first run fails this way.

- Airflow names a run after the moment it was due, which is the day *after* the one it processes.

Workspace: `{workspace}`
"""


def workspace() -> Path:
    """Return the workspace that the environment names.

    Raises:
        RuntimeError: It is not set or not absolute; Airflow shows the sentence as an import error.
    """
    value = os.environ.get("RECPRUNE_WORKSPACE", "")
    if not Path(value).is_absolute():
        raise RuntimeError(
            f"RECPRUNE_WORKSPACE is {value or 'not set'}; it must be the absolute path of the workspace that "
            "`recprune init` made, because tasks start elsewhere. Set it for Airflow and start Airflow again."
        )
    return Path(value)


WORKSPACE = workspace()


def next_task(verdict_file: Path, ways: dict[str, str]) -> str:
    """Return the task to which a verdict leads.

    Raises:
        AirflowFailException: The file is missing, is not JSON, or holds another verdict.
    """
    try:
        verdict = json.loads(verdict_file.read_text())["verdict"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AirflowFailException(
            f"{verdict_file} holds no verdict ({type(error).__name__}: {error}), although the step before "
            "ended well. Clear that step to write it again."
        ) from error
    if verdict not in ways:
        raise AirflowFailException(f"{verdict_file}: the verdict is {verdict!r}; it must be {' or '.join(ways)}.")
    return ways[verdict]


def after_validate(day: str) -> str:
    """Lead a good day on to `featurize`, a quarantined one to `store`."""
    verdict_file = WORKSPACE / "reports" / day / "validation" / "verdict.json"
    return next_task(verdict_file, {"good": "featurize", "quarantined": "store"})


def after_gate(day: str) -> str:
    """Lead a passed day to `promote`, a held one past it to `report`."""
    return next_task(WORKSPACE / "reports" / day / "gate.json", {"passed": "promote", "held": "report"})


def step(name: str, retries: int = 1, trigger_rule: str = "all_success") -> BashOperator:
    """Return the task that runs one step of the day."""
    return BashOperator(
        task_id=name,
        doc_md=STEPS[name],
        bash_command=COMMAND,
        cwd=str(WORKSPACE),
        env={
            "RECPRUNE_COMMAND": os.environ.get("RECPRUNE_COMMAND") or "recprune",
            "RECPRUNE_DAY": DAY,
            "RECPRUNE_STEP": name,
        },
        append_env=True,
        do_xcom_push=False,
        skip_on_exit_code=None,
        retries=retries,
        retry_delay=timedelta(seconds=30),
        trigger_rule=trigger_rule,
    )


with DAG(
    dag_id="recprune_daily",
    description="Retrain, prune, check and promote the model, one day a run.",
    doc_md=ABOUT.format(workspace=WORKSPACE),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["recprune"],
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="Day",
            description="The day to process. Empty: the day of the data interval, which is yesterday.",
        )
    },
):
    # A killed step resumes where it was, so one more try is safe. Not of `plan`: waiting brings no parent.
    plan, ingest, validate = step("plan", retries=0), step("ingest"), step("validate")
    validated = BranchPythonOperator(
        task_id="validated",
        doc_md="Reads the verdict of `validate`: good goes on to `featurize`, quarantined goes to `store`.",
        python_callable=after_validate,
        op_kwargs={"day": DAY},
    )
    featurize, train, prune = step("featurize"), step("train"), step("prune")
    export, evaluate, gate = step("export"), step("evaluate"), step("gate")
    gated = BranchPythonOperator(
        task_id="gated",
        doc_md="Reads the verdict of `gate`: passed goes to `promote`, held goes past it to `report`.",
        python_callable=after_gate,
        op_kwargs={"day": DAY},
    )
    # What was skipped does not stop these two; what failed does, so that a failed run is never shown green.
    store = step("store", trigger_rule="none_failed_min_one_success")
    promote = step("promote")
    report = step("report", trigger_rule="none_failed_min_one_success")

    plan >> ingest >> validate >> validated >> [featurize, store]
    featurize >> train >> prune >> export >> evaluate >> gate >> [gated, store]
    # `gated` must not lead to `store`: Airflow never skips what a chosen branch can reach, so it would then
    # promote a held day.
    gated >> [promote, report]
    store >> promote >> report
    store >> report
