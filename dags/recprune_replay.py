"""recprune, when something was wrong with a past day: it and the days after it are learned once more.

Triggered by hand. A task per day runs ``recprune replay`` up to that day, so that the nightly run takes its turn in
between; the last one compares with the champion. This file imports nothing from recprune.
"""

from datetime import date
from typing import Any

from airflow.sdk import DAG, Param, task
from recprune_alerts import failed, replayed
from recprune_commands import BASE, CommandOperator, timeout, workspace

# Exit code 3 says that the replay did not pass its gate: a verdict, no failure.
REPLAY = """\
set -- "--from=$RECPRUNE_FROM" "--why=$RECPRUNE_WHY"
if [ -n "$RECPRUNE_TO" ]; then set -- "$@" "--to=$RECPRUNE_TO"; fi
while IFS= read -r each; do
  if [ -n "$each" ]; then set -- "$@" "--without=$each"; fi
done <<LEFT_OUT
$RECPRUNE_WITHOUT
LEFT_OUT
for each in $RECPRUNE_AMENDED; do set -- "$@" "--amended=$each"; done
"$RECPRUNE_COMMAND" replay "$@" || { code=$?; [ "$code" -eq 3 ] || exit "$code"; }
"""

ABOUT = f"""\
**Was something wrong with a past day?** This learns it and every day after it once more, as `DAY.r2`, beside what
serves. Nothing that is stored changes. The last day meets the champion; if it passes its gate, it serves, and the next
nightly run goes on from it.

- `from`: the first day to learn once more.
- `without`: what to leave out, one a line: `DAY`, `DAY:HOUR`, `DAY:COLUMN=VALUE` or `DAY:HOUR:COLUMN=VALUE`.
- `amended`: days to read from the source again; see `recprune plan-late DAY`.
- `to`: stop after this day. Nothing is adopted then; trigger it again without `to` to go on.
- `why`: the reason. It stands in the registry.

Killed or cleared, it goes on where it was. The outcome stands in the last task's log and in
[the report]({BASE}/plugin/recprune), under *Again*.

Workspace: `{workspace()}`
"""
DAY = r"^\d{4}-\d{2}-\d{2}$"
COMMON = {
    "RECPRUNE_FROM": "{{ params['from'] }}",
    "RECPRUNE_WITHOUT": "{{ (params.without or []) | join('\n') }}",
    "RECPRUNE_AMENDED": "{{ (params.amended or []) | join(' ') }}",
    "RECPRUNE_WHY": "{{ params.why }} (by {{ dag_run.triggering_user_name or 'unknown' }} in Airflow)",
}


def to_learn(first: str, last: str | None) -> list[dict[str, str]]:
    """Return what each task is told: a day among those that were run, up to which it learns.

    Args:
        first: of the days.
        last: of the days; None: the last one that was run.
    """
    days = sorted(file.stem for file in (workspace() / "plans").glob("????-??-??.json"))
    found = [day for day in days if first <= day <= (last or day)]
    return [{**COMMON, "RECPRUNE_TO": str(date.fromisoformat(day))} for day in found]


with DAG(
    dag_id="recprune_replay",
    description="Learn past days once more, without what was wrong; promoted only through the gate.",
    doc_md=ABOUT,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    tags=["recprune"],
    default_args={"on_failure_callback": failed, "retries": 1, "pool_slots": 2},
    params={
        "from": Param(type="string", pattern=DAY, title="From", description="The first day to learn once more."),
        "to": Param(
            None, type=["null", "string"], pattern=DAY, title="To", description="Stop after it; nothing is adopted."
        ),
        "without": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(:.+)?$"},
            title="Without",
            description="What to leave out, one a line: DAY[:HOUR][:COLUMN=VALUE].",
        ),
        "amended": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": DAY},
            title="Amended",
            description="Days to read from the source again, one a line.",
        ),
        "why": Param(type="string", minLength=1, maxLength=500, pattern=r"\S", title="Why", description="The reason."),
    },
):

    @task(doc_md="Lists the days to learn once more.", retries=0, pool_slots=1, execution_timeout=timeout(0.1))
    def days(params: dict[str, Any]) -> list[dict[str, str]]:
        """Return what each task is told."""
        return to_learn(params["from"], params["to"])

    learn = CommandOperator.partial(
        task_id="learn",
        doc_md="Learns one day more, as its revision; what was learned before is not learned again.",
        command=REPLAY,
        execution_timeout=timeout(12),
        max_active_tis_per_dagrun=1,
    ).expand(env=days())
    compare = CommandOperator(
        task_id="compare",
        doc_md="Learns what nightly runs have added meanwhile, compares the last day with the champion, and lets it "
        "serve if it passes.",
        command=REPLAY,
        env={**COMMON, "RECPRUNE_TO": "{{ params.to or '' }}"},
        execution_timeout=timeout(12),
        on_success_callback=replayed,
        trigger_rule="none_failed",  # without a day to learn, the command says what is wrong
    )
    learn >> compare
