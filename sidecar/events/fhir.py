# pure
"""An event as a FHIR R4 AuditEvent, by IHE's Basic Audit Log Patterns (BALP 1.1, https://profiles.ihe.net/ITI/BALP/).

A profile is named only where all that it asks for is known: it worked, and from which address. What failed has the same
form and names none. X-Request-Id is the entity that BALP has for it; break-glass is the purpose of use BTG.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from sidecar.events.store import Event

_CODES: Final = "http://terminology.hl7.org/CodeSystem"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_PROFILES: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
_SOURCE: Final = {"system": _DCM, "code": "110153", "display": "Source Role ID"}
_DESTINATION: Final = {"system": _DCM, "code": "110152", "display": "Destination Role ID"}
_APPLICATION: Final = {"system": _DCM, "code": "110150", "display": "Application"}
_CUSTODIAN: Final = {"system": f"{_CODES}/provenance-participant-type", "code": "custodian", "display": "Custodian"}
_RECIPIENT: Final = ("IRCP", "information recipient")
_AUTHOR: Final = ("AUT", "author (originator)")
_KINDS: Final[Mapping[str, tuple[str, str, str, Mapping[str, str], Mapping[str, str], tuple[str, str]]]] = {
    "read": ("Read", "R", "read", _DESTINATION, _SOURCE, _RECIPIENT),
    "list": ("Query", "E", "search-type", _SOURCE, _DESTINATION, _RECIPIENT),
    "create": ("Create", "C", "create", _SOURCE, _DESTINATION, _AUTHOR),
    "update": ("Update", "U", "update", _SOURCE, _DESTINATION, _AUTHOR),
    "delete": ("Delete", "D", "delete", _APPLICATION, _CUSTODIAN, _AUTHOR),
}
"""Action → BALP's name, FHIR's action and interaction, the roles of client, server and person."""
_OTHER: Final = ("", "E", "operation", _SOURCE, _DESTINATION, _RECIPIENT)
_SUCCESS, _REFUSED, _FAILED, _UNKNOWN = ("0", "Success"), ("4", "Minor failure"), ("8", "Serious failure"), None


def to_audit_event(event: Event, api: str) -> dict[str, Any]:
    """`api`: what people call the upstream."""
    action = str(_at(event, "event.action") or "")
    name, code, interaction, client, server, person = _KINDS.get(action, _OTHER)
    outcome, address = _outcome(event), _at(event, "source.ip")
    patient = _at(event, "understudy.patient.id")
    made: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(_at(event, "event.id")),
        "type": {"system": f"{_CODES}/audit-event-type", "code": "rest", "display": "Restful Operation"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": interaction, "display": interaction}],
        "action": code,
        "recorded": str(event["@timestamp"]),
        "agent": [_client(client, address), _server(event, server, api), *_person(event, person)],
        "source": {"observer": {"display": f"Understudy on {_at(event, 'service.node.name')}"}},
        "entity": [*_transaction(event), *_patient(patient), _data(event, action)],
    }
    if outcome is not None:
        made["outcome"] = outcome[0]
        made["outcomeDesc"] = outcome[1]
    if name and outcome == _SUCCESS and address is not None:
        made["meta"] = {"profile": [f"{_PROFILES}.{'Patient' if patient is not None else ''}{name}"]}
    return made


def _outcome(event: Event) -> tuple[str, str] | None:
    """FHIR has no code for what nobody knows: then there is none."""
    status, outcome = _at(event, "http.response.status_code"), _at(event, "event.outcome")
    if isinstance(status, int) and 400 <= status < 500:
        return _REFUSED if status != 499 else _UNKNOWN
    return {"success": _SUCCESS, "failure": _FAILED}.get(str(outcome), _UNKNOWN)


def _client(role: Mapping[str, str], address: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"type": {"coding": [role]}, "who": {"display": "Client"}, "requestor": False}
    if address is not None:
        made["who"] = {"display": address}
        made["network"] = {"address": address, "type": "2"}
    return made


def _server(event: Event, role: Mapping[str, str], api: str) -> dict[str, Any]:
    answerer = _at(event, "understudy.answered_by")
    called = {"upstream": api, "standby": "Understudy's standby"}.get(str(answerer), "Understudy")
    node = str(_at(event, "service.node.name"))
    return {
        "type": {"coding": [role]},
        "who": {"display": called},
        "requestor": False,
        "network": {"address": node, "type": "1"},
    }


def _person(event: Event, role: tuple[str, str]) -> list[dict[str, Any]]:
    name = _at(event, "user.name")
    if not name:
        return []
    coding = {"system": f"{_CODES}/v3-ParticipationType", "code": role[0], "display": role[1]}
    made: dict[str, Any] = {
        "type": {"coding": [coding]},
        "who": {"identifier": {"value": str(name)}},
        "name": str(name),
        "requestor": True,
    }
    if _at(event, "understudy.break_glass"):
        broken = {"system": f"{_CODES}/v3-ActReason", "code": "BTG", "display": "break the glass"}
        made["purposeOfUse"] = [{"coding": [broken]}]
    return [made]


def _transaction(event: Event) -> list[dict[str, Any]]:
    request = _at(event, "http.request.id")
    if not request:
        return []
    coding = {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}
    return [{"type": coding, "what": {"identifier": {"value": str(request)}}}]


def _patient(patient: str | None) -> list[dict[str, Any]]:
    if patient is None:
        return []
    return [
        {
            "type": {"system": f"{_CODES}/audit-entity-type", "code": "1", "display": "Person"},
            "role": {"system": f"{_CODES}/object-role", "code": "1", "display": "Patient"},
            "what": {"type": "Patient", "identifier": {"value": str(patient)}},
        }
    ]


def _data(event: Event, action: str) -> dict[str, Any]:
    kind, record = _at(event, "understudy.resource.type"), _at(event, "understudy.resource.id")
    path, query = str(_at(event, "url.path") or ""), _at(event, "url.query")
    made: dict[str, Any] = {"type": {"system": f"{_CODES}/audit-entity-type", "code": "2", "display": "System Object"}}
    if action == "list":
        asked = f"{_at(event, 'http.request.method')} {path}{f'?{query}' if query else ''}"
        made["role"] = {"system": f"{_CODES}/object-role", "code": "24", "display": "Query"}
        return made | {"description": asked, "query": b64encode(asked.encode()).decode()}
    made["role"] = {"system": f"{_CODES}/object-role", "code": "4", "display": "Domain Resource"}
    return made | {"what": {"identifier": {"value": f"{kind}/{record}" if kind and record else path or "unknown"}}}


def _at(event: Event, path: str) -> Any:
    value: Any = event
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
