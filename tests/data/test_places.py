"""Paths and URLs; the object store is a real S3 API on loopback where moto and s3fs are installed."""

import functools
import http.server
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.files import FilesSource
from recprune.data.sources.places import matching, open_raw, shown, version
from recprune.data.sources.source import MissingDayError
from recprune.errors import RecpruneError, SettingsError
from recprune.settings import FeatureSettings, SchemaSettings

DAY = date(2024, 1, 5)
SCHEMA = SchemaSettings(
    negative_sampling_rate=1.0, label="click", time="at", key=(), features={"user": FeatureSettings(type="int64")}
)


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback; yields the URL of `tmp_path`."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket `logs` of an S3 server on loopback."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    store.makedirs("logs", exist_ok=True)
    yield store
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def source(path: str, file_format: str = "csv", **more: Any) -> FilesSource:
    settings = FilesSettings(path=path, format=file_format, first_day="2024-01-01", **more)  # type: ignore[arg-type]
    return FilesSource(settings, SCHEMA)


def users(found: FilesSource) -> list[Any]:
    return [value for batch in found.read(DAY) for value in batch.rows["user"].to_pylist()]


def fill(store: Any, root: str) -> None:
    """Put a day of two CSV files, a packed one, and a Parquet file into a store."""
    store.pipe(f"{root}/2024-01-05/b.csv", b"user\n3\n")
    store.pipe(f"{root}/2024-01-05/a.csv.gz", pa.compress(b"user\n1\n2\n", codec="gzip", asbytes=True))
    store.pipe(f"{root}/2024-01-05/.hidden.csv", b"user\n9\n")
    store.pipe(f"{root}/2024-01-06/a.csv", b"user\n9\n")
    with store.open(f"{root}/2024-01-05/a.parquet", "wb") as file:
        pq.write_table(pa.table({"user": [5, 6]}), file)
    store.pipe(f"{root}/all.csv", b"at,user\n2024-01-04,9\n2024-01-05,7\n")


def check(root: str) -> None:
    """Read what `fill` wrote."""
    assert users(source(f"{root}/{{day}}/*.csv*")) == ["1", "2", "3"]
    assert users(source(f"{root}/{{day}}/b.csv")) == ["3"]
    assert users(source(f"{root}/{{day}}/*.parquet", "parquet")) == [5, 6]
    with pytest.raises(MissingDayError, match=r"^no file matches .+2024-01-05/c\.csv$"):
        users(source(f"{root}/{{day}}/c.csv"))


def test_a_store_in_memory(memory: Any, workspace: Path) -> None:
    fill(memory, "/logs")
    check("memory://logs")
    assert users(source("memory://logs/all.csv", days="by_time")) == ["7"]
    memory.pipe("/logs/all.csv", b"at,user\n2024-01-05,8\n")
    assert users(source("memory://logs/all.csv", days="by_time")) == ["8"]


def test_a_local_store(tmp_path: Path, workspace: Path) -> None:
    fill(fsspec.filesystem("file", auto_mkdir=True), f"{tmp_path}/logs")
    check(f"file://{tmp_path}/logs")
    assert users(source(f"file://{tmp_path}/logs/all.csv", days="by_time")) == ["7"]


def test_an_object_store(bucket: Any, workspace: Path) -> None:
    fill(bucket, "logs/clicks")
    check("s3://logs/clicks")
    assert users(source("s3://logs/clicks/all.csv", days="by_time")) == ["7"]
    bucket.pipe("logs/clicks/all.csv", b"at,user\n2024-01-05,8\n")
    assert users(source("s3://logs/clicks/all.csv", days="by_time")) == ["8"]
    with pytest.raises(MissingDayError, match=r"^no file matches s3://elsewhere/\*\.csv$"):
        users(source("s3://elsewhere/*.csv", days="by_time"))


def test_an_object_store_that_does_not_answer(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    for path in ("s3://logs/*.csv", "s3://logs/a.csv"):
        with pytest.raises(RecpruneError, match=r"^s3://logs/.+\.csv cannot be reached \(.+"):
            matching(path)


def test_a_website(website: str, workspace: Path) -> None:
    fill(fsspec.filesystem("file", auto_mkdir=True), str(workspace))
    assert users(source(f"{website}/{{day}}/b.csv")) == ["3"]
    assert users(source(f"{website}/{{day}}/a.csv.gz")) == ["1", "2"]
    assert users(source(f"{website}/all.csv", days="by_time")) == ["7"]
    with pytest.raises(MissingDayError, match=r"^no file matches http://127\.0\.0\.1:[0-9]+/2024-01-05/c\.csv$"):
        users(source(f"{website}/{{day}}/c.csv"))


def test_a_store_that_does_not_answer_fails_and_is_no_missing_day() -> None:
    for name in ("*", "a"):
        with pytest.raises(RecpruneError) as caught:  # port 9 is for discarding: nobody listens
            matching(f"http://me:secret@127.0.0.1:9/{name}.csv")
        assert "secret" not in str(caught.value)
        assert str(caught.value).startswith(f"http://127.0.0.1:9/{name}.csv cannot be reached (")


def test_a_package_that_is_not_installed_is_named() -> None:
    if fsspec.utils.can_be_local("gs://x"):
        pytest.skip("gcsfs is installed")
    try:
        import gcsfs  # noqa: F401
    except ImportError:
        with pytest.raises(RecpruneError, match=r"^gs://logs/a\.csv needs the package gcsfs, which is not installed; "):
            matching("gs://logs/a.csv")


def test_other_protocols_are_refused() -> None:
    for url in ("ftp://x/{day}.csv", "simplecache::s3://x/{day}.csv", "reference://{day}.csv", "github://a/{day}.csv"):
        with pytest.raises(SettingsError, match=r"ingest\.files\.path is '.+'; it begins with .+://; recprune reads"):
            source(url)
    with pytest.raises(SettingsError, match=r"^ftp://x/a\.csv cannot be read: it begins with ftp://"):
        open_raw("ftp://x/a.csv")


def test_a_local_file_changes_its_version_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a")
    before = version(str(path))
    assert version(str(path)) == before
    path.write_text("b")
    assert version(str(path)) != before


def test_what_people_see_has_no_secret() -> None:
    assert (
        shown("no file matches s3://key:secret@host/a.csv?token=x (in /w)") == "no file matches s3://host/a.csv (in /w)"
    )
    assert shown("plain?.csv") == "plain?.csv"
