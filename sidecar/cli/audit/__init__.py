"""`understudy audit …`: the trail, proven, exported, kept, erased and put right.

Loaded when it is asked for, as other packages' commands are: it knows the journal, the stores and the database, and
most commands only ask the control plane.
"""

from __future__ import annotations

import click

from sidecar.cli.audit import holds, proof
from sidecar.cli.audit.erase import audit_erase
from sidecar.cli.audit.undo import audit_affected, audit_undo


@click.group()
def audit() -> None:
    """The audit trail: prove it, export it, and put back what somebody did."""


for _command in (*proof.COMMANDS, *holds.COMMANDS, audit_erase, audit_affected, audit_undo):
    audit.add_command(_command)
