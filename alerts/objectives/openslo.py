"""SLO files: OpenSLO v1 documents, checked, and what they promise. An error names file, document and field."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, cast, get_args
from zoneinfo import available_timezones

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from alerts.objectives.calendar import Calendar
from alerts.objectives.model import Objective, View
from sidecar.contract.document import LOADER
from sidecar.timeunits import MILLISECOND, SECOND

log = logging.getLogger(__name__)
PASSED_OVER: Final = frozenset({"AlertPolicy", "AlertCondition", "AlertNotificationTarget", "DataSource"})
"""Kinds of OpenSLO that other tools read: our rules are in alerts/rules, and there is one source."""
FOLDER: Final = Path(__file__).parents[1] / "slos"
_SCHEMA: Final = Path(__file__).parent / "openslo-v1.schema.yaml"
BROKEN: Final = "understudy/broken"
"""The annotation that says in a few words what is wrong when an objective is missed."""
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Condition:
    """One way to be good: empty sets accept anything."""

    outcome: frozenset[str]
    answered_by: frozenset[str]


@dataclass(frozen=True)
class Promise:
    """An objective with the requests that are good for it. `within` in nanoseconds; None: however long it took."""

    objective: Objective
    good: tuple[Condition, ...]
    within: int | None = None
    title: str = ""
    each: bool = False
    """One of a promise for each endpoint."""
    service: str = "the upstream"
    """What people call the API that it is about: its Service's displayName."""


def locate(name_or_path: str) -> Path:
    """The file of a shipped name, or the path itself."""
    shipped = FOLDER / f"{name_or_path}.yaml"
    return shipped if "/" not in name_or_path and shipped.is_file() else Path(name_or_path)


def load(name_or_path: str, endpoints: Sequence[str]) -> tuple[Promise, ...]:
    """The promises of shipped names, files and folders (comma-separated), in their order; `endpoints` are the
    contract's names. Documents may come in any order; kinds that are read elsewhere are passed over. Raises ValueError.
    """
    documents = [each for word in name_or_path.split(",") for path in _files(word.strip()) for each in _documents(path)]
    services = {
        name: str(document["metadata"].get("displayName", name))
        for _, name, document in documents
        if document["kind"] == "Service"
    }
    seen, promises = set[str](), list[Promise]()
    for where, name, document in documents:
        if document["kind"] == "Service":
            continue
        if name in seen:
            raise ValueError(f"{where}: metadata.name: another SLO has this name")
        seen.add(name)
        if document["spec"]["service"] not in services:
            raise ValueError(f"{where}: spec.service: no Service is called {document['spec']['service']!r}")
        called = services[document["spec"]["service"]]
        promises += (replace(each, service=called) for each in _promises(document, where, endpoints))
    if not promises:
        raise ValueError(f"{name_or_path}: expected at least one SLO; found none")
    return tuple(promises)


def _files(word: str) -> list[Path]:
    path = locate(word)
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml"))
    return [path]


def _documents(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each as where it stands, its name and itself; checked."""
    try:
        documents = [each for each in yaml.load_all(path.read_text(), _Loader) if each is not None]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a shipped name or an OpenSLO file") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    for number, document in enumerate(documents, 1):
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind in PASSED_OVER:
            _pass_over(path, number, kind)
            continue
        name = _check(document, f"{path}: document {number}")
        yield f"{path}: document {number} ({name})", name, document


@cache
def _pass_over(path: Path, number: int, kind: str) -> None:
    """Said once in a process, to whoever runs it: at the level that a command without a log shows."""
    log.warning("%s: document %d: %s is not read here", path, number, kind)


class _Loader(LOADER):  # type: ignore[misc, valid-type]  # libyaml's, or PyYAML's own where it has none
    """Numbers stay as written: a target is a fraction, never a binary float."""


class _Number(float):
    """A float that knows its text."""

    text: str


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> _Number:
    value = _Number(yaml.SafeLoader.construct_yaml_float(loader, node))
    value.text = str(node.value).replace("_", "")
    return value


def _plain(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain)


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load(_SCHEMA.read_text()))


def _check(document: Any, where: str) -> str:
    error = best_match(_validator().iter_errors(document))
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path) or "(whole)"
        raise ValueError(f"{where}: {field}: {error.message}")
    return str(document["metadata"]["name"])


def _promises(document: Mapping[str, Any], where: str, endpoints: Sequence[str]) -> Iterator[Promise]:
    name, spec = str(document["metadata"]["name"]), document["spec"]
    ratio = spec["indicator"]["spec"]["ratioMetric"]
    good, total = (ratio[part]["metricSource"]["spec"] for part in ("good", "total"))
    calendar = _calendar(spec["timeWindow"][0], f"{where}: spec.timeWindow.0.calendar")
    window = spec["timeWindow"][0]["duration"]
    period = calendar.period if calendar else int(window[:-1]) * _SECONDS[window[-1]]
    within = _nanoseconds(good["within"]) if "within" in good else None
    names = set[str]()
    for number, objective in enumerate(spec["objectives"]):
        target = _target(objective, f"{where}: spec.objectives.{number}")
        called = objective.get("displayName") or f"{float(100 * target):g}%"
        if called in names:
            raise ValueError(f"{where}: spec.objectives.{number}.displayName: another objective has it: {called!r}")
        names.add(called)
        for endpoint in _endpoints(total, where, endpoints):
            for view in get_args(View):
                if (key := _key(view, good)) is not None:
                    title = document["metadata"].get("displayName", name)
                    broken = document["metadata"].get("annotations", {}).get(BROKEN, "")
                    promised = Objective(name, called, target, period, cast(View, view), endpoint, broken, calendar)
                    yield Promise(
                        promised, tuple(map(_condition, good[key])), within, title, bool(total.get("per_endpoint"))
                    )


def _calendar(window: Mapping[str, Any], where: str) -> Calendar | None:
    """None: it is rolling."""
    if window["isRolling"]:
        return None
    said, duration = window["calendar"], window["duration"]
    try:
        start = datetime.fromisoformat(said["startTime"])
    except ValueError:
        found = said["startTime"]
        raise ValueError(f"{where}.startTime: expected one such as 2026-01-01 00:00:00; found {found!r}") from None
    if said["timeZone"] not in available_timezones():
        raise ValueError(f"{where}.timeZone: expected a zone such as Europe/Berlin; found {said['timeZone']!r}")
    return Calendar(int(duration[:-1]), duration[-1], start, said["timeZone"])


def _target(objective: Mapping[str, Any], where: str) -> Fraction:
    field = "target" if "target" in objective else "targetPercent"
    value = objective[field]
    written = value.text if isinstance(value, _Number) else str(value)
    try:
        target = Fraction(written) / (1 if field == "target" else 100)
    except ValueError:
        raise ValueError(f"{where}.{field}: expected a decimal number such as 0.999; found {written}") from None
    return target


def _key(view: str, good: Mapping[str, Any]) -> str | None:
    """How the file calls the view: that of the upstream has two names."""
    names = ("upstream", "hosp") if view == "hosp" else (view,)
    return next((name for name in names if name in good), None)


def _endpoints(total: Mapping[str, Any], where: str, known: Sequence[str]) -> Sequence[str | None]:
    if total.get("per_endpoint"):
        return known
    for endpoint in total.get("endpoints", ()):
        if endpoint not in known:
            field = "spec.indicator.spec.ratioMetric.total.metricSource.spec.endpoints"
            raise ValueError(f"{where}: {field}: the contract has no endpoint {endpoint!r}")
    return total.get("endpoints") or (None,)


def _condition(alternative: Mapping[str, Sequence[str]]) -> Condition:
    return Condition(frozenset(alternative.get("outcome", ())), frozenset(alternative.get("answered_by", ())))


def _nanoseconds(text: str) -> int:
    return int(text[:-2]) * MILLISECOND if text.endswith("ms") else int(text[:-1]) * SECOND
