"""The container set-up, read: no Docker where the tests run, so each promise it makes is looked up."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
README = (DOCKER / "README.md").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}


@pytest.fixture(scope="module", autouse=True)
def _airflow_home(tmp_path_factory):
    # Airflow writes its settings file when first imported.
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))


def instructions(word):
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{word} ")]


def test_the_services():
    assert set(SERVICES) == {"postgres", "migrate", "api-server", "scheduler", "dag-processor"}


def test_what_is_copied_exists():
    sources = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_what_is_built_exists():
    for service in OURS.values():
        context = (DOCKER / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()


def test_everything_is_installed_by_its_lock():
    (install,) = [line for line in instructions("RUN") if "install" in line and "apt-get" not in line]
    words = shlex.split(install)
    assert words[-4:] == ["python", "-m", "scripts.install", "service"]
    assert all("=" in word for word in words[:-4])
    copied = " ".join(instructions("COPY"))
    assert "requirements requirements" in copied
    assert "scripts/install.py scripts/" in copied


def test_the_image_has_the_python_that_the_project_wants():
    assert instructions("FROM") == ["python:3.11-slim-bookworm"]


@pytest.mark.parametrize("name", OURS)
def test_the_commands_exist(name):
    from airflow.cli import cli_parser

    program, *words = OURS[name]["command"]
    assert program == "airflow"
    assert cli_parser.get_parser().parse_args(words).func  # exits for an unknown command or option


def test_the_settings_of_airflow_exist():
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=False)
    files = [DOCKER / "compose.yaml", ROOT / "scripts" / "airflow.sh"]
    names = [name for file in files for name in re.findall(r"\bAIRFLOW__(\w+?)__(\w+)", file.read_text())]
    assert len(names) > 20
    assert [name for name in names if name[1].lower() not in known[name[0].lower()]["options"]] == []


def test_only_the_web_interface_is_open_and_only_to_this_host():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"api-server": ["127.0.0.1:${AIRFLOW_PORT:-8080}:8080"]}


def test_the_dag_and_the_workspace_are_where_the_settings_say():
    (workdir,) = instructions("WORKDIR")
    for service in OURS.values():
        settings = service["environment"]
        assert settings["AIRFLOW__CORE__DAGS_FOLDER"] == f"{workdir}/dags"
        assert settings["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{workdir}/plugins"
        assert service["volumes"][0].endswith(f":{settings['RECPRUNE_WORKSPACE']}")
        assert settings["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_no_secret_is_written_down_and_the_readme_makes_each():
    text = (DOCKER / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    secrets = {"POSTGRES_PASSWORD", "FERNET_KEY", "SECRET_KEY", "JWT_SECRET"}
    assert required == {*secrets, "RECPRUNE_WORKSPACE"}
    assert all(re.search(rf"^{name}=", README, re.MULTILINE) for name in required)
    assert all(re.search(rf"^{name}=\$\(openssl rand ", README, re.MULTILINE) for name in secrets)


def test_volumes_that_are_named_are_declared():
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {volume for volume in named if not volume.startswith("$")} == set(COMPOSE["volumes"])
