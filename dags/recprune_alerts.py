"""Alerts: a text that says what happened, which champion is in production, and what to do.

It always goes to the task's log, and besides, where Airflow's processes see it set:

- ``RECPRUNE_ALERT_WEBHOOK``: an address that takes ``{"text": …}`` by POST, as Slack, Mattermost and Teams do.
- ``RECPRUNE_ALERT_EMAIL``: addresses, separated by commas; with
- ``RECPRUNE_ALERT_SMTP``: ``smtp://HOST:PORT`` or, encrypted from the start, ``smtps://USER@HOST:PORT``; where there is
  a user, ``RECPRUNE_ALERT_SMTP_PASSWORD_FILE``, a file; and ``RECPRUNE_ALERT_FROM``, who the message is from.

An alert that cannot be sent says so in the log and fails nothing.
"""

import json
import logging
import os
import smtplib
import socket
import ssl
import urllib.request
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from recprune_commands import URL, workspace

log = logging.getLogger("airflow.task")
_SECONDS = 15
"""How long a receiver may take."""


def failed(context: Any) -> None:
    """Tell that a task failed for good; a callback of Airflow's."""
    ti, day = context["ti"], _day(context)
    if ti.dag_id == "recprune_replay":
        todo = (
            f"See the log of `{ti.task_id}`, and clear it: the replay goes on there. Nothing that serves has changed."
        )
        send("recprune: a replay failed", text(f"{ti.task_id} of a replay failed", [todo], ti.dag_id, ti.run_id))
        return
    said = _said(day, ti.task_id, ti.run_id)
    happened = said or "it left no sentence: its process was killed, ran out of time, or could not start"
    what = f"{ti.task_id} of {day or 'a day'} failed: {happened}"
    clear = (
        f"If the sentence above names a remedy, apply it. Then clear `{ti.task_id}` in Airflow: the day goes on there."
    )
    send(f"recprune: {ti.task_id} of {day or 'a day'} failed", text(what, [clear], ti.dag_id, ti.run_id))


def verdict(context: Any) -> None:
    """Tell that a day was held or quarantined, or leaves another out; called once its report is written."""
    ti, day = context["ti"], _day(context)
    _tell_trials(day, ti)
    for file, aside in (("validation/verdict.json", "quarantined"), ("gate.json", "held")):
        found = _read(workspace() / "reports" / day / file)
        if found.get("verdict") == aside:
            todo = _TODO[aside].format(day=day)
            send(f"recprune: {day} is {aside}", text(str(found.get("sentence")), [todo], ti.dag_id, ti.run_id))
            return


def _tell_trials(day: str, ti: Any) -> None:
    """Tell which days a day leaves out, for a trial on its rows proved harm; bad rows of its own prove nothing."""
    if _read(workspace() / "reports" / day / "validation/verdict.json").get("verdict") == "quarantined":
        return
    trials = [t for t in _read(workspace() / "plans" / f"{day}.json").get("trials", []) if t.get("left_out")]
    champion = _read(workspace() / "registry" / "current.json").get("champion")
    for trial in trials:
        bad = trial["suspicious"]
        todo = [
            f"Nothing for the days to come: they go on without {bad}. See in the report what was odd about its data."
        ]
        if champion == bad:
            todo.insert(0, f"{bad} still serves. Trigger recprune_rollback, so that the champion before it does.")
        what = str(trial.get("sentence"))
        send(f"recprune: {day} goes on without {bad}", text(what, todo, ti.dag_id, ti.run_id))


_TODO = {
    "quarantined": "Look in the report at what was not met; nothing has learned from it. If the delivery is damaged, "
    "have it sent again, then: recprune replay --from {day} --amended {day}. If such data are right from now on, "
    "params.yaml has to follow.",
    "held": "See each rule with: recprune gates explain {day}. Learning goes on, and tomorrow's candidate is "
    'judged anew. To let this one serve all the same: recprune gates force {day} --why "…" --until DAY',
}


def rolled_back(context: Any) -> None:
    """Tell that somebody rolled back; a callback of Airflow's."""
    ti, why = context["ti"], context["task"].env["RECPRUNE_WHY"]
    todo = "Find out what was wrong with the one before; days that are run from now on are compared with this one."
    send("recprune: rolled back", text(f"an earlier champion serves again: {why}", [todo], ti.dag_id, ti.run_id))


def replayed(context: Any) -> None:
    """Tell how a replay ended; a callback of Airflow's."""
    ti = context["ti"]
    lines = (workspace() / "registry" / "revisions.jsonl").read_text(encoding="utf-8").split("\n")
    last = json.loads(lines[-2])
    ended = {
        "adopted": "is adopted and serves",
        "dropped": "is not adopted",
        "begun": "is open: it stopped where asked",
    }
    what = f"replay r{last['number']} {ended[last['event']]}: {last['why']}"
    todo = {
        "adopted": "Nothing; later days go on from it. To go back: trigger recprune_rollback.",
        "dropped": "Nothing has changed. See the report, under Again, for what its last day was held for.",
        "begun": "Trigger it again without `to` to go on, or end it with: recprune replay --drop",
    }[last["event"]]
    send(f"recprune: replay r{last['number']} {last['event']}", text(what, [todo], ti.dag_id, ti.run_id))


def text(happened: str, todo: list[str], dag: str, run: str) -> str:
    """Put an alert together."""
    lines = [
        f"What happened: {happened}",
        f"In production: {_champion()}",
        *(f"What to do: {each}" for each in todo),
        f"The run: {URL}/dags/{dag}/runs/{quote(run, safe='')}",
        f"The report: {URL}/plugin/recprune",
    ]
    if dag != "recprune_rollback":
        lines.append(f"If what serves is bad: trigger {URL}/dags/recprune_rollback")
    return "\n".join(lines)


def send(subject: str, body: str) -> None:
    """Write an alert to the log and to who else is asked for."""
    log.warning("%s\n%s", subject, body)
    for name, way in (("RECPRUNE_ALERT_WEBHOOK", _post), ("RECPRUNE_ALERT_EMAIL", _mail)):
        if value := os.environ.get(name):
            try:
                way(value, subject, body)
            except (OSError, ValueError, HTTPException) as error:
                # Its text may hold the address, which is a secret of a webhook.
                log.error("the alert could not be sent to %s (%s)", name, type(error).__name__)


def _post(address: str, subject: str, body: str) -> None:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("a webhook is an address of http or https")
    data = json.dumps({"text": f"{subject}\n{body}"}).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
        pass


def _mail(addresses: str, subject: str, body: str) -> None:
    server = urlsplit(os.environ.get("RECPRUNE_ALERT_SMTP", ""))
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise ValueError("RECPRUNE_ALERT_SMTP names no server")
    message = EmailMessage()
    message["Subject"], message["To"] = subject, addresses
    message["From"] = os.environ.get("RECPRUNE_ALERT_FROM") or f"recprune@{socket.getfqdn()}"
    message.set_content(body)
    safely = ssl.create_default_context()
    if server.scheme == "smtps":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.hostname, server.port or 465, timeout=_SECONDS, context=safely)
    else:
        smtp = smtplib.SMTP(server.hostname, server.port or 25, timeout=_SECONDS)
    with smtp:
        smtp.ehlo()
        if server.scheme == "smtp" and smtp.has_extn("starttls"):
            smtp.starttls(context=safely)
        if server.username:
            password = Path(os.environ.get("RECPRUNE_ALERT_SMTP_PASSWORD_FILE", "")).read_text(encoding="utf-8")
            smtp.login(unquote(server.username), password.strip())
        smtp.send_message(message)


def _day(context: Any) -> str:
    """Return the day as the task was given it; empty where Airflow calls back without rendering the task."""
    task = context.get("task") or getattr(context["ti"], "task", None)
    given = getattr(task, "env", None) or getattr(task, "op_kwargs", None) or {}
    day = str(given.get("RECPRUNE_DAY") or given.get("day") or "")
    return "" if "{{" in day else day


def _said(day: str, step: str, run: str) -> str:
    """Return the sentence with which a step ended in this run; empty if it left none."""
    file = workspace() / ".recprune" / "times" / f"{day}.jsonl"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if day and file.is_file() else []
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and (found.get("step"), found.get("run")) == (step, run):
            return str(found.get("error", ""))
    return ""


def _champion() -> str:
    found = _read(workspace() / "registry" / "current.json")
    if "champion" not in found:
        return "unknown, registry/current.json cannot be read; see: recprune doctor"
    return f"champion {found['champion']} ({found.get('event')}, since {found.get('since')})"


def _read(file: Path) -> dict[str, Any]:
    """Read a JSON file; empty if it is not there or no JSON: an alert tells what it can."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
