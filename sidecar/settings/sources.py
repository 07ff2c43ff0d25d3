"""Where settings come from: the environment over the file named by `--config` over the defaults.

A secret may be in a file that UNDERSTUDY_NAME_FILE names. A value that does not fit is refused with the setting's
name; nothing falls back in silence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from sidecar.settings.declarations import Settings
from sidecar.settings.errors import PREFIX, SettingError


def load_settings(environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """Settings from the environment over the file over the defaults.

    Raises SettingError, naming the setting, for a value that does not fit and for a key in the file that does not
    exist. The environment is shared with others (`UNDERSTUDY_TESTS` is not ours): see `strangers`.
    """
    known = _known()
    given = {**_from_file(config, known), **_secrets(environ, known), **_named(environ, known)}
    values = {}
    for key, value in given.items():
        if value == "" and known[key].default is None:
            continue
        values[known[key].name] = _parse(key, known[key], value)
    return Settings(**values)


def strangers(environ: Mapping[str, str]) -> list[str]:
    """A warning for each UNDERSTUDY_… variable that is no setting: probably misspelt."""
    known = _known()
    ours = {*known, *_files(known), "UNDERSTUDY_TESTS"}
    keys = [key for key in environ if key.startswith(PREFIX) and key not in ours]
    return [f"{key}: no such setting{_nearest(key, known)}" for key in keys]


def _known() -> dict[str, Field[Any]]:
    return {f"{PREFIX}{declared.name.upper()}": declared for declared in fields(Settings)}


def _named(environ: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key in known}


def _files(known: Mapping[str, Field[Any]]) -> dict[str, str]:
    """The variables that name files with secrets, and the settings that those are of."""
    return {f"{key}_FILE": key for key, declared in known.items() if declared.metadata["secret"]}


def _secrets(environ: Mapping[str, str], known: Mapping[str, Field[Any]]) -> dict[str, str]:
    """Secrets in files of their own, as containers and systemd hand them out; a last newline is not part of one."""
    found = {}
    for variable, key in _files(known).items():
        path = environ.get(variable)
        if not path:
            continue
        if key in environ:
            raise SettingError(f"{key} and {variable} are both set: only one can hold")
        try:
            found[key] = Path(path).read_text().removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "not text"
            raise SettingError(f"{variable}: {path}: {said}") from None
    return found


def _parse(key: str, declared: Field[Any], value: str) -> Any:
    try:
        return declared.metadata["parse"](value)
    except ValueError as error:
        found = "(hidden)" if declared.metadata["secret"] else repr(value)
        raise SettingError(f"{key}: expected {error}; found {found}") from None


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _from_file(config: Path | None, known: Mapping[str, Any]) -> dict[str, str]:
    if config is None:
        return {}
    try:
        table = tomllib.loads(config.read_text())
    except OSError as error:
        raise SettingError(f"{config}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{config}: {error}") from None
    found = {}
    for key, value in table.items():
        full = key.upper() if key.upper().startswith(PREFIX) else PREFIX + key.upper()
        if full not in known:
            raise SettingError(f"{config}: {key}: no such setting{_nearest(full, known)}")
        if isinstance(value, (dict, list, bool)):
            raise SettingError(f"{config}: {key}: expected a string or a number; found {value!r}")
        found[full] = str(value)
    return found
