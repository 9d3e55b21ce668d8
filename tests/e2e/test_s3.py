"""A DVC remote that is an S3 bucket: a real server on loopback, as any S3-compatible store is used."""

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from recprune.versioning import objects
from tests.e2e.workspaces import FIRST, digests, git, make_workspace, recprune

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server with the bucket `days`; server and keys are in the environment, as a user has them."""
    pytest.importorskip("dvc_s3")
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("s3")
    client.create_bucket(Bucket="days")
    yield client
    server.stop()


def test_a_day_goes_to_a_bucket_and_comes_back_without_the_cache(store: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", "--remote", "s3://days/shop")
    recprune("run", "--day", FIRST, cwd=workspace)
    assert "testing" not in git(workspace, "show", "HEAD:.dvc/config"), "keys stay in the environment"
    before = digests(workspace)
    shutil.rmtree(workspace / ".dvc/cache")
    for kind in ("data", "vocab", "profiles", "models", "scores", "bundles"):
        for path in list((workspace / kind).rglob(FIRST)):
            shutil.rmtree(path)
    assert len(before.keys() - digests(workspace).keys()) > 30
    recprune("fetch", FIRST, cwd=workspace)
    assert digests(workspace) == before
    assert "s3://days/shop" in recprune("doctor", cwd=workspace)
    check_that_every_object_is_asked_for(workspace, store)


def check_that_every_object_is_asked_for(workspace: Path, store: Any) -> None:
    """Ask as `recprune gc` does before it removes anything."""
    with chdir(workspace):
        named = [objects.of_folder(Path(path)) for path in objects.digests_at(FIRST) if not path.startswith("reports")]
        whole = sorted({digest for each in named if each for digest in each.objects})
        assert len(whole) > 10
        assert objects.not_in_remote(whole) == {}
        store.delete_object(Bucket="days", Key=f"shop/files/md5/{whole[0][:2]}/{whole[0][2:]}")
        assert objects.not_in_remote(whole) == {whole[0]: f"{objects.place(Path(), whole[0])} is not in the remote"}
