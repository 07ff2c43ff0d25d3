"""What tests and the demo ask of a simulator's control endpoint; and the vandal, who asks HOSP itself."""

from __future__ import annotations

import base64
import json
import random
import urllib.request
from typing import Any


def users(control_url: str) -> list[tuple[str, str]]:
    """Names and passwords of staff."""
    return [(name, password) for name, password in _ask(control_url, "GET", "/users")]


def set_profile(control_url: str, name: str) -> None:
    """Switches the profile."""
    _ask(control_url, "POST", "/profile", {"name": name})


def fault(control_url: str, **asked: Any) -> None:
    """Scripts a fault: kind, and optionally method, path_prefix and times."""
    _ask(control_url, "POST", "/fault", asked)


def requests(control_url: str) -> dict[str, Any]:
    """How often each request came, and the most that were under way at once."""
    return dict(_ask(control_url, "GET", "/requests"))


def applied(control_url: str) -> list[dict[str, Any]]:
    """Writes that took effect, in order."""
    return list(_ask(control_url, "GET", "/applied"))


def _ask(control_url: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(control_url + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310 # our own simulator, http
        return json.load(answer)


def vandalise(url: str, user: tuple[str, str], dice: random.Random) -> None:
    """With one person's stolen credentials: writes a note, or writes over one. HOSP may well be failing just then."""
    token = base64.b64encode(":".join(user).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    note, over = dice.randint(1, 2000), dice.random() < 0.5
    body = {"title": "pwned", "body": "pwned by nobody"} | ({} if over else {"patient_id": 1, "staff_id": 1})
    method, target = ("PATCH", f"/notes/{note}") if over else ("POST", "/notes")
    request = urllib.request.Request(url + target, json.dumps(body).encode(), headers, method=method)
    try:
        urllib.request.urlopen(request, timeout=10).close()  # nosec B310 # our own simulator, http
    except OSError:
        return


def set_door(control_url: str, url: str) -> None:
    """Tells the vandal where the front door is."""
    _ask(control_url, "POST", "/door", {"url": url})
