"""The same services with Celery's workers, which share the workspace: one is killed in the middle of `train`.

Not part of the locked environment: `pip install apache-airflow-providers-celery "celery[redis]<5.6"`, and a
`redis-server` on PATH.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import time

import pytest

from tests.e2e.airflows import DAG, PASSED, Workspace, ago, frozen, steps
from tests.e2e.services import SERVICES, Services, free_port, programs
from tests.e2e.workspaces import read

PROVIDER = any(importlib.metadata.distributions(name="apache-airflow-providers-celery"))
INSTALLED = PROVIDER and shutil.which("redis-server") and programs()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not INSTALLED, reason="Celery, Redis or PostgreSQL is missing")]
DAY, HEARTBEAT, WORKERS = ago(1), 20, ("worker1", "worker2")


class Celery(Services):
    """The scheduler gives its tasks to two workers, through Redis."""

    names = (*SERVICES, *WORKERS)

    def __init__(self, folder, workspace):
        super().__init__(folder, workspace)
        self.broker = free_port()

    def environment(self, name):
        environment = super().environment("scheduler" if name in WORKERS else name)
        database = f"airflow:{self.postgres.password}@127.0.0.1:{self.postgres.port}/airflow"
        return environment | {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.broker}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        }

    def command(self, name):
        if name not in WORKERS:
            return super().command(name)
        worker = ["celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@here"]
        return [sys.executable, "-m", "airflow", *worker]


@pytest.fixture
def services(tmp_path):
    services = Celery(tmp_path / "services", Workspace(tmp_path, DAY))
    options = f"--port {services.broker} --bind 127.0.0.1 --save".split()
    with subprocess.Popen(["redis-server", *options, ""], stdout=subprocess.DEVNULL, cwd=tmp_path) as redis:
        try:
            services.start()
            yield services
        finally:
            services.stop()
            redis.terminate()


def test_a_worker_that_is_killed_loses_nothing(services):
    folder = services.workspace.folder
    services.call("PATCH", DAG, {"is_paused": False})
    training = frozen(folder, f"recprune step train --day {DAY}", lambda: services.failed(set()) + services.said())
    time.sleep(HEARTBEAT)
    above = {process.pid for process in training.parents()}
    (worker,) = [name for name, process in services.processes.items() if process.pid in above]
    services.kill(worker)
    (run,) = services.ended(set(), 1)
    assert run["state"] == "success", services.failed(set())
    train = PASSED.index("train")
    assert services.workspace.started() == steps(DAY, [*PASSED[: train + 1], *PASSED[train:]])
    assert services.starts[worker] == 2
    assert read(folder, "registry/current.json")["champion"] == DAY
