# pure
"""Every field of an event that is searched or counted, once: its name, its kind, and its column in the embedded store.

A field that is not named here is kept in the document and not indexed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a field holds. Elasticsearch's names of the basic distribution's core types."""

    KEYWORD = "keyword"
    LONG = "long"
    TIME = "date_nanos"
    ADDRESS = "ip"
    TEXT = "text"
    FLATTENED = "flattened"


@dataclass(frozen=True)
class Field:
    """`column`: its own in the embedded store; without one it is read out of the document. `words`: searchable text."""

    name: str
    kind: Kind
    column: str | None = None
    words: bool = False


FIELDS: Final = (
    Field("@timestamp", Kind.TIME),
    Field("ecs.version", Kind.KEYWORD),
    Field("event.id", Kind.KEYWORD, column="id"),
    Field("event.kind", Kind.KEYWORD),
    Field("event.category", Kind.KEYWORD),
    Field("event.type", Kind.KEYWORD),
    Field("event.action", Kind.KEYWORD, column="action"),
    Field("event.outcome", Kind.KEYWORD, column="outcome"),
    Field("event.duration", Kind.LONG, column="duration"),
    Field("event.sequence", Kind.LONG),
    Field("event.hash", Kind.KEYWORD),
    Field("event.start", Kind.TIME),
    Field("event.end", Kind.TIME),
    Field("http.request.id", Kind.KEYWORD, column="request_id"),
    Field("http.request.method", Kind.KEYWORD),
    Field("http.request.bytes", Kind.LONG),
    Field("http.request.mime_type", Kind.KEYWORD),
    Field("http.response.status_code", Kind.LONG, column="status"),
    Field("http.response.bytes", Kind.LONG),
    Field("http.response.mime_type", Kind.KEYWORD),
    Field("url.path", Kind.KEYWORD, words=True),
    Field("url.query", Kind.KEYWORD, words=True),
    Field("user.name", Kind.KEYWORD, column="user", words=True),
    Field("source.ip", Kind.ADDRESS, column="address"),
    Field("user_agent.original", Kind.KEYWORD, words=True),
    Field("trace.id", Kind.KEYWORD),
    Field("service.name", Kind.KEYWORD),
    Field("service.node.name", Kind.KEYWORD),
    Field("understudy.words", Kind.TEXT),
    Field("understudy.endpoint", Kind.KEYWORD, column="endpoint"),
    Field("understudy.endpoint_id", Kind.KEYWORD),
    Field("understudy.resource.type", Kind.KEYWORD, column="resource_type", words=True),
    Field("understudy.resource.id", Kind.KEYWORD, column="resource_id", words=True),
    Field("understudy.patient.id", Kind.KEYWORD, column="patient_id"),
    Field("understudy.answered_by", Kind.KEYWORD, column="answered_by"),
    Field("understudy.identity", Kind.KEYWORD),
    Field("understudy.purpose", Kind.KEYWORD, column="purpose"),
    Field("understudy.outcome", Kind.KEYWORD),
    Field("understudy.upstream_outcome", Kind.KEYWORD, column="upstream_outcome"),
    Field("understudy.shows", Kind.KEYWORD),
    Field("understudy.reason", Kind.KEYWORD),
    Field("understudy.circuit", Kind.KEYWORD),
    Field("understudy.verdict", Kind.KEYWORD, column="verdict"),
    Field("understudy.findings", Kind.KEYWORD),
    Field("understudy.break_glass", Kind.KEYWORD, column="break_glass"),
    Field("understudy.client", Kind.KEYWORD, column="client"),
    Field("understudy.attempts", Kind.FLATTENED),
    Field("understudy.change.before", Kind.KEYWORD),
    Field("understudy.change.after", Kind.KEYWORD),
    Field("understudy.body.before", Kind.KEYWORD),
    Field("understudy.body.request", Kind.KEYWORD),
    Field("understudy.body.response", Kind.KEYWORD),
)
