"""Signed bundles: an ed25519 signature (RFC 8032) of the manifest, which holds the digests of all other files.

Keys are PEM files, as `openssl genpkey -algorithm ed25519 -out key.pem` and `openssl pkey -in key.pem -pubout
-out public.pem` write them. Needs the package cryptography (`recprune[sign]`), only where a key is configured.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, SIGNATURE, write_text

SIGNING_KEY, PUBLIC_KEY = "RECPRUNE_SIGNING_KEY", "RECPRUNE_PUBLIC_KEY"
"""Environment variables that name the key files: a key is a secret or a fact of a machine, not a setting."""
PublicKeys = Path | Sequence[Path] | None
"""One file, several of which any may have signed (while keys are changed), or those of RECPRUNE_PUBLIC_KEY."""


def configured(variable: str) -> Path | None:
    """Return the key file that the environment names, if it names one."""
    named = os.environ.get(variable)
    return Path(named) if named else None


def key_files(named: str, whence: str = PUBLIC_KEY) -> tuple[Path, ...]:
    """Return the files of a list as PATH is one.

    Raises:
        SettingsError: it is a list of nothing, which must not mean that anything may serve.

    >>> [str(file) for file in key_files(f"new.pem{os.pathsep}old.pem")]
    ['new.pem', 'old.pem']
    """
    files = tuple(Path(part) for part in named.split(os.pathsep) if part)
    if not files:
        raise SettingsError(f"{whence} is {named!r}; it must name PEM files, joined by {os.pathsep!r}.")
    return files


def trusted(given: PublicKeys = None) -> tuple[Path, ...]:
    """Return the public keys of whom bundles are taken: those given, or else those of the environment, if any."""
    if isinstance(given, Path):
        return (given,)
    named = os.environ.get(PUBLIC_KEY)
    return tuple(given or ()) or (key_files(named) if named else ())


def check_keys() -> None:
    """Check, before any work, that the keys that the environment names can be read and belong together.

    Raises:
        SettingsError: one cannot be read, or bundles that are signed here would be refused here.
    """
    private, public = configured(SIGNING_KEY), trusted()
    for variable, keys in ((SIGNING_KEY, (private,) if private else ()), (PUBLIC_KEY, public)):
        for key in keys:
            if not key.is_absolute():
                raise SettingsError(f"{variable} is {key}; commands change their folder: give the whole path.")
    if private:
        check_pair(private, public)
    for key in public:
        _public(key)


def check_pair(private: Path, public: Sequence[Path]) -> None:
    """Check that what a key signs is taken here; where no public key is named, anything is.

    Raises:
        SettingsError: a key cannot be read, or none of the public keys is the private one's other half.
    """
    signing = _private(private).public_key()
    if public and all(signing != _public(key) for key in public):
        raise SettingsError(f"{private} and {_listed(public)} are no pair: what is signed here would be refused here.")


def sign(bundle: Path, key: Path) -> None:
    """Write the manifest's signature beside it; the same key and manifest give the same bytes.

    Raises:
        SettingsError: the key cannot be read, or is no ed25519 private key.
    """
    signature = _private(key).sign((bundle / MANIFEST).read_bytes())
    write_text(bundle / SIGNATURE, signature.hex() + "\n")


def check_signature(bundle: Path, keys: Path | Sequence[Path]) -> Path:
    """Check that the holder of the other half of one of the keys signed the bundle's manifest; return that key.

    Raises:
        DamagedArtefactError: there is no signature, or it is another one's.
        SettingsError: one of the keys cannot be read, or is no ed25519 public key.
    """
    public, file = {key: _public(key) for key in trusted(keys)}, bundle / SIGNATURE
    from cryptography.exceptions import InvalidSignature

    if not file.exists():
        raise DamagedArtefactError(
            f"{bundle} is not signed, and {_listed(list(public))} is configured: only signed bundles serve."
        )
    for key, each in public.items():
        try:
            each.verify(bytes.fromhex(file.read_text(encoding="ascii").strip()), (bundle / MANIFEST).read_bytes())
        except (InvalidSignature, ValueError, OSError):
            continue
        return key
    raise DamagedArtefactError(
        f"{bundle} was not signed with the key of {_listed(list(public))}, or its manifest was changed since: "
        "it must not serve."
    )


def _listed(keys: Sequence[Path]) -> str:
    return " or ".join(map(str, keys))


def _private(key: Path) -> Any:
    _need_cryptography(SIGNING_KEY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _loaded(key, lambda data: load_pem_private_key(data, None), Ed25519PrivateKey, SIGNING_KEY)


def _public(key: Path) -> Any:
    _need_cryptography(PUBLIC_KEY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _loaded(key, load_pem_public_key, Ed25519PublicKey, PUBLIC_KEY)


def _loaded(key: Path, load: Any, kind: type, variable: str) -> Any:
    try:
        found = load(key.read_bytes())
    except (OSError, ValueError, TypeError) as error:  # TypeError: it has a password
        raise SettingsError(f"{variable}: {key} cannot be read as a PEM key: {error}") from None
    if not isinstance(found, kind):
        raise SettingsError(f"{variable}: {key} holds a {type(found).__name__}; it must be an {kind.__name__}.")
    return found


def _need_cryptography(variable: str) -> None:
    if find_spec("cryptography") is None:
        raise SettingsError(f'{variable} names a key, which needs a package: pip install "recprune[sign]"')
