"""No password and no key gets into `.dvc/config`, which is committed."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.errors import SettingsError
from recprune.versioning.remote import check_remote, committed_secrets

pytestmark = pytest.mark.usefixtures("workspace")
WAY_OUT = (
    "in the environment (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or in .dvc/config.local, which git "
    "ignores: dvc remote modify --local"
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://AKIA:hunter2@logs/x", "s3://…@logs/x"),
        ("s3://AKIA:hun/ter2@logs/x", "s3://…@logs/x"),
        ("s3://hunter2@logs/x", "s3://…@logs/x"),
        ("https://me:hunter2@example.com/x", "https://…@example.com/x"),
        ("https://hunter2@example.com/x", "https://…@example.com/x"),
        ("ssh://me:hunter2@example.com/x", "ssh://…@example.com/x"),
        ("https://example.com/x?sig=hunter2", "https://example.com/x?sig=…"),
    ],
)
def test_a_url_with_a_secret_is_refused_and_the_secret_not_told(url: str, shown: str) -> None:
    message = (
        f"--remote {shown} holds a password or key; .dvc/config would have it, and git keeps that in every clone. "
        f"Give the URL without it, and the secret {WAY_OUT} store password VALUE"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        check_remote(url)


@pytest.mark.parametrize(
    "url",
    ["/mnt/remote", "/mnt/token=1/a@b", "s3://logs/x", "ssh://me@example.com:22/x", "hdfs://me@host/x",
     "abfss://container@account.example/x", "http://host:8080/a@b", "../remote"],
)  # fmt: skip
def test_a_url_without_one_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_NAME", "mnt/remote")
    check_remote(url)


def test_init_makes_nothing_for_such_a_url() -> None:
    found = CliRunner().invoke(app, ["init", "w", "--remote", "s3://AKIA:hunter2@logs"])
    assert isinstance(found.exception, SettingsError)
    assert "hunter2" not in found.output
    assert list(Path().iterdir()) == []


def test_what_lies_in_the_config_that_git_keeps_is_told_by_name() -> None:
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(
        "[core]\n    remote = store\n"
        "['remote \"store\"']\n    url = https://me:hunter2@example.com\n"
        "['remote \"s\"']\n    url = s3://logs\n    secret_access_key = hunter%2\n    region = eu\n"
    )
    Path(".dvc/config.local").write_text("['remote \"l\"']\n    url = s3://logs\n    password = x\n")
    assert committed_secrets() == [
        f".dvc/config: {option} of the remote {name} holds a secret, and git keeps it in every clone. Remove it there, "
        f"change the secret, and give the new one {WAY_OUT} {name} {option} VALUE"
        for name, option in (("store", "url"), ("s", "secret_access_key"))
    ]


def test_a_config_without_secrets_or_none_at_all_is_fine() -> None:
    assert committed_secrets() == []
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("['remote \"s\"']\n    url = s3://logs\n")
    assert committed_secrets() == []
