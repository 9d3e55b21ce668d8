"""recprune, at 3 a.m.: an earlier champion serves again.

Triggered by hand, with a reason. Runs ``recprune rollback`` in the workspace, at once, also while a day runs; then
renders the report. This file imports nothing from recprune.
"""

from airflow.sdk import DAG, Param
from recprune_alerts import failed, rolled_back
from recprune_commands import BASE, CommandOperator, timeout, workspace

ROLLBACK = """\
set -- "--why=$RECPRUNE_WHY"
if [ -n "$RECPRUNE_TO" ]; then set -- "$@" "--to=$RECPRUNE_TO"; fi
exec "$RECPRUNE_COMMAND" rollback "$@"
"""

ABOUT = f"""\
**What serves is bad? Trigger this.** An earlier champion serves again, in seconds, also while a day runs.

- `why`: the reason. It stands in the registry's history for ever, with your name.
- `to`: the day of the champion to return to. Empty: the one that served before. [The report]({BASE}/plugin/recprune)
  lists them under *Serving*.

Learning goes on; later days are compared with the champion that serves now, and promoted only if they pass against it.
Going back is undone the same way: `to` the day that served before.

Workspace: `{workspace()}`
"""

with DAG(
    dag_id="recprune_rollback",
    description="Let an earlier champion serve again, at once.",
    doc_md=ABOUT,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # nothing runs by itself, and nobody looks for a switch at 3 a.m.
    tags=["recprune"],
    default_args={"on_failure_callback": failed, "retries": 0},
    params={
        "why": Param(
            type="string",
            minLength=1,
            maxLength=500,
            pattern=r"\S",
            title="Why",
            description="The reason. It stands in the registry's history for ever.",
        ),
        "to": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}(\.r\d+)?$",
            title="To",
            description="The day of the champion to return to. Empty: the one that served before.",
        ),
    },
):
    # Not tried again: a second rollback without a day would go further back.
    rollback = CommandOperator(
        task_id="rollback",
        doc_md="Moves the registry's pointer to the earlier champion, after checking its bundle. Changes nothing else.",
        command=ROLLBACK,
        env={
            "RECPRUNE_WHY": "{{ params.why }} (by {{ dag_run.triggering_user_name or 'unknown' }} in Airflow)",
            "RECPRUNE_TO": "{{ params.to or '' }}",
        },
        execution_timeout=timeout(0.25),
        on_success_callback=rolled_back,
    )
    report = CommandOperator(
        task_id="report",
        doc_md="Renders the report, which then says who serves and why.",
        command='exec "$RECPRUNE_COMMAND" report\n',
        env={},
        execution_timeout=timeout(0.5),
        retries=1,
    )
    rollback >> report
