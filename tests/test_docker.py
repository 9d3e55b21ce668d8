"""The container set-up, read: no Docker where the tests run, so each promise it makes is looked up.

What tests/e2e/test_images.py does is more: it replays the steps of each image.
"""

import fnmatch
import os
import re
import shlex

import pytest
import yaml

from tests.dockerfile import DOCKERFILE, ROOT, stages

DOCKER = ROOT / "docker"
STAGES = stages(DOCKERFILE.read_text())
IMAGES = {"recprune": "demo", "airflow": "service"}
"""Each image, and the set of requirements/ that it has."""
README = (DOCKER / "README.md").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}


@pytest.fixture(scope="module", autouse=True)
def _airflow_home(tmp_path_factory):
    # Airflow writes its settings file when first imported.
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))


def instructions(word):
    return [text for stage in STAGES.values() for text in stage.of(word)]


def test_the_services():
    parts = {"api-server", "scheduler", "dag-processor", "triggerer"}
    assert set(SERVICES) == {"postgres", "migrate", *parts}
    assert all("healthcheck" in SERVICES[name] for name in {*parts, "postgres"})


def copied():
    """What comes from the repository."""
    lines = [line.split() for line in instructions("COPY")]
    return [source for words in lines if not words[0].startswith("--") for source in words[:-1]]


def test_what_is_copied_exists_and_is_let_in():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert let_in == set(copied())
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_no_secret_can_enter_an_image_or_git():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/docker/.env", "/docker/secrets/"} <= set(ignored)
    assert not any(fnmatch.fnmatch("docker/secrets/jwt_secret", f"{source}*") for source in copied())


def test_what_is_built_exists():
    for service in OURS.values():
        context = (DOCKER / service["build"]["context"]).resolve()
        assert context == ROOT
        assert context / service["build"]["dockerfile"] == DOCKERFILE
        assert service["build"]["target"] in IMAGES


@pytest.mark.parametrize("image", IMAGES)
def test_everything_is_installed_by_its_lock(image):
    (install,) = STAGES[f"with-{image}"].of("RUN")
    words = shlex.split(install)
    assert words[-4:] == ["python", "-m", "scripts.install", IMAGES[image]]
    assert words[:-4] == ["PIP_NO_CACHE_DIR=1", "PIP_EXTRA_INDEX_URL=$TORCH_INDEX"]
    assert STAGES[f"with-{image}"].of("ARG") == ['TORCH_INDEX=""']
    assert {"requirements", "scripts/install.py"} <= set(copied())


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_takes_over_what_was_installed_and_is_not_run_as_root(image):
    assert STAGES[image].base == "base"
    assert f"--from=with-{image} /opt /opt" in STAGES[image].of("COPY")
    assert STAGES[image].of("USER") == ["1000:0"]
    names = [name for name, _ in STAGES[image].steps]
    assert not {"RUN", "COPY"} & set(names[names.index("USER") :]), "what needs root stands before USER"
    assert all(service["user"].endswith(":0") for service in OURS.values())


def test_the_images_have_the_python_that_the_project_wants():
    assert {stage.base for stage in STAGES.values()} - STAGES.keys() == {"python:3.11-slim-bookworm"}


@pytest.mark.parametrize("name", OURS)
def test_the_commands_exist(name):
    from airflow.cli import cli_parser

    program, *words = OURS[name]["command"]
    assert program == "airflow"
    assert cli_parser.get_parser().parse_args(words).func  # exits for an unknown command or option


@pytest.mark.parametrize("name", ["scheduler", "dag-processor", "triggerer"])
def test_the_health_checks_exist(name):
    from airflow.cli import cli_parser

    shell, program, *words = SERVICES[name]["healthcheck"]["test"]
    assert (shell, program) == ("CMD", "airflow")
    asked = cli_parser.get_parser().parse_args(words)
    assert asked.job_type == {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob"}.get(name, "TriggererJob")


def test_the_health_check_of_the_web_interface_is_python():
    shell, program, option, code = SERVICES["api-server"]["healthcheck"]["test"]
    assert (shell, program, option) == ("CMD", "python", "-c")
    assert "/api/v2/monitor/health" in code
    compile(code, "healthcheck", "exec")


def test_the_settings_of_airflow_exist():
    from airflow.configuration import conf, retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=False)
    files = [DOCKER / "compose.yaml", ROOT / "scripts" / "airflow.sh"]
    names = [name for file in files for name in re.findall(r"\bAIRFLOW__(\w+?)__(\w+)", file.read_text())]
    assert len(names) > 20
    found = [(section.lower(), key.lower()) for section, key in names]
    from_files = {(section, key.removesuffix("_cmd")) for section, key in found if key.endswith("_cmd")}
    assert from_files == {("core", "fernet_key"), ("database", "sql_alchemy_conn"), ("api", "secret_key"),
                          ("api_auth", "jwt_secret")}  # fmt: skip
    assert from_files <= conf.sensitive_config_values, "Airflow reads no other setting from a command"
    plain = [name for name in found if not name[1].endswith("_cmd")]
    assert [name for name in [*plain, *from_files] if name[1] not in known[name[0]]["options"]] == []


def test_only_the_web_interface_is_open_and_only_to_this_host():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"api-server": ["127.0.0.1:${AIRFLOW_PORT:-8080}:8080"]}


def test_the_dag_and_the_workspace_are_where_the_settings_say():
    (workdir,) = STAGES["source"].of("WORKDIR")
    for service in OURS.values():
        settings = service["environment"]
        assert settings["AIRFLOW__CORE__DAGS_FOLDER"] == f"{workdir}/dags"
        assert settings["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{workdir}/plugins"
        assert service["volumes"][0].endswith(f":{settings['RECPRUNE_WORKSPACE']}")
        assert settings["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_every_secret_is_a_file_that_the_readme_makes():
    assert set(COMPOSE["secrets"]) == {"postgres_password", "fernet_key", "secret_key", "jwt_secret"}
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert re.search(rf"^openssl rand .* > docker/secrets/{name}$", README, re.MULTILINE), name
        assert all(name in service["secrets"] for service in OURS.values())
    text = (DOCKER / "compose.yaml").read_text()
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(COMPOSE["secrets"])
    assert "PASSWORD" not in " ".join(re.findall(r"\$\{(\w+)", text)).replace("SMTP_PASSWORD_FILE", "")


def test_every_setting_of_the_host_stands_in_the_example():
    text = (DOCKER / "compose.yaml").read_text()
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    example = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert asked == set(example)
    assert set(re.findall(r"\$\{(\w+):\?", text)) == {"RECPRUNE_WORKSPACE"}
    assert example["TORCH_INDEX"] == ""
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert {name: example[name] for name in defaults} == defaults


def test_volumes_that_are_named_are_declared():
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {volume for volume in named if not volume.startswith("$")} == set(COMPOSE["volumes"])
