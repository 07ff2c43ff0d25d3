# pure
"""Whether what is known of a record may show something of others: a copy of their fields, or how many there are.

A record's own is what writes to it set, its id, address, times and references, and what the contract declares to be its
own. Of any other field nobody can say what changes it: once anything was written, it is known no more.
"""

from __future__ import annotations

from typing import Any

import orjson

from sidecar.contract import Resource
from sidecar.standby.answer import Answer


def may_show_others(resource: Resource, record: Any) -> str | None:
    """The first field that may; None: all are the record's own. Where it is no object, all of it may."""
    if not isinstance(record, dict):
        return "all of it"
    for name, value in record.items():
        nested = isinstance(value, (dict, list)) and name not in resource.declared_own
        if nested or name not in resource.own:
            return str(name)
    return None


def own_of(resource: Resource, body: str) -> str:
    """The record with what is its own alone."""
    record = orjson.loads(body)
    own = {name: value for name, value in record.items() if may_show_others(resource, {name: value}) is None}
    return orjson.dumps(own).decode()


def answer_may_show_others(resource: Resource, answer: Answer) -> bool:
    """The same of an answer in the upstream's own words. A refusal shows none."""
    if answer.status >= 400:
        return False
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True
    rows = value if isinstance(value, list) else [value]
    return any(may_show_others(resource, row) is not None for row in rows)
