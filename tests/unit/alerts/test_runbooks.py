"""Runbooks: every command of ours in them is one that there is, with the options that it needs."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import click
import pytest

from alerts.message import RUNBOOKS
from sidecar.cli import understudy

COMMANDS = sorted(
    {
        (path.stem, command)
        for path in Path(RUNBOOKS).glob("*.md")
        for command in re.findall(r"`(understudy(?: [^`]*)?)`", path.read_text())
    }
)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize(("runbook", "command"), COMMANDS)
def test_each_command_is_understood_as_written(runbook: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # what asks back is told yes
    words = shlex.split(command)[1:]
    at: click.Group = understudy
    context = click.Context(at, info_name="understudy")
    while words:
        name = words.pop(0)
        found = at.get_command(context, name)
        assert found is not None, f"{command}: there is no such command"
        if not (isinstance(found, click.Group) and words and found.get_command(context, words[0])):
            found.make_context(name, words, parent=context)  # what it does not understand it refuses
            return
        context, at = click.Context(found, context, name), found
