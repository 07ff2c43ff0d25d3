"""`understudy keys`: which keys this installation has, by fingerprint, and a new one where an old one is lost."""

from __future__ import annotations

import click

from sidecar.settings import Settings


@click.command()
@click.option("--new-sign-key", is_flag=True, help="The old sign key is lost for good: make another.")
@click.pass_obj
def keys(settings: Settings, new_sign_key: bool) -> None:
    """Show the fingerprints of the seal and sign keys, so that a backup can be told from another."""
    from sidecar.journal.keys import SigningKey, raw_public
    from sidecar.standby.outbox.seal_key import read, shown

    if new_sign_key:
        if settings.sign_key_file.exists():
            raise click.ClickException(f"{settings.sign_key_file} is there; `audit rotate-key` replaces a key that is")
        SigningKey(settings.sign_key_file).private()
    seal = read(settings.seal_key_file)
    sign = raw_public(SigningKey(settings.sign_key_file).private()) if settings.sign_key_file.exists() else None
    click.echo(f"seal  {'none yet' if seal is None else shown(seal):16}  {settings.seal_key_file}")
    click.echo(f"sign  {'none yet' if sign is None else sign[:16]:16}  {settings.sign_key_file}")
