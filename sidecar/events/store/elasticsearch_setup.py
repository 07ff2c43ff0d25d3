"""What the store needs in a cluster, and what it got: templates, lifecycles, indices.

A template or a policy that somebody changed is left as it is. No index depends on templates: each is made with our
mappings and alias in the request itself, which no template of others undoes; one that is there already gets the fields
and the alias that it lacks. What cannot be mended so is seen by whoever asks (`elasticsearch_days`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from sidecar.events.store import StoreUnavailable
from sidecar.events.store.elasticsearch_errors import Refused, asking, part, whole_search
from sidecar.events.store.elasticsearch_fit import (
    LATE,
    META,
    digest,
    is_ours,
    lacking,
    next_policy,
    value,
)
from sidecar.events.store.elasticsearch_schema import OPEN, Names, aliases, mappings, nested, template

log = logging.getLogger(__name__)
_NO_ILM: Final = (400, 403, 404, 405)
SAMPLE: Final = 1000
"""Documents that are looked at for fields that their index did not have."""


class Setup:
    """`retention`: seconds for which days are kept, by their name."""

    def __init__(self, client: Elasticsearch, names: Names, retention: Mapping[str, float]) -> None:
        self._client = client
        self._names = names
        self._retention = retention
        self._right: set[str] = set()

    def install(self, held: bool) -> None:
        """Puts the templates, and the lifecycles where the cluster has ILM; looks at every index that is there.

        Raises StoreUnavailable."""
        self._right.clear()
        self.require_elasticsearch()
        try:
            with asking():
                self._look()
                offered = self.lifecycles(held)
                for name in self._names.all:
                    self._put_template(name, self._template(name, offered))
                pattern = ",".join((self._pattern(), self._names.checkpoints, self._names.holds))
                found = self._client.indices.get_mapping(index=pattern, ignore_unavailable=True, expand_wildcards=OPEN)
                named = self._client.indices.get_alias(index=self._pattern(), expand_wildcards=OPEN)
                for index, about in part(found).items():
                    if "mappings" in about:
                        self._mend(index, about["mappings"], part(named).get(index, {}).get("aliases", {}))
        except Refused as error:
            raise StoreUnavailable(f"cannot install the templates: {error}") from error

    def _look(self) -> None:
        """Before anything is put. Raises StoreUnavailable: what is there stands in the way."""

    def _template(self, name: str, lifecycle: bool) -> dict[str, Any]:
        return template(self._names, name, lifecycle)

    def _pattern(self) -> str:
        """All indices of exchanges."""
        return f"{self._names.exchanges}-*"

    def _aliases(self, name: str) -> dict[str, Any]:
        return aliases(self._names, name)

    def require_elasticsearch(self) -> None:
        """Raises OtherProduct where something else says its name, StoreUnavailable where nobody answers. A refusal says
        nothing: a key may not ask this, a node of the core alone has no such word."""
        with asking():
            try:
                about = self._client.info()
            except UnsupportedProductError:
                raise
            except ApiError as error:
                log.debug("what the event store is, it does not say: %s", error)
                return
        self._require_version(str(value(about.body, "version.number")))

    def _require_version(self, version: str) -> None:
        """Raises OtherProduct where it lacks what we ask for. Daily indices ask for nothing new."""

    def lifecycles(self, held: bool) -> bool:
        """Whether ILM is there for us: a cluster without it has no such endpoint, a strict one forbids it."""
        for name, age in self._retention.items():
            try:
                found = self._client.options(ignore_status=404).ilm.get_lifecycle(name=name)
                policy = next_policy(part(found).get(name, {}).get("policy"), age, held)
                if policy is not None:
                    self._client.ilm.put_lifecycle(name=name, policy=policy)
            except ApiError as error:
                if error.status_code in _NO_ILM:
                    return False
                raise
        return True

    def _put_template(self, name: str, wanted: dict[str, Any]) -> None:
        answer = self._client.options(ignore_status=404).indices.get_index_template(name=name)
        found = next((each["index_template"] for each in part(answer).get("index_templates", ())), None)
        if found is not None and not is_ours(found, wanted):
            log.info("the template %s was changed by somebody: it stays as it is", name)
            return
        note = {META: {"digest": digest(wanted)}}
        if found is None or (found.get("_meta") or {}) != note:
            self._client.indices.put_index_template(name=name, meta=note, **wanted)

    def ensure(self, index: str) -> str | None:
        """Makes an index of ours, or looks at what is there, once each. Returns why it cannot be made, None: it is
        there. Raises StoreUnavailable where the cluster does not answer."""
        if index in self._right:
            return None
        name = self._names.of(index)
        try:
            with asking():
                try:
                    self._client.indices.create(
                        index=index, mappings=mappings(self._names, name), aliases=self._aliases(name)
                    )
                except ApiError as error:
                    if error.message == "resource_already_exists_exception":
                        about = part(self._client.indices.get(index=index), index)
                        self._mend(index, about["mappings"], about["aliases"])
                    elif error.status_code in (401, 403):
                        log.warning("%s cannot be made by us (%s): the cluster makes it", index, error.message)
                    elif error.status_code < 500 and error.status_code != 429:
                        return f"{index} cannot be made: {error}"
                    else:
                        raise
        except Refused as error:
            return f"{index} cannot be looked at: {error}"
        self._right.add(index)
        return None

    def forget(self, index: str) -> None:
        """It is no longer there."""
        self._right.discard(index)

    def _mend(self, index: str, found: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Adds what is lacking. A field that is there as something else stays."""
        name = self._names.of(index)
        wanted = mappings(self._names, name)
        free = lacking(wanted, found)
        try:
            if free or str(found.get("dynamic", "true")).lower() != "false":
                late = self._late(index, free)
                meta = found.get("_meta", {})
                if late:
                    known = meta.get(META, {}).get(LATE, ())
                    meta = {**meta, META: {LATE: sorted({*known, *late})}}
                fields = nested({path: dict(kind) for path, kind in free.items()})
                self._client.indices.put_mapping(index=index, dynamic="false", properties=fields, meta=meta)
            if lack := self._aliases(name).keys() - named.keys():
                self._client.indices.put_alias(index=index, name=lack.pop())
        except ApiError as error:
            if error.status_code >= 500 or error.status_code == 429:
                raise
            log.warning("%s stays as it is: %s", index, error)

    def _late(self, index: str, fields: Mapping[str, Any]) -> list[str]:
        """Those that documents of the index have, so that they would have to be indexed anew."""
        if not fields:
            return []
        hits = whole_search(self._client.search(index=index, size=SAMPLE), {})["hits"]["hits"]
        return [path for path in fields if any(value(hit["_source"], path) is not None for hit in hits)]
