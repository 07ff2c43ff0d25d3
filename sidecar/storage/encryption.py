"""Encryption at rest: recorded bodies, and what the standby keeps of records, under a key of the operator's.

AES-256-GCM. Every ciphertext names its key, so that old keys go on opening what they closed while a new one closes what
is new, and is bound to what it is about: it opens nowhere else. What cannot be opened is unknown, and never taken for
absent.

The keys are lines of 64 hexadecimal digits, from a file (ENCRYPTION_KEYS, made with one key on first use) or printed by
a command (ENCRYPTION_KEY_COMMAND). The first closes, all open; `none` as the first closes nothing any more.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.exc import SQLAlchemyError

from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.storage.made_once import read_or_make

VAULT: Final = "understudy_vault"
"""The attribute of an engine's dialect by which its encrypted columns find their vault."""
MARK: Final = "enc1:"
HEAD: Final = len(MARK) + 9
"""Characters before the ciphertext: the mark, the key's id and a colon."""
NONCE: Final = 12
PATIENCE: Final = 30.0
"""Seconds that the command has to print the keys."""
_HEAD = re.compile(r"enc1:[0-9a-f]{8}:")
_KEY = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class Locked(SQLAlchemyError):
    """A ciphertext cannot be opened: its key is not here, or it was altered. To a database's reader: it failed."""


class Vault:
    """Closes and opens texts. Thread-safe."""

    def __init__(self, keys: Sequence[bytes] = (), *, closes: bool = True) -> None:
        self._ciphers = {sha256(b"understudy\0" + key).hexdigest()[:8]: AESGCM(key) for key in keys}
        self._current = next(iter(self._ciphers)) if closes and keys else None

    @property
    def head(self) -> str | None:
        """How what this vault closes begins; None: it closes nothing."""
        return None if self._current is None else f"{MARK}{self._current}:"

    def close(self, text: str, about: str) -> str:
        """The ciphertext, or the text itself when this vault closes nothing. `about` must be told again to open it."""
        if self._current is None:
            return text
        nonce = os.urandom(NONCE)
        sealed = nonce + self._ciphers[self._current].encrypt(nonce, text.encode(), about.encode())
        return f"{MARK}{self._current}:{b64encode(sealed).decode()}"

    def open(self, text: str, about: str) -> str:
        """The text that was closed; one that never was is returned as it is. Raises Locked."""
        if not is_closed(text):
            return text
        cipher = self._ciphers.get(text[len(MARK) : HEAD - 1])
        if cipher is None:
            raise Locked(f"there is no key {text[len(MARK) : HEAD - 1]} here")
        try:
            sealed = b64decode(text[HEAD:], validate=True)
            return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], about.encode()).decode()
        except (ValueError, InvalidTag):
            raise Locked("a ciphertext was altered, or is not about this") from None

    def opened(self, bodies: Mapping[str, Any]) -> Mapping[str, Any]:
        """A bodies document in the clear. A body that cannot be opened has `locked`, the reason, and no content."""
        found = {}
        for side, message in bodies.get("http", {}).items():
            content = message.get("body", {}).get("content")
            if isinstance(content, str) and is_closed(content):
                try:
                    body = {"content": self.open(content, about(str(bodies.get("event", {}).get("id")), side))}
                except Locked as locked:
                    body = {"locked": str(locked)}
                found[side] = {"body": body}
        return {**bodies, "http": {**bodies["http"], **found}} if found else bodies


def about(event_id: str, side: str) -> str:
    """What the ciphertext of a recorded body is bound to."""
    return f"{event_id}/{side}"


def is_closed(text: str) -> bool:
    return text.startswith(MARK) and _HEAD.match(text) is not None


def open_vault(settings: Settings) -> Vault:
    """The vault that the settings name; without any it closes nothing. Raises SettingError."""
    return _vault(settings.encryption_keys, settings.encryption_key_command)


@cache
def _vault(path: Path | None, command: str | None) -> Vault:
    if path is not None and command is not None:
        raise SettingError(f"{PREFIX}ENCRYPTION_KEYS: give it, or {PREFIX}ENCRYPTION_KEY_COMMAND; found both")
    if path is None and command is None:
        return Vault()
    name = f"{PREFIX}ENCRYPTION_KEYS: {path}" if path is not None else f"{PREFIX}ENCRYPTION_KEY_COMMAND"
    try:
        text = read_or_make(path, _fresh) if path is not None else _printed(command or "")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SettingError(f"{name}: {getattr(error, 'strerror', None) or type(error).__name__}") from None
    lines = text.decode("utf-8", "replace").split()
    closes, keys = lines[:1] != ["none"], lines[lines[:1] == ["none"] :]
    if not keys or not all(_KEY.fullmatch(key) for key in keys):
        raise SettingError(f"{name}: expected lines of 64 hexadecimal digits; found something else (hidden)")
    return Vault([bytes.fromhex(key) for key in keys], closes=closes)


def _printed(command: str) -> bytes:
    done = subprocess.run(
        shlex.split(command), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=True
    )
    return done.stdout


def _fresh() -> bytes:
    return os.urandom(32).hex().encode() + b"\n"
