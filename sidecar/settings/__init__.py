"""Settings: declared in `declarations`, parsed by `parsers`, read by `sources`. Nothing is read at import."""

from sidecar.settings.declarations import Settings
from sidecar.settings.errors import PREFIX, SettingError
from sidecar.settings.networks import Networks, is_address, within
from sidecar.settings.parsers import duration
from sidecar.settings.person import this_person
from sidecar.settings.sources import load_settings, strangers

__all__ = [
    "PREFIX",
    "Networks",
    "SettingError",
    "Settings",
    "duration",
    "is_address",
    "load_settings",
    "strangers",
    "this_person",
    "within",
]
