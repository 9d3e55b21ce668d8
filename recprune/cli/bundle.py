"""`recprune sign`: what a release job does with a bundle."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recprune.errors import SettingsError

out = Console(highlight=False, markup=False, soft_wrap=True)
Bundle = Annotated[Path, typer.Argument(help="A bundle: bundles/DAY, or a copy of that folder.")]


def sign(
    bundle: Bundle,
    key: Annotated[
        Path | None, typer.Option(help="PEM file of the ed25519 key that signs; default: RECPRUNE_SIGNING_KEY.")
    ] = None,
) -> None:
    """Sign a bundle, or sign it again with another key; its files must be as its manifest says.

    A signature that is there must be of one of the keys that RECPRUNE_PUBLIC_KEY names, if it names any: a changed
    bundle is not made trusted. recprune fetch brings back the signature that was stored.
    """
    from recprune.files import SIGNATURE, open_artefact
    from recprune.serving.signature import SIGNING_KEY, check_pair, check_signature, configured, trusted
    from recprune.serving.signature import sign as write_signature

    private = key or configured(SIGNING_KEY)
    if private is None:
        raise SettingsError(f"there is no key to sign {bundle} with; give --key FILE, or name it in {SIGNING_KEY}.")
    keys = trusted()
    check_pair(private, keys)
    open_artefact(bundle, "bundle")
    if keys and (bundle / SIGNATURE).exists():
        check_signature(bundle, keys)
    write_signature(bundle, private)
    out.print(f"{bundle} is signed with {private}")
