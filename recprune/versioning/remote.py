"""What a DVC remote may say in `.dvc/config`, which is committed: no password, no key."""

import configparser
import re
from pathlib import Path

from recprune.errors import SettingsError
from recprune.printable import holds_secret, redacted

_NAMED = re.compile(r"(ssh|hdfs|abfss?)://[^/@:]+@", re.IGNORECASE)
"""URLs in which the name before the @ is no secret: that of a user, or of a container."""
_SECRET_OPTIONS = {
    "access_key_id", "secret_access_key", "session_token", "password", "passphrase", "token", "connection_string",
    "account_key", "sas_token", "client_secret", "oss_key_id", "oss_key_secret", "gdrive_client_secret",
}  # fmt: skip
"""Options of DVC's remotes that hold a secret."""
_WAY_OUT = (
    "in the environment (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or in .dvc/config.local, which git "
    "ignores: dvc remote modify --local {name} {option} VALUE"
)


def _tells(url: str) -> bool:
    """Say whether a remote's URL holds a password, a key or a signature.

    >>> _tells("s3://KEY:SECRET@logs/x"), _tells("ssh://me@host/x"), _tells("/mnt/token=1/x")
    (True, False, False)
    """
    return "://" in url and holds_secret(_NAMED.sub(r"\1://", url))


def check_remote(url: str) -> None:
    """Refuse a remote's URL that holds a secret: DVC writes it into `.dvc/config`, and git keeps that for ever.

    Raises:
        SettingsError: it does.
    """
    if _tells(url):
        raise SettingsError(
            f"--remote {redacted(url)} holds a password or key; .dvc/config would have it, and git keeps that in every "
            f"clone. Give the URL without it, and the secret {_WAY_OUT.format(name='store', option='password')}"
        )


def committed_secrets() -> list[str]:
    """Return a sentence for every remote whose secret lies in `.dvc/config`."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(Path(".dvc/config"), encoding="utf-8")
    told = []
    for section in config.sections():
        name = section.strip("'").removeprefix("remote ").strip('"')
        found = sorted(_SECRET_OPTIONS & set(config[section]))
        if _tells(config[section].get("url", "")):
            found.append("url")
        told += [
            f".dvc/config: {option} of the remote {name} holds a secret, and git keeps it in every clone. Remove it "
            f"there, change the secret, and give the new one {_WAY_OUT.format(name=name, option=option)}"
            for option in found
        ]
    return told
