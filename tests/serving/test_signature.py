import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, SIGNATURE, open_artefact
from recprune.registry.history import record
from recprune.serving.champion import Champion
from recprune.serving.scorer import Scorer
from recprune.serving.signature import PUBLIC_KEY, SIGNING_KEY, check_keys, check_signature, sign
from tests.serving.test_verify import PLACE, bundle, checks

pytestmark = pytest.mark.usefixtures("workspace")
KEY, PUBLIC = Path("key.pem"), Path("public.pem")


def write_keys(name: str = "", seed: bytes = b"1" * 32) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    Path(f"{name}key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path(f"{name}public.pem").write_bytes(public)


@pytest.fixture(autouse=True)
def keys(workspace: Path) -> None:
    """A bundle and two pairs of keys."""
    bundle()
    write_keys()
    write_keys("other-", b"2" * 32)


def test_a_signed_bundle_serves_and_its_digests_hold() -> None:
    sign(PLACE, KEY)
    first = (PLACE / SIGNATURE).read_bytes()
    sign(PLACE, KEY)
    assert (PLACE / SIGNATURE).read_bytes() == first, "the same bytes"
    check_signature(PLACE, PUBLIC)
    open_artefact(PLACE, "bundle")
    Scorer(PLACE, public_key=PUBLIC)
    assert checks(None, None, PUBLIC)["signature"].verdict == "passed"
    assert "has one, which was not checked" in checks(None, None)["signature"].text


def test_keys_of_openssl_are_read() -> None:
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", "o.pem"],
        ["pkey", "-in", "o.pem", "-pubout", "-out", "p.pem"],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    sign(PLACE, Path("o.pem"))
    check_signature(PLACE, Path("p.pem"))


def refused(told: str) -> None:
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        Scorer(PLACE, public_key=PUBLIC)
    assert {name: c.text for name, c in checks(None, None, PUBLIC).items()} == {"signature": told}


def test_a_bundle_without_a_signature_is_refused() -> None:
    refused(f"{PLACE} is not signed, and public.pem is configured: only signed bundles serve.")


WRONG = f"{PLACE} was not signed with the key of public.pem, or its manifest was changed since: it must not serve."


@pytest.mark.parametrize("what", ["other key", "manifest", "signature", "empty", "text"])
def test_a_wrong_signature_is_refused(what: str) -> None:
    sign(PLACE, Path("other-key.pem") if what == "other key" else KEY)
    if what == "manifest":
        (PLACE / MANIFEST).write_bytes((PLACE / MANIFEST).read_bytes() + b"\n")
    if what == "signature":
        text = (PLACE / SIGNATURE).read_text()
        (PLACE / SIGNATURE).write_text(("0" if text[0] != "0" else "1") + text[1:])
    if what in ("empty", "text"):
        (PLACE / SIGNATURE).write_text("" if what == "empty" else "no hex")
    refused(WRONG)


def test_the_environment_may_name_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PUBLIC_KEY, str(PUBLIC))
    with pytest.raises(DamagedArtefactError, match="is not signed"):
        Scorer(PLACE)
    sign(PLACE, KEY)
    Scorer(PLACE)
    monkeypatch.setenv(PUBLIC_KEY, "")
    Scorer(PLACE)


def test_an_unsigned_version_does_not_replace_a_signed_one() -> None:
    sign(PLACE, KEY)
    record("promoted", PLACE.name, PLACE.name, PLACE, "")
    with Champion(Path(), every=60, public_key=PUBLIC) as champion:
        (PLACE / SIGNATURE).unlink()
        bundle(shift=0.5)
        record("promoted", PLACE.name, PLACE.name, PLACE, "")
        champion.look()
        assert champion.problem is not None
        assert "is not signed" in champion.problem
        assert len(champion.score({"user": [1], "item": ["x"], "price": [1.0]})) == 1


def test_a_key_that_is_none_is_told() -> None:
    Path("none.pem").write_text("no key")
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    Path("locked.pem").write_bytes(locked)
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path("rsa.pem").write_bytes(rsa)
    for name in ("none.pem", "locked.pem", "absent.pem", "public.pem"):
        with pytest.raises(SettingsError, match=f"^RECPRUNE_SIGNING_KEY: {name} cannot be read as a PEM key: "):
            sign(PLACE, Path(name))
    with pytest.raises(
        SettingsError, match=r"^RECPRUNE_SIGNING_KEY: rsa.pem holds a RSAPrivateKey; it must be an Ed25"
    ):
        sign(PLACE, Path("rsa.pem"))
    with pytest.raises(SettingsError, match=r"^RECPRUNE_PUBLIC_KEY: key\.pem cannot be read as a PEM key: "):
        check_signature(PLACE, KEY)
    assert not (PLACE / SIGNATURE).exists()


def test_without_a_key_cryptography_is_not_needed() -> None:
    probe = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path; from recprune.serving.scorer import Scorer; Scorer(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", probe, str(PLACE)], check=True)


def test_keys_are_checked_before_any_work(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    check_keys()
    monkeypatch.setenv(SIGNING_KEY, str(workspace / KEY))
    check_keys()
    monkeypatch.setenv(PUBLIC_KEY, str(workspace / PUBLIC))
    check_keys()
    monkeypatch.setenv(PUBLIC_KEY, str(workspace / "other-public.pem"))
    with pytest.raises(SettingsError, match=r"key\.pem and .*other-public\.pem are no pair: what is signed here"):
        check_keys()
    monkeypatch.setenv(PUBLIC_KEY, "public.pem")
    with pytest.raises(SettingsError, match=r"^RECPRUNE_PUBLIC_KEY is public\.pem; commands change their folder"):
        check_keys()
    monkeypatch.delenv(SIGNING_KEY)
    monkeypatch.setenv(PUBLIC_KEY, str(workspace / "none"))
    with pytest.raises(SettingsError, match=r"^RECPRUNE_PUBLIC_KEY: .*none cannot be read as a PEM key: "):
        check_keys()


def test_an_explicit_key_goes_before_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    sign(PLACE, KEY)
    monkeypatch.setenv(PUBLIC_KEY, str(workspace / "other-public.pem"))
    assert "failed" not in {c.verdict for c in checks(None, None, PUBLIC).values()}


@pytest.mark.parametrize("variable", [SIGNING_KEY, PUBLIC_KEY])
def test_with_a_key_but_without_cryptography_the_package_is_named(variable: str, workspace: Path) -> None:
    probe = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from recprune.errors import SettingsError; from recprune.serving.signature import check_keys\n"
        "try: check_keys()\nexcept SettingsError as error: print(error)"
    )
    environment = {**os.environ, variable: str(workspace / KEY)}
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == f'{variable} names a key, which needs a package: pip install "recprune[sign]"\n'


def joined(*names: str, folder: Path = Path()) -> str:
    return os.pathsep.join(str(folder / name) for name in names)


def test_while_keys_are_changed_either_may_have_signed() -> None:
    """Both are named, bundles of the old key go on serving; when only the new one is named they are refused."""
    old, new = PUBLIC, Path("other-public.pem")
    sign(PLACE, KEY)
    Scorer(PLACE, public_key=[new, old])
    assert checks(None, None, [new, old])["signature"].text == "the manifest was signed with the key of public.pem"
    told = f"{PLACE} was not signed with the key of other-public.pem, or its manifest was changed since: "
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}it must not serve"):
        Scorer(PLACE, public_key=new)
    sign(PLACE, Path("other-key.pem"))
    Scorer(PLACE, public_key=new)
    assert checks(None, None, [new, old])["signature"].text.endswith("of other-public.pem")
    write_keys("third-", b"3" * 32)
    sign(PLACE, Path("third-key.pem"))
    with pytest.raises(DamagedArtefactError, match=r"not signed with the key of other-public\.pem or public\.pem, or"):
        Scorer(PLACE, public_key=[new, old])


def test_of_several_keys_each_must_be_one() -> None:
    sign(PLACE, KEY)
    with pytest.raises(SettingsError, match=r"^RECPRUNE_PUBLIC_KEY: absent\.pem cannot be read as a PEM key: "):
        Scorer(PLACE, public_key=[PUBLIC, Path("absent.pem")])


def test_the_environment_may_name_several_keys(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    sign(PLACE, KEY)
    monkeypatch.setenv(PUBLIC_KEY, joined("other-public.pem", "public.pem", folder=workspace))
    monkeypatch.setenv(SIGNING_KEY, str(workspace / KEY))
    check_keys()
    Scorer(PLACE)
    monkeypatch.setenv(PUBLIC_KEY, joined("other-public.pem", folder=workspace) + os.pathsep)
    with pytest.raises(DamagedArtefactError, match="was not signed with the key of"):
        Scorer(PLACE)
    monkeypatch.setenv(PUBLIC_KEY, os.pathsep)
    told = f"RECPRUNE_PUBLIC_KEY is {os.pathsep!r}; it must name PEM files, joined by {os.pathsep!r}."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        Scorer(PLACE)
