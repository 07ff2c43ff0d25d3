"""`understudy audit verify | export | key | rotate-key`: proving that the journal is as it was written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import orjson

from sidecar import __version__
from sidecar.cli.audit.options import FROM, PATIENT, TO, USER, moment
from sidecar.contract import Contract
from sidecar.control.client import ControlError
from sidecar.events import audit_entries, trail
from sidecar.events.cef import to_cef
from sidecar.events.fhir import to_audit_event
from sidecar.events.store import NOTHING_RECORDED, Event
from sidecar.events.store.factory import kept_checkpoints
from sidecar.events.syslog import to_syslog
from sidecar.journal.export import export
from sidecar.journal.head import own_key, public_half
from sidecar.journal.keys import SigningError, SigningKey, public_pem, read_public, write_public
from sidecar.journal.paths import PUBLIC_KEY
from sidecar.journal.statements import BadStatement, rotate, statements_of, vouch_for
from sidecar.journal.verify import Verdict, verify, verify_node
from sidecar.settings import Settings, this_person


@click.command("verify")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--public-key", type=click.Path(path_type=Path), help="PEM: who must have signed it.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def audit_verify(settings: Settings, file: Path | None, public_key: Path | None, form: str) -> None:
    """Prove that nothing was altered, cut, reordered or removed: in the journal, or in an exported FILE.

    Only this node's own key is trusted, or --public-key, and only a journal no older than the head kept beside the key.
    An export is verified by itself: all that is needed is FILE and the public key (`understudy audit key`).
    """
    many = os.cpu_count() or 1
    trusted = read_public(public_key) if public_key else own_key(settings)
    if trusted is None:
        raise SigningError(f"{settings.sign_key_file} cannot be read: --public-key tells who must have signed")
    if file is not None:
        verdict = verify([file], trusted=trusted, processes=many)
    else:
        verdict = verify_node(settings, kept_checkpoints(settings), trusted=trusted, processes=many)
    click.echo(json.dumps(verdict.as_json()) if form == "json" else _said(verdict))
    sys.exit(0 if verdict.ok else 1)


def _said(verdict: Verdict) -> str:
    if not verdict.ok:
        bad = verdict.first_bad or {}
        return f"NOT ok: {bad.get('file')}, line {bad.get('line')}: {bad.get('why')}"
    parts = [f"ok: {verdict.events} events, nothing altered, reordered or removed"]
    if verdict.signed is not None:
        parts.append(f"signed up to {verdict.signed[:19]}Z")
    if verdict.signed is not None and verdict.unsigned:
        parts.append(f"{verdict.unsigned} events since are not signed yet")
    return "\n".join(["; ".join(parts), *verdict.notes])


def _written(settings: Settings, form: str) -> Callable[[Event], bytes]:
    """How an event is written in that form."""
    if form == "fhir":
        api = Contract.load(settings.contract).name
        return lambda event: orjson.dumps(to_audit_event(event, api))
    if form == "cef":
        return lambda event: to_cef(event, __version__).encode()
    if form == "syslog":
        return lambda event: to_syslog(event, __version__).encode()
    return orjson.dumps


def _write_events(settings: Settings, form: str, chosen: trail.Chosen, out: Path | None) -> None:
    written = _written(settings, form)
    stream = out.open("wb") if out else sys.stdout.buffer
    try:
        for event in trail.everything(settings.data):
            if chosen.holds(event):
                stream.write(written(event) + b"\n")
        stream.flush()
    except trail.DamagedTrail as error:
        raise click.ClickException(f"{settings.data / trail.FOLDER}: {error}") from None
    finally:
        if out:
            stream.close()


@click.command("export")
@click.option("--out", type=click.Path(path_type=Path), help="A file; unset: standard output.")
@click.option(
    "--format", "form", type=click.Choice(["journal", "json", "cef", "syslog", "fhir"]), default="journal",
    show_default=True,
    help="json: events of ECS; cef: ArcSight's Common Event Format; syslog: RFC 5424; fhir: AuditEvents of FHIR R4 by "
    "IHE's Basic Audit profile. One a line, not signed.",
)  # fmt: skip
@FROM
@TO
@USER
@PATIENT
@click.pass_obj
def audit_export(
    settings: Settings, out: Path | None, form: str, begin: str | None, end: str | None, user: str | None,
    patient: str | None,
) -> None:  # fmt: skip
    """Write the journal's lines and the signatures, to be verified elsewhere by anybody with the public key.

    With another --format: who did what on this node, for AUDIT_RETENTION, as other audit repositories read it; all of
    it, or by time, person and patient. Of the journal only the whole can be verified: it takes none of these.
    """
    chosen = trail.Chosen(since=moment("--from", begin), until=moment("--to", end), user=user, patient=patient)
    if not any((settings.data / folder).is_dir() for folder in ("journal", trail.FOLDER)):
        raise ControlError(f"{settings.data}: {NOTHING_RECORDED}")
    if form != "journal":
        _write_events(settings, form, chosen, out)
        return
    if chosen != trail.Chosen():
        raise click.UsageError(
            "a part of the journal proves nothing: choose a --format for --from, --to, --user, --patient"
        )
    paths, key = (settings.data / "journal").glob("*.jsonl"), settings.sign_key_file
    signing = SigningKey(key) if os.access(key, os.R_OK) else None
    if signing is None:
        click.echo(f"understudy: warning: {key} cannot be read: the export does not end with a signature", err=True)
    stream = out.open("wb") if out else sys.stdout.buffer
    try:
        for line in export(paths, statements_of(settings), signing):
            stream.write(line)
        stream.flush()
    except BadStatement as bad:
        raise ControlError(f"{statements_of(settings).path}, line {bad.line}: {bad}") from None
    finally:
        if out:
            stream.close()


@click.command("key")
@click.pass_obj
def audit_key(settings: Settings) -> None:
    """Print the public key of the journal's signatures (PEM), to be given to whoever verifies exports."""
    click.echo(public_pem(SigningKey(settings.sign_key_file).private()), nl=False)


@click.command("rotate-key")
@click.option(
    "--to", type=click.Path(dir_okay=False, path_type=Path),
    help="Where the key is a secret that only its keeper can replace: this FILE, made where there is none, is vouched"
    " for, and signs once it was put in SIGN_KEY's place.",
)  # fmt: skip
@click.pass_obj
def audit_rotate_key(settings: Settings, to: Path | None) -> None:
    """Sign with a new key from now on; the old one vouches for it. The old key is kept beside it, to be put away."""
    key = SigningKey(settings.sign_key_file)
    if to is None and not os.access(key.path.parent, os.W_OK):
        raise ControlError(f"UNDERSTUDY_SIGN_KEY: {key.path.parent} cannot be written to: use --to FILE")
    try:
        audit_entries.record(settings, "rotate_key", this_person(), "")
        if to is not None:
            vouch_for(SigningKey(to), key, statements_of(settings))
            click.echo(f"{to} is vouched for: put it in the place of {key.path}, which signs until then")
            return
        old = rotate(key, statements_of(settings))
        write_public(key, settings.data / PUBLIC_KEY)
        write_public(key, public_half(key.path))
    except BadStatement as bad:
        raise ControlError(f"{statements_of(settings).path}, line {bad.line}: {bad}") from None
    except OSError as error:
        raise ControlError(f"{error.filename}: {error.strerror}") from None
    click.echo(f"signing with a new key; the old one is {old}. Give out the new public key: understudy audit key")


COMMANDS: Final = (audit_verify, audit_export, audit_key, audit_rotate_key)
