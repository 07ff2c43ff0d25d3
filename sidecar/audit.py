"""`understudy audit …`: the trail, proven, exported, kept, erased and put right.

Loaded when it is asked for, as other packages' commands are: it knows the journal, the stores and the database, and
most commands only ask the control plane.
"""

from __future__ import annotations

import click

from sidecar import keeping_commands, proof_commands
from sidecar.audit_commands import audit_affected, audit_undo


@click.group()
def audit() -> None:
    """The audit trail: prove it, export it, and put back what somebody did."""


for _command in (*proof_commands.COMMANDS, *keeping_commands.COMMANDS, audit_affected, audit_undo):
    audit.add_command(_command)
