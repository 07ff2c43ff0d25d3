"""What ECS 8.17 allows in the categorization fields, and which types it expects of each category.

Written down from its reference (elastic.co/docs/reference/ecs, "ECS categorization field: event.category", and those of
event.kind, event.type and event.outcome).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KINDS: Final = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
OUTCOMES: Final = {"failure", "success", "unknown"}
TYPES: Final[Mapping[str, set[str]]] = {
    "api": {
        "access", "admin", "allowed", "change", "creation", "deletion", "denied", "end", "info", "start", "user",
    },
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "driver": {"change", "end", "info", "start"},
    "email": {"info"},
    "file": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "library": {"start"},
    "malware": {"info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "package": {"access", "change", "deletion", "info", "installation", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "registry": {"access", "change", "creation", "deletion"},
    "session": {"start", "end", "info"},
    "threat": {"indicator"},
    "vulnerability": {"info"},
    "web": {"access", "error", "info"},
}  # fmt: skip
"""By category."""
SECTIONS: Final = {
    "@timestamp", "ecs", "event", "http", "url", "user", "source", "user_agent", "trace", "service", "span",
}  # fmt: skip
"""What an event may have at the top, beside `understudy`, which is our own."""


def faults(event: Mapping[str, Any]) -> list[str]:
    """What ECS does not allow of it."""
    about, found = event["event"], []
    if not str(event.get("ecs", {}).get("version", "")).startswith("8.17."):
        found.append("ecs.version")
    if about.get("kind") not in KINDS:
        found.append(f"event.kind: {about.get('kind')}")
    if about.get("outcome", "unknown") not in OUTCOMES:
        found.append(f"event.outcome: {about['outcome']}")
    categories, types = about.get("category"), about.get("type")
    if not isinstance(categories, list) or not isinstance(types, list) or not categories or not types:
        return [*found, "event.category and event.type: lists"]
    for category in categories:
        found += [f"{category}: {each}" for each in types if each not in TYPES.get(category, ())]
    return found + sorted(event.keys() - SECTIONS - {"understudy"})
