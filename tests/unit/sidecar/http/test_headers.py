"""Which fields travel, and as what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.headers import HOP_BY_HOP, answer_fields, has_passed, upstream_fields, wants_close
from sidecar.http.messages import Request

NAMES = st.sampled_from(
    ["Accept", "X-A", "x-a", "Connection", "Keep-Alive", "TE", "Upgrade", "Authorization", "Cookie", "Host", "Via"]
    + ["X-Forwarded-For", "Forwarded", "Content-Length", "Date", "Server", "X-Request-Id", "Transfer-Encoding"]
)
FIELDS = st.lists(
    st.tuples(NAMES, st.sampled_from(["1", "X-A", "x-a, close", "keep-alive", "cookie ,te", ""])), max_size=8
)


def sent(*fields: tuple[str, str], host: str = "hosp", remote: str = "10.0.0.7") -> list[tuple[str, str]]:
    request = Request("GET", "/", list(fields), remote=remote, host=host)
    return upstream_fields(request, "id-1", "00-trace", "1.1 understudy-a")


@given(FIELDS)
def test_what_is_end_to_end_travels_in_its_order_and_nothing_else(fields: list[tuple[str, str]]) -> None:
    """Held against the rule as RFC 9110, 7.6.1, says it."""
    named = {word.strip().lower() for name, value in fields if name == "Connection" for word in value.split(",")}
    travels = [(n, v) for n, v in fields if n.lower() not in HOP_BY_HOP | named]
    back = {"content-length", "date", "server", "x-request-id"}
    assert answer_fields(fields) == [(n, v) for n, v in travels if n.lower() not in back]
    own = {"host", "via", "x-forwarded-for", "forwarded", "content-length", "x-request-id"}
    there = [(n, v) for n, v in travels if n.lower() not in own]
    assert sent(*fields)[1 : 1 + len(there)] == there
    assert [n for n, _ in sent(*fields)[1 + len(there) :]] == [
        "X-Request-Id", "traceparent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via",
    ]  # fmt: skip


def test_who_asked_is_told_once_whatever_was_told_before() -> None:
    fields = dict(sent(("X-Forwarded-For", "1.2.3.4"), ("Via", "1.1 front"), ("x-forwarded-for", "10.0.0.7")))
    assert fields["X-Forwarded-For"] == "1.2.3.4, 10.0.0.7"
    assert fields["Via"] == "1.1 front, 1.1 understudy-a"
    assert dict(sent())["X-Forwarded-For"] == "10.0.0.7"
    assert "Host" not in dict(sent(host=""))


def test_only_codings_that_can_be_read_are_asked_for() -> None:
    assert "Accept-Encoding" not in dict(sent())
    assert dict(sent(("Accept-Encoding", "br, gzip;q=0.5, zstd")))["Accept-Encoding"] == "gzip;q=0.5"
    assert dict(sent(("accept-encoding", "br")))["Accept-Encoding"] == "identity"


def test_a_client_that_closes_may_say_so_among_other_things() -> None:
    for said, closes in (("close", True), ("X-Hop, Close", True), ("keep-alive", False), ("X-close", False)):
        assert wants_close(Request("GET", "/", [("Connection", said)])) is closes
    assert not wants_close(Request("GET", "/", []))


def test_a_request_that_has_passed_here_is_known_by_any_of_its_via_fields() -> None:
    been = Request("GET", "/", [("Via", "1.1 front"), ("via", "1.0 x, 1.1 understudy-a")])
    assert has_passed(been, "1.1 understudy-a")
    assert not has_passed(been, "1.1 understudy-b")
    assert not has_passed(Request("GET", "/", []), "1.1 understudy-a")
