"""recprune, every day: one task per step, and two branches that read the verdict files.

```
plan - ingest - validate - validated - featurize - train - prune - export - evaluate - gate - gated - promote
                               |                                                         |      |        |
                          (quarantined) ------------------------------------------- store    (held) - report
```

A task runs ``recprune run --day DAY --only STEP`` in the workspace, so Airflow schedules and shows, and the
command line does the work; this file imports nothing from recprune, which may live in another environment.
``store`` and ``report`` run whatever the verdict. A failure (exit 1) stops the run; a verdict never does.

Where ``RECPRUNE_INGEST_PARTS`` asks for it, ``ingest_part``, mapped to as many tasks between ``plan`` and ``ingest``,
reads the day's files; ``ingest`` puts together what they found, and reads what a killed one left. In the same way
``featurize_part`` codes the ids of the features before ``featurize`` (``RECPRUNE_FEATURIZE_PARTS``).

What to set where Airflow's processes see it: ``recprune_commands`` and ``recprune_alerts``, beside this file.
"""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, BaseOperatorLink, CronDataIntervalTimetable, Param, TaskGroup
from airflow.sdk.exceptions import AirflowFailException
from recprune_alerts import failed, verdict
from recprune_commands import BASE, CommandOperator, parts_of, timeout, workspace

# A run triggered through the API without a logical date has no data interval: it gets the last whole day, as
# every other manual run does. Never `ds`: for a manual run that is the day on which someone clicked.
_DAY = (
    "{{{{ params.day or ((data_interval_start if data_interval_start is defined"
    " else dag_run.run_after - macros.timedelta(days=1)) - macros.timedelta(days={delay})).strftime('%Y-%m-%d') }}}}"
)

COMMAND = 'exec "$RECPRUNE_COMMAND" run --day "$RECPRUNE_DAY" --only "$RECPRUNE_STEP"\n'

PART = 'exec "$RECPRUNE_COMMAND" run --day "$RECPRUNE_DAY" --only "$RECPRUNE_STEP" --part "$RECPRUNE_PART"\n'

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

HOURS = {"ingest": 3, "featurize": 3, "train": 12, "prune": 6, "evaluate": 2, "store": 3}
"""Timeouts; one hour where nothing is said. `RECPRUNE_TIMEOUT_SCALE` multiplies them."""
SLOTS = 2
"""Of the three slots of Airflow's default pool: one step at a time, and a rollback beside it."""

ABOUT = """\
Retrains, prunes, checks and, if the gate passes, promotes the model: one run a day, one task a step.

- **Scheduled** runs process yesterday (UTC){delayed}. **Backfills** process each day of their range. A **manual** run
  processes the parameter `day`, or yesterday if `day` is empty.
- A *quarantined* or *held* day is a verdict, not a failure: the run is green, the champion keeps serving, and
  the next day goes on. Look at `validated` and `gated` for what was decided.
- A *red* task is a failure; its log says in a sentence what to do. Clearing the task resumes the day.
- Days build on one another. If earlier days are missing, `plan` fails and names them: backfill those first.
  Switching the DAG on starts with yesterday, so on a workspace of past data that first run fails this way.

- The menu entry [recprune]({base}/plugin/recprune) shows the report; each task has a button to the page of its
  day, among its details.
- Airflow names a run after the moment it was due, which is the day *after* the one it processes.

Workspace: `{workspace}`
"""


WORKSPACE = workspace()


def label_delay_days(settings: Path) -> int:
    """Return how many days a day's labels take to be complete: `schema.label_delay_days` of the workspace.

    Raises:
        RuntimeError: The settings cannot be read; Airflow shows the sentence as an import error.
    """
    if not settings.exists():  # the tasks say so
        return 0
    try:
        schema = (yaml.safe_load(settings.read_text(encoding="utf-8")) or {}).get("schema") or {}
        delay = schema.get("label_delay_days", 0)
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise RuntimeError(f"{settings} cannot be read ({error}); see: recprune doctor") from error
    if not isinstance(delay, int) or delay < 0:
        raise RuntimeError(f"{settings}: schema.label_delay_days is {delay!r}; it must be a whole number of days.")
    return delay


DELAY = label_delay_days(WORKSPACE / "params.yaml")
DAY = _DAY.format(delay=DELAY)


def next_task(verdict_file: Path, ways: dict[str, Any]) -> Any:
    """Return the task, or tasks, to which a verdict leads.

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


def after_validate(day: str) -> Any:
    """Lead a good day on to `featurize`, and its parts where there are some; a quarantined one to `store`."""
    verdict_file = WORKSPACE / "reports" / day / "validation" / "verdict.json"
    good = "featurize" if PARTS["featurize"] == 1 else ["featurize_part", "featurize"]
    return next_task(verdict_file, {"good": good, "quarantined": "store"})


def after_gate(day: str) -> Any:
    """Lead a passed day to `promote`, a held one past it to `report`."""
    return next_task(WORKSPACE / "reports" / day / "gate.json", {"passed": "promote", "held": "report"})


class ReportLink(BaseOperatorLink):
    """The button on a task that leads to the report of its day."""

    name = "Report of the day"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the address of the day's page in Airflow's interface."""
        day = operator.env["RECPRUNE_DAY"] if operator.task_id in STEPS else operator.op_kwargs["day"]
        return f"{BASE}/plugin/recprune{BASE}/recprune/{quote(day, safe='')}/index.html"


class StepOperator(CommandOperator):
    """A task that runs a step."""

    operator_extra_links = (ReportLink(),)


class VerdictOperator(BranchPythonOperator):
    """A task that reads a verdict."""

    operator_extra_links = (ReportLink(),)


def step(name: str, retries: int = 1, **options: Any) -> StepOperator:
    """Return the task that runs one step of the day."""
    return StepOperator(
        task_id=name,
        doc_md=STEPS[name],
        command=COMMAND,
        env={
            "RECPRUNE_DAY": DAY,
            "RECPRUNE_STEP": name,
            "RECPRUNE_RUN": "{{ run_id }}",  # which the report links to
        },
        retries=retries,
        retry_delay=timedelta(seconds=30),
        execution_timeout=timeout(HOURS.get(name, 1)),
        pool_slots=SLOTS,
        **options,
    )


PARTS = {name: parts_of(name) for name in ("ingest", "featurize")}
_ABOUT_PARTS = {
    "ingest": "Reads a part of the day's files, so that `ingest` need only put together what was found.",
    "featurize": "Codes the ids of a part of the features, so that `featurize` need only put them together.",
}


def in_parts(name: str) -> tuple[StepOperator, list[Any]]:
    """Return the task that runs a step, and the one, mapped, that does parts of it before; none where nobody asked.

    That a part fails stops nothing and is not told to anybody: the step does it, and fails if it cannot be done.
    """
    if PARTS[name] == 1:
        return step(name), []
    given = {"RECPRUNE_DAY": DAY, "RECPRUNE_STEP": name}
    part = CommandOperator.partial(
        task_id=f"{name}_part",
        doc_md=_ABOUT_PARTS[name],
        command=PART,
        map_index_template="{{ task.env['RECPRUNE_PART'] }}",
        retries=1,
        retry_delay=timedelta(seconds=30),
        execution_timeout=timeout(HOURS[name]),
        pool=os.environ.get("RECPRUNE_PARTS_POOL") or "default_pool",
        pool_slots=1,
        on_failure_callback=None,
    ).expand(env=[{**given, "RECPRUNE_PART": f"{number}/{PARTS[name]}"} for number in range(1, PARTS[name] + 1)])
    whole = step(name, trigger_rule="all_done_min_one_success")  # what is before the parts must have succeeded
    part >> whole
    return whole, [part]


def branch(name: str, about: str, way: Any) -> VerdictOperator:
    """Return the task that reads the verdict of the day and leads on."""
    return VerdictOperator(
        task_id=name,
        doc_md=about,
        python_callable=way,
        op_kwargs={"day": DAY},
        retries=0,
        execution_timeout=timeout(0.1),
        pool_slots=SLOTS,
    )


def group(name: str, about: str) -> TaskGroup:
    """Return a group of tasks, which keep their names."""
    return TaskGroup(name, tooltip=about, prefix_group_id=False)


with DAG(
    dag_id="recprune_daily",
    description="Retrain, prune, check and promote the model, one day a run.",
    doc_md=ABOUT.format(
        workspace=WORKSPACE,
        base=BASE,
        delayed=f", less the {DELAY} days that labels take (`label_delay_days`)" if DELAY else "",
    ),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["recprune"],
    default_args={"on_failure_callback": failed},
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
    plan = step("plan", retries=0)
    with group("data", "The day's rows, and whether they are good."):
        ingest, ingest_part = in_parts("ingest")
        validate = step("validate")
        validated = branch(
            "validated",
            "Reads the verdict of `validate`: good goes on to `featurize`, quarantined goes to `store`.",
            after_validate,
        )
    with group("model", "What the day teaches, and what is pruned."):
        featurize, featurize_part = in_parts("featurize")
        train, prune = step("train"), step("prune")
    with group("bundle", "What would serve, and whether it may."):
        export, evaluate, gate = step("export"), step("evaluate"), step("gate")
        gated = branch(
            "gated",
            "Reads the verdict of `gate`: passed goes to `promote`, held goes past it to `report`.",
            after_gate,
        )
    # What was skipped does not stop these two; what failed does, so that a failed run is never shown green.
    with group("release", "What stays of the day, who serves, and the page that tells it."):
        store = step("store", trigger_rule="none_failed_min_one_success")
        promote = step("promote")
        report = step("report", trigger_rule="none_failed_min_one_success", on_success_callback=verdict)

    plan >> [*ingest_part, ingest]
    ingest >> validate >> validated >> [*featurize_part, featurize, store]
    featurize >> train >> prune >> export >> evaluate >> gate >> [gated, store]
    # `gated` must not lead to `store`: Airflow never skips what a chosen branch can reach, so it would then
    # promote a held day.
    gated >> [promote, report]
    store >> promote >> report
    store >> report
