"""Alerts: their text, from the files of a workspace, and their ways, to real servers on this machine."""

import importlib
import json
import logging
import os
import socketserver
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

DAY, RUN = "2024-01-05", "scheduled__2024-01-06T00:00:00+00:00"
IN_PRODUCTION = "In production: champion 2024-01-04 (promoted, since 2024-01-04)"


@pytest.fixture(scope="module")
def alerts(tmp_path_factory):
    """The module as the DAGs import it, with Airflow's home in a temporary folder."""
    os.environ.setdefault("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "dags")
        yield importlib.import_module("recprune_alerts")
        for name in ("recprune_alerts", "recprune_commands"):
            sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """A workspace in which `train` failed, and no receiver."""
    for name in [name for name in os.environ if name.startswith("RECPRUNE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RECPRUNE_WORKSPACE", str(tmp_path))
    write(tmp_path / "registry/current.json", {"champion": "2024-01-04", "event": "promoted", "since": "2024-01-04"})
    of = {"at": "", "seconds": 1.0, "done": False}
    attempts = [
        {"step": "train", "run": "another", "error": "of another run", **of},
        {
            "step": "train",
            "run": RUN,
            "error": "pruned was changed; run: recprune fetch 2024-01-04",
            **of,
        },
        {"step": "prune", "run": RUN, "error": "of another step", **of},
    ]
    times = tmp_path / ".recprune/times" / f"{DAY}.jsonl"
    times.parent.mkdir(parents=True)
    times.write_text("".join(json.dumps(attempt) + "\n" for attempt in attempts) + '{"step": "tr')
    return tmp_path


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def context(task="train", **given):
    ti = SimpleNamespace(task_id=task, dag_id="recprune_daily", run_id=RUN)
    return {"ti": ti, "task": SimpleNamespace(env={"RECPRUNE_DAY": DAY, **given})}


def told(caplog):
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    return record.getMessage()


@pytest.fixture(autouse=True)
def _heard(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    caplog.set_level(logging.INFO, "airflow.task")


def test_a_failure_says_what_happened_who_serves_and_what_to_do(alerts, caplog):
    alerts.failed(context())
    lines = told(caplog).splitlines()
    assert lines[0] == "recprune: train of 2024-01-05 failed"
    assert lines[1] == ("What happened: train of 2024-01-05 failed: pruned was changed; run: recprune fetch 2024-01-04")
    assert lines[2] == IN_PRODUCTION
    assert lines[3].startswith(
        "What to do: If the sentence above names a remedy, apply it. Then clear `train` in Airflow"
    )
    assert lines[4].endswith("/dags/recprune_daily/runs/scheduled__2024-01-06T00%3A00%3A00%2B00%3A00")
    assert lines[5].endswith("/plugin/recprune")
    assert "/dags/recprune_rollback" in lines[6]


def test_a_killed_step_left_no_sentence(alerts, caplog):
    alerts.failed(context("store"))
    assert "store of 2024-01-05 failed: it left no sentence: its process was killed" in told(caplog)


def test_without_a_rendered_day_it_tells_what_it_can(alerts, caplog, workspace):
    (workspace / "registry/current.json").write_text("{")
    alerts.failed(context(RECPRUNE_DAY="{{ params.day }}"))
    assert "train of a day failed" in told(caplog)
    assert "In production: unknown, registry/current.json cannot be read; see: recprune doctor" in told(caplog)


@pytest.mark.parametrize(
    ("file", "verdict", "todo"),
    [
        ("validation/verdict.json", "quarantined", "Look in the report at what was not met;"),
        ("gate.json", "held", "See each rule with: recprune gates explain 2024-01-05."),
    ],
)
def test_a_day_set_aside_is_told(alerts, caplog, workspace, file, verdict, todo):
    write(workspace / "reports" / DAY / file, {"verdict": verdict, "sentence": f"{DAY} {verdict}: since."})
    alerts.verdict(context("report"))
    lines = told(caplog).splitlines()
    assert lines[:3] == [f"recprune: {DAY} is {verdict}", f"What happened: {DAY} {verdict}: since.", IN_PRODUCTION]
    assert lines[3].startswith(f"What to do: {todo}")


def test_a_day_that_passed_is_not(alerts, caplog, workspace):
    write(workspace / "reports" / DAY / "validation/verdict.json", {"verdict": "good"})
    write(workspace / "reports" / DAY / "gate.json", {"verdict": "passed"})
    alerts.verdict(context("report"))
    assert caplog.records == []


def left_out(workspace, day="2024-01-04", verdict="good"):
    """The day's plan held two trials: one day stays learned, one was left out."""
    trials = [
        {"suspicious": "2024-01-03", "left_out": False, "sentence": "it stays learned."},
        {"suspicious": day, "left_out": True, "sentence": f"{day} is suspicious: {DAY} goes on without it."},
    ]
    write(workspace / "plans" / f"{DAY}.json", {"trials": trials})
    write(workspace / "reports" / DAY / "validation/verdict.json", {"verdict": verdict, "sentence": "bad"})


def test_a_day_that_is_left_out_is_told_and_a_rollback_advised_while_it_serves(alerts, caplog, workspace):
    left_out(workspace)
    alerts.verdict(context("report"))
    lines = told(caplog).splitlines()
    assert lines[:3] == [
        f"recprune: {DAY} goes on without 2024-01-04",
        f"What happened: 2024-01-04 is suspicious: {DAY} goes on without it.",
        IN_PRODUCTION,
    ]
    assert lines[3].startswith("What to do: 2024-01-04 still serves. Trigger recprune_rollback")
    assert lines[4].startswith("What to do: Nothing for the days to come: they go on without 2024-01-04.")


def test_of_a_day_that_serves_no_more_no_rollback_is_advised(alerts, caplog, workspace):
    left_out(workspace, day="2024-01-02")
    alerts.verdict(context("report"))
    assert "still serves" not in told(caplog)
    assert "goes on without 2024-01-02" in told(caplog)


def test_bad_rows_prove_nothing_of_another_day(alerts, caplog, workspace):
    left_out(workspace, verdict="quarantined")
    alerts.verdict(context("report"))
    assert f"recprune: {DAY} is quarantined" in told(caplog)


def test_a_rollback_is_told_with_its_reason(alerts, caplog):
    alerts.rolled_back(context("rollback", RECPRUNE_WHY="complaints (by ada in Airflow)"))
    assert "an earlier champion serves again: complaints (by ada in Airflow)" in told(caplog)


@contextmanager
def serving(server):
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def webhook(code):
    """A server that notes what is posted; yields its port and what it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_): ...

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, got


@contextmanager
def mail_server():
    """A server that speaks as much SMTP as it takes; yields its port and the lines it got."""
    got = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 here\r\n")
            data = False
            while line := self.rfile.readline():
                text = line.decode().rstrip("\r\n")
                got.append(text)
                data = (data and text != ".") or text.upper() == "DATA"
                if text.upper() == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                elif not data:
                    self.wfile.write(b"221 bye\r\n" if text.upper() == "QUIT" else b"250 yes\r\n")
                if text.upper() == "QUIT":
                    return

    with serving(socketserver.TCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, got


def test_a_webhook_gets_the_text(alerts, monkeypatch, caplog):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with webhook(200) as (port, got):
        monkeypatch.setenv("RECPRUNE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/secret")
        alerts.failed(context())
    ((path, body),) = got
    assert (path, body) == ("/secret", {"text": told(caplog)})


def test_mail_gets_the_text(alerts, monkeypatch, caplog):
    with mail_server() as (port, got):
        monkeypatch.setenv("RECPRUNE_ALERT_EMAIL", "ada@example.org, bob@example.org")
        monkeypatch.setenv("RECPRUNE_ALERT_SMTP", f"smtp://127.0.0.1:{port}")
        monkeypatch.setenv("RECPRUNE_ALERT_FROM", "recprune@example.org")
        alerts.failed(context())
    assert [line for line in got if line.lower().startswith("rcpt to")] == [
        "rcpt TO:<ada@example.org>",
        "rcpt TO:<bob@example.org>",
    ]
    assert "Subject: recprune: train of 2024-01-05 failed" in got
    assert IN_PRODUCTION in got
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECPRUNE_ALERT_WEBHOOK", "file:///etc/passwd"),
        ("RECPRUNE_ALERT_WEBHOOK", "http://127.0.0.1:1/secret"),
        ("RECPRUNE_ALERT_WEBHOOK", "not an address, secret"),
        ("RECPRUNE_ALERT_EMAIL", "secret@example.org"),
    ],
)
def test_an_alert_that_cannot_be_sent_fails_nothing_and_tells_no_address(alerts, monkeypatch, caplog, name, value):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(name, value)
    alerts.failed(context())
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert error.startswith(f"the alert could not be sent to {name} (")
    assert "secret" not in error


def test_a_receiver_that_refuses_fails_nothing(alerts, monkeypatch, caplog):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with webhook(500) as (port, got):
        monkeypatch.setenv("RECPRUNE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/")
        alerts.failed(context())
    assert len(got) == 1
    assert "the alert could not be sent to RECPRUNE_ALERT_WEBHOOK (HTTPError)" in caplog.text
