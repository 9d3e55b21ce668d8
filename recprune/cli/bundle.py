"""`recprune sign` and `recprune bundle`: what a release job does with bundles."""

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.terminal import Terminal
from recprune.errors import SettingsError

app = typer.Typer(help="Ship what changed of a bundle instead of the whole.", no_args_is_help=True)
out = Terminal(soft_wrap=True)
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


@app.command()
def delta(
    base: Annotated[Path, typer.Argument(help="The bundle that is there already.")],
    new: Annotated[Path, typer.Argument(help="The bundle that is to be made of it.")],
    to: Annotated[Path, typer.Option("--out", help="The file that is written.")],
) -> None:
    """Write what of a bundle another one does not hold: rows that changed or are new, new ids, weights.

    In the workspace of make demo, recprune bundle delta bundles/2017-02-05 bundles/2017-02-06 --out 06.delta writes
    23.2 % of the whole, and 15.3 % from 2017-02-04 to 05; most of it are the rows that the day learned.
    """
    from recprune.report import formats
    from recprune.serving.delta import make_delta

    size, whole = make_delta(base, new, to), sum(file.stat().st_size for file in new.iterdir())
    out.print(f"{to}: {formats.size(size)}, {formats.percent(size / whole)} of the whole {formats.size(whole)}")


@app.command()
def apply(
    base: Annotated[Path, typer.Argument(help="The bundle that the delta was made against.")],
    delta: Annotated[Path, typer.Argument(help="What recprune bundle delta wrote.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of the new bundle; made only when it is whole.")],
    public_key: Annotated[
        str | None, typer.Option(help="As for recprune verify; default: RECPRUNE_PUBLIC_KEY.")
    ] = None,
) -> None:
    """Make the new bundle of the one that is there and a delta; taken only if every digest is that of the whole."""
    from recprune.serving.delta import apply_delta
    from recprune.serving.signature import key_files

    keys = None if public_key is None else key_files(public_key, "--public-key")
    day = apply_delta(base, delta, to, keys)
    out.print(f"{to} is the bundle of {day}, every digest as it was packed")
