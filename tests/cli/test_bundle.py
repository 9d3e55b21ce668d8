import os
import re
from pathlib import Path

import pytest

from recprune.cli.main import app
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, SIGNATURE
from recprune.report import formats
from recprune.serving.scorer import Scorer
from recprune.serving.signature import PUBLIC_KEY, SIGNING_KEY
from tests.cli.test_serve import run
from tests.serving.test_signature import joined, write_keys
from tests.serving.test_verify import PLACE, bundle

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def keys(workspace: Path) -> None:
    """A bundle, its keys, and those that are to follow them."""
    bundle()
    write_keys()
    write_keys("new-", b"2" * 32)


def test_a_bundle_is_signed_and_signed_again_with_another_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SIGNING_KEY, "key.pem")
    assert run("sign", str(PLACE)) == 0
    assert capsys.readouterr().out == f"{PLACE} is signed with key.pem\n"
    Scorer(PLACE, public_key=Path("public.pem"))
    monkeypatch.setenv(PUBLIC_KEY, joined("public.pem", "new-public.pem"))
    assert run("sign", str(PLACE), "--key", "new-key.pem") == 0
    Scorer(PLACE, public_key=Path("new-public.pem"))
    assert run("verify", str(PLACE), "--public-key", joined("public.pem", "new-public.pem")) == 0
    assert run("verify", str(PLACE), "--public-key", "public.pem") == 1


def refused(error: type[Exception], told: str, *arguments: str) -> None:
    before = (PLACE / SIGNATURE).read_bytes() if (PLACE / SIGNATURE).exists() else None
    with pytest.raises(error, match=f"^{re.escape(told)}"):
        app(["sign", str(PLACE), *arguments])
    assert ((PLACE / SIGNATURE).read_bytes() if (PLACE / SIGNATURE).exists() else None) == before


def test_without_a_key_nothing_is_signed() -> None:
    told = f"there is no key to sign {PLACE} with; give --key FILE, or name it in RECPRUNE_SIGNING_KEY."
    refused(SettingsError, told)


def test_a_key_that_would_not_be_taken_here_does_not_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PUBLIC_KEY, "public.pem")
    told = "new-key.pem and public.pem are no pair: what is signed here would be refused here."
    refused(SettingsError, told, "--key", "new-key.pem")


def test_a_changed_bundle_is_not_made_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PUBLIC_KEY, "public.pem")
    assert run("sign", str(PLACE), "--key", "key.pem") == 0
    signature = (PLACE / SIGNATURE).read_bytes()
    bundle(shift=0.5)
    (PLACE / SIGNATURE).write_bytes(signature)
    told = f"{PLACE} was not signed with the key of public.pem, or its manifest was changed since: it must not serve."
    refused(DamagedArtefactError, told, "--key", "key.pem")
    (PLACE / "model.onnx").write_bytes(b"something else")
    refused(DamagedArtefactError, f"{PLACE}/model.onnx was changed since", "--key", "key.pem")


def test_a_public_key_option_of_nothing_is_wrong_use() -> None:
    told = f"--public-key is {os.pathsep!r}; it must name PEM files, joined by {os.pathsep!r}."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        app(["verify", str(PLACE), "--public-key", os.pathsep])


def test_a_bundle_is_made_of_the_one_before_and_a_delta(capsys: pytest.CaptureFixture[str]) -> None:
    PLACE.rename("base")
    bundle(shift=0.001)
    assert run("bundle", "delta", "base", str(PLACE), "--out", "new.delta") == 0
    size, whole = Path("new.delta").stat().st_size, sum(file.stat().st_size for file in PLACE.iterdir())
    share = f"{formats.size(size)}, {formats.percent(size / whole)} of the whole {formats.size(whole)}"
    assert capsys.readouterr().out == f"new.delta: {share}\n"
    assert run("bundle", "apply", "base", "new.delta", "--out", "made") == 0
    assert capsys.readouterr().out == "made is the bundle of 2024-01-05, every digest as it was packed\n"
    assert (Path("made") / MANIFEST).read_bytes() == (PLACE / MANIFEST).read_bytes()
    with pytest.raises(DamagedArtefactError, match="is not signed, and public"):
        app(["bundle", "apply", "base", "new.delta", "--out", "made-2", "--public-key", "public.pem"])
    assert not Path("made-2").exists()
