"""The steps of both images, replayed without Docker: a folder stands for the root, a new environment for the image's.

The environment sees this one's packages, so that pip finds everything by its locked version and asks no index. With
RECPRUNE_REPLAY=clean it sees nothing and installs everything, by the network: minutes and gigabytes.
"""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.dockerfile import ROOT, Replay

pytestmark = pytest.mark.e2e
CLEAN = os.environ.get("RECPRUNE_REPLAY") == "clean"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("image", ["recprune", "airflow"])
def test_the_image_has_recprune(tmp_path: Path, image: str) -> None:
    replay = Replay(tmp_path / "root", clean=CLEAN)
    replay.stage(image)
    replay.at = tmp_path / "root/workspace"
    told = replay.run("recprune", "--version")
    assert told.stdout == f"recprune {VERSION}\n", told.stderr
    found = replay.run("python", "-c", "import recprune, torch; print(recprune.__file__, torch.__version__)")
    where, version = found.stdout.split()
    assert where == replay.inside("/opt/recprune/recprune/__init__.py")
    assert f"torch=={version.partition('+')[0]}\n" in (ROOT / "requirements/torch.txt").read_text()
    assert "directory = *" in (tmp_path / "root/etc/gitconfig").read_text()
    for name in ("home/recprune", "workspace", "opt/airflow") if image == "airflow" else ("home/recprune", "workspace"):
        assert (tmp_path / "root" / name).stat().st_mode & 0o770 == 0o770, "for any user of group 0"
    if image == "airflow":
        secrets_come_from_their_files(replay)


def secrets_come_from_their_files(replay: Replay) -> None:
    """Ask Airflow for its settings as compose.yaml gives them."""
    service = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]["scheduler"]
    folder = replay.root / "run/secrets"
    folder.mkdir(parents=True)
    for name in service["secrets"]:
        (folder / name).write_text(f"the-{name}\n")
    given = {key: re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", text) for key, text in service["environment"].items()}
    env = {key: replay.inside(text.replace("$$", "$")) for key, text in given.items() if text}
    asked = (
        "core.fernet_key",
        "database.sql_alchemy_conn",
        "api.secret_key",
        "api_auth.jwt_secret",
        "core.dags_folder",
    )
    code = "from airflow.configuration import conf\n" + "".join(f"print(conf.get(*{n.split('.')}))\n" for n in asked)
    done = replay.run("python", "-c", code, **env)
    assert done.stdout.splitlines() == [
        "the-fernet_key",
        "postgresql+psycopg2://airflow:the-postgres_password@postgres/airflow",
        "the-secret_key",
        "the-jwt_secret",
        replay.inside("/opt/recprune/dags"),
    ], done.stderr
    assert (Path(replay.inside("/opt/recprune/dags")) / "recprune_daily.py").is_file()
    assert replay.run("python", "-c", "import psycopg2, asyncpg").returncode == 0
    assert replay.run("python", "-m", "airflow", "version").stdout.startswith("3.")
