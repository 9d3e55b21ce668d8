"""The services of `docker/compose.yaml`, started without Docker: its commands and settings, each a group of processes.

A service that ends is started again, as `restart: unless-stopped` has it; killed, it takes along all that it started,
as a container does.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil
import psycopg2
import yaml

from tests.e2e.airflows import BOOT, ROOT, Api, Workspace, until

SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
_COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    places = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


class Postgres:
    """A PostgreSQL server of one's own, for this machine only."""

    def __init__(self, password: str) -> None:
        """Make its database; it is not started yet."""
        bin_folder = programs()
        assert bin_folder is not None
        self.bin, self.port, self.password = bin_folder, free_port(), password
        # Its server refuses to run as root, and its owner must reach the folder, which root's own tmp may not allow.
        self.user = "postgres" if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="recprune-postgres-"))
        words = self.folder / "password"
        words.write_text(password)
        if self.user:
            for path in (self.folder, words):
                shutil.chown(path, self.user)
        self.data = self.folder / "data"
        made = f"--username=airflow --auth=scram-sha-256 --encoding=UTF8 --no-sync --pwfile={words}"
        self._do("initdb", *made.split(), str(self.data))
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n")
            settings.write(f"unix_socket_directories = '{self.folder}'\nmax_connections = 200\n")

    def start(self) -> None:
        """Start it for the first time, and make Airflow's database."""
        self._do("pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", f"--pgdata={self.data}")
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="airflow", password=self.password, dbname="postgres"
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE airflow")

    def restart(self) -> None:
        """Break every connection, as a machine that fails does, and start again."""
        self._do("pg_ctl", "restart", "--mode=immediate", f"--log={self.folder / 'log'}", f"--pgdata={self.data}")

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self._do("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.data}")
        shutil.rmtree(self.folder)

    def _do(self, program: str, *arguments: str) -> None:
        # Not a pipe: the server that pg_ctl leaves behind would hold it open.
        with (self.folder / "told").open("wb") as told:
            command, environment = [self.bin / program, *arguments], {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
            subprocess.run(
                command, cwd=self.folder, user=self.user, env=environment, check=True, timeout=120,
                stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT,
            )  # fmt: skip


class Services(Api):
    """Airflow as `docker/compose.yaml` runs it, on a workspace."""

    names = SERVICES

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        """Make secrets, database and settings; nothing is started yet."""
        self.folder, self.workspace, self.port = folder, workspace, free_port()
        self.home, held = folder / "home", folder / "secrets"
        for place in (self.home / "logs", held):
            place.mkdir(parents=True)
        for name in ("postgres_password", "secret_key", "jwt_secret"):
            (held / name).write_text(secrets.token_hex(32) + "\n")
        (held / "fernet_key").write_text(secrets.token_urlsafe(32) + "=\n")
        self.postgres = Postgres((held / "postgres_password").read_text().strip())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts = dict.fromkeys(self.names, 0)
        self._over, self._lock = threading.Event(), threading.Lock()
        self._watch = threading.Thread(target=self._keep)

    def _own(self, text: str) -> str:
        """Return a text of `compose.yaml` with what lies in containers, and their names, as they are here."""
        text = re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")
        for there, here in {
            "/run/secrets": self.folder / "secrets",
            "/opt/recprune": ROOT,
            "/opt/airflow": self.home,
            "/workspace": self.workspace.folder,
            "@postgres/": f"@127.0.0.1:{self.postgres.port}/",
            "http://api-server:8080": f"http://127.0.0.1:{self.port}",
            "http://127.0.0.1:8080": f"http://127.0.0.1:{self.port}",
            "0.0.0.0": "127.0.0.1",
        }.items():
            text = text.replace(there, str(here))
        return text

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self._own(text) for key, text in _COMPOSE[name]["environment"].items()}
        own = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__PORT": str(self.port),
            "RECPRUNE_COMMAND": str(self.workspace.command),
            # What a killed process leaves is missed within a minute, not five.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "no_proxy": "127.0.0.1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return {**os.environ, **given, **own}

    def command(self, name: str) -> list[str]:
        words = [self._own(word) for word in _COMPOSE[name]["command"]]
        return [sys.executable, "-m", *words] if words[0] == "airflow" else words

    def start(self) -> None:
        """Start the database, migrate it, start the services, and log in."""
        self.postgres.start()
        done = subprocess.run(
            self.command("migrate"), env=self.environment("migrate"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in self.names:
            self._begin(name)
        self._watch.start()
        passwords = self.home / "logs" / "passwords.json"
        until(lambda: passwords.exists() and self.is_well(), BOOT, self.said)
        self.log_in(f"http://127.0.0.1:{self.port}", "admin", yaml.safe_load(passwords.read_text())["admin"])

    def is_well(self) -> bool:
        """Say whether the web interface answers, and what it says of the other parts."""
        with suppress(httpx.HTTPError):
            health = httpx.get(
                f"http://127.0.0.1:{self.port}/api/v2/monitor/health", trust_env=False, timeout=10
            ).json()
            return all(part["status"] == "healthy" for part in health.values())
        return False

    def check(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Ask a service how it is, with its own health check."""
        _, *words = _COMPOSE[name]["healthcheck"]["test"]
        words = [self._own(word) for word in words]
        command = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]
        return subprocess.run(command, env=self.environment(name), capture_output=True, text=True, check=False)

    def said(self) -> str:
        return "\n".join(log.read_text()[-3000:] for log in self.folder.glob("*.log"))

    def _begin(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), env=self.environment(name), stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.starts[name] += 1

    def _keep(self) -> None:
        """Start again what has ended, with all that was in its container gone."""
        families: dict[str, list[psutil.Process]] = {}
        while not self._over.wait(0.5):
            with self._lock:
                for name, process in self.processes.items():
                    if process.poll() is None:
                        with suppress(psutil.Error):
                            families[name] = family(process.pid)
                    else:
                        end(families.get(name, []))
                        self._begin(name)

    def kill(self, name: str) -> None:
        """Kill a service with all that it started, as a container ends that ran out of memory."""
        with self._lock:
            end(family(self.processes[name].pid))

    def stop(self) -> None:
        if hasattr(self, "api"):
            self.api.close()
        self._over.set()
        if self._watch.is_alive():
            self._watch.join()
        for process in self.processes.values():
            all_of_it = family(process.pid) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            end(all_of_it)
        self.postgres.stop()


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, 30)
