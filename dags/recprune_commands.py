"""What the DAGs share: the workspace, the command that a task starts, and the way back to the report.

Set where Airflow's processes see it:

- ``RECPRUNE_WORKSPACE``: the absolute path of the workspace that ``recprune init`` made. Required.
- ``RECPRUNE_COMMAND``: the command to start, a name on ``PATH`` or a path (default ``recprune``).
- ``RECPRUNE_TIMEOUT_SCALE``: what the tasks' timeouts are multiplied by (default 1).
- ``RECPRUNE_INGEST_PARTS``: how many tasks read a day's files before ``ingest``, at the same time (default 1: none, and
  ``ingest`` reads them itself).
- ``RECPRUNE_FEATURIZE_PARTS``: how many tasks code the features' ids before ``featurize`` (default 1: none).
- ``RECPRUNE_PARTS_POOL``: Airflow's pool that says how many of these run at once, a slot each (default the pool of all
  other tasks).
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

_WRONG_USE = " exit code 2."
"""How Airflow tells of the exit code that recprune gives to wrong use."""
MOST_PARTS = 1000
"""Of a step, as recprune allows."""
URL = conf.get("api", "base_url", fallback="").rstrip("/")
"""Address of Airflow's interface."""
BASE = urlsplit(URL).path
"""Its path, where it does not lie at the root of its host."""

# What is asked arrives as environment variables, so nothing typed into a form is ever read as shell.
FOUND = """\
command -v "$RECPRUNE_COMMAND" >/dev/null || {
  echo "RECPRUNE_COMMAND is $RECPRUNE_COMMAND, which is no command here. Install recprune or set its path."
  exit 127
}
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


def timeout(hours: float) -> timedelta:
    """Return how long a task may run; past it, it is killed, and its retry goes on from the last checkpoint.

    Raises:
        RuntimeError: `RECPRUNE_TIMEOUT_SCALE` is no number above 0.
    """
    value = os.environ.get("RECPRUNE_TIMEOUT_SCALE") or "1"
    try:
        return timedelta(hours=hours * _positive(float(value)))
    except (ValueError, OverflowError):
        raise RuntimeError(
            f"RECPRUNE_TIMEOUT_SCALE is {value!r}; the tasks' timeouts are multiplied by it: write a number above 0."
        ) from None


def parts_of(step: str) -> int:
    """Return in how many parts a step is done beforehand; 1 means that it does all itself.

    Raises:
        RuntimeError: `RECPRUNE_INGEST_PARTS`, or that of another step, is no whole number from 1 to 1000.
    """
    name = f"RECPRUNE_{step.upper()}_PARTS"
    value = os.environ.get(name) or "1"
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST_PARTS:
        raise RuntimeError(
            f"{name} is {value!r}; so many tasks do {step} in parts: write a whole number from 1 to {MOST_PARTS}."
        )
    return int(value)


def _positive(number: float) -> float:
    if not number > 0:
        raise ValueError
    return number


class CommandOperator(BashOperator):
    """A task that starts recprune in the workspace."""

    template_ext = ()  # a command, or what was typed into a form, that ends in .sh is no name of a template

    def __init__(self, *, command: str, env: dict[str, str], **options: Any) -> None:
        super().__init__(
            bash_command=FOUND + command,
            cwd=str(workspace()),
            env={"RECPRUNE_COMMAND": os.environ.get("RECPRUNE_COMMAND") or "recprune", **env},
            append_env=True,
            do_xcom_push=False,
            skip_on_exit_code=None,
            **options,
        )

    def execute(self, context: Any) -> Any:
        """Run it; wrong use, which no retry mends, fails for good.

        Raises:
            AirflowFailException: recprune ended with exit code 2.
        """
        try:
            return super().execute(context)
        except AirflowException as error:
            if str(error).endswith(_WRONG_USE):
                raise AirflowFailException("wrong use or settings, which a retry cannot mend; see above") from error
            raise
