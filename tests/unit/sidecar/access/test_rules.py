"""Policies against requests, pure: what each has against a request, and that the unknown stops nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from sidecar.access.policies import Mode
from sidecar.access.policy_file import declared, load
from sidecar.access.rules import Asked, findings
from sidecar.contract import Contract, ContractError

HOSP = Contract.load("hosp")
POLICIES = load(HOSP, "hosp")
JSON = "application/json"


@dataclass
class World:
    """What is known."""

    ids: dict[str, frozenset[str]] = field(default_factory=lambda: {"Holt": frozenset(["5"])})
    values: dict[tuple[str, str, str], str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    credential: bool | None = True
    broken: bool = False
    failed: int = 0
    read: int = 0
    most: int | None = None

    def own(self, user: str) -> frozenset[str] | None:
        return self.ids.get(user)

    def value(self, resource: str, record: str, field: str) -> str | None:
        return self.values.get((resource, record, field))

    def revoked(self, user: str) -> bool:
        return user in self.gone

    def accepted(self, user: str) -> bool | None:
        return self.credential

    def down(self, endpoint: str) -> bool:
        return self.broken

    def failures(self, user: str, minutes: int) -> int:
        return self.failed

    def reading(self, user: str) -> int:
        return self.read

    def habit(self, user: str, days: int) -> int | None:
        return self.most


def names(method: str, target: str, body: Any = b"", world: World | None = None, **more: Any) -> list[tuple[str, str]]:
    path, _, query = target.partition("?")
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"user": "Holt", "media": JSON if sent else None, "size": len(sent), **more}
    asked = Asked(HOSP.match(method, path), method, query, body=sent, **given)
    return [(f.policy, f.detail) for f in findings(HOSP, POLICIES, asked, world or World())]


@pytest.mark.parametrize(
    "body",
    [
        {"staff_id": 7},
        {"staff_id": "7"},
        {"note": {"staff_id": 7}},
        b'{"staff_id": 5, "staff_id": 7}',
        b'{"\\u0073taff_id": 7}',
    ],
)
def test_a_note_in_another_name_is_found_wherever_the_name_stands(body: Any) -> None:
    assert names("POST", "/notes", body) == [("author_is_caller", "staff_id 7")]
    assert names("POST", "/notes.json", body) == [("author_is_caller", "staff_id 7")]


def test_a_name_in_the_query_or_in_a_form_counts_too() -> None:
    assert names("POST", "/notes?staff_id=7", {"title": "a"}) == [("author_is_caller", "staff_id 7")]
    form = names("POST", "/notes", b"note%5Bstaff_id%5D=7", media="application/x-www-form-urlencoded")
    assert ("author_is_caller", "staff_id 7") in form
    cut = names("POST", "/notes", b'{"staff_id": 7', media="text/plain")
    assert ("author_is_caller", "staff_id unreadable") in cut


@pytest.mark.parametrize("body", [{"staff_id": 5}, {"staff_id": "5"}, {"title": "x"}, {"staff_id": None}, [], b""])
def test_an_own_note_is_nobodys_business(body: Any) -> None:
    assert names("POST", "/notes", body) == []


def test_who_is_not_known_is_not_stopped() -> None:
    assert names("POST", "/notes", {"staff_id": 7}, user="Nobody") == []
    assert names("POST", "/notes", {"staff_id": 7}, user=None) == []
    assert names("PATCH", "/notes/3", {"staff_id": 7}) == []  # whose the note is, is not known


def test_an_author_is_kept() -> None:
    world = World(values={("notes", "3", "staff_id"): "7"})
    assert names("PATCH", "/notes/3", {"staff_id": 7, "body": "corrected"}, world) == []
    assert names("PATCH", "/notes/3", {"body": "corrected"}, world) == []
    changed = [("author_is_kept", "staff_id 7 to 5")]
    assert names("PATCH", "/notes/3", {"staff_id": 5}, world) == names("PUT", "/notes/3", {"staff_id": 5}, world)
    assert names("PATCH", "/notes/3", {"staff_id": 5}, world) == changed


def test_what_is_not_in_the_contract() -> None:
    assert names("GET", "/wp-login.php") == [("outside_contract", "")]
    assert names("BREW", "/notes") == [("method_not_in_contract", "BREW")]
    assert names("OPTIONS", "/notes") == names("HEAD", "/notes") == names("GET", "/") == []
    assert names("POST", "/patients", b"<p/>", media="text/xml") == [("media_type_not_in_contract", "text/xml")]
    assert names("POST", "/patients", b"", size=8 << 20, media=JSON) == []
    assert names("POST", "/patients", b"", size=(8 << 20) + 1, media=JSON)[0][0] == "oversize_body"


def test_credentials() -> None:
    assert names("GET", "/notes", world=World(gone={"Holt"})) == [("revoked_credential", "")]
    down = [("unknown_credential_while_down", "")]
    assert names("GET", "/notes", world=World(broken=True, credential=False)) == down
    assert names("GET", "/notes", world=World(broken=True, credential=True)) == []
    assert names("GET", "/", world=World(broken=True, credential=False)) == []
    assert names("GET", "/notes", world=World(failed=20, credential=False)) == [("failed_sign_ins", "")]
    assert names("GET", "/notes", world=World(failed=19, credential=False)) == []
    # nobody can lock out a colleague whose credential is known to be good
    assert names("GET", "/notes", world=World(failed=5000, credential=True)) == []
    assert names("GET", "/notes", world=World(failed=5000, credential=None)) == []


@pytest.mark.parametrize(
    ("read", "most", "found"), [(60, 2, False), (61, 2, True), (200, 60, False), (241, 60, True), (240, None, False)]
)
def test_reading_far_beyond_a_habit(read: int, most: int | None, found: bool) -> None:
    assert bool(names("GET", "/patients/1", world=World(read=read, most=most))) is found
    assert names("POST", "/notes", {"title": "a"}, world=World(read=read, most=most)) == []


def test_nothing_that_users_do_today_is_forbidden_as_shipped() -> None:
    assert {policy.name for policy in POLICIES if policy.mode is Mode.ENFORCE} == {"revoked_credential"}


def test_a_contract_without_policies_has_revocation_all_the_same() -> None:
    (policy,) = load(HOSP, "tests/support/library.yaml")
    assert (policy.kind, policy.mode, policy.status) == ("revoked_credential", Mode.ENFORCE, 401)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "revoked_credential"}, r"mode: expected enforce, for revocations always hold; found report"),
        ({"kind": "nonsense"}, r"policies\[0\]\.kind: expected field_is_caller, .*; found nonsense"),
        ({"name": 3}, r"policies\[0\]\.name: expected text; found 3"),
        ({"mode": "deny"}, r"mode: expected off, report, enforce; found deny"),
        ({"status": 200}, r"status: expected 400 to 599; found 200"),
        ({"kind": "oversize_body"}, r"bytes: expected a whole number; found nothing"),
        ({"colour": "red"}, r"colour: expected a key that outside_contract takes; found colour"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_by_its_key(row: dict[str, Any], message: str) -> None:
    good = {"name": "a", "kind": "outside_contract", "mode": "report", "status": 404, "says": "no"}
    assert declared(HOSP, [{**good, "mode": False}], "x")[0].mode is Mode.OFF  # YAML's bare `off`
    with pytest.raises(ContractError, match=message):
        declared(HOSP, [{**good, **row}], "x.yaml")
