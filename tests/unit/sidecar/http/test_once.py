"""What follows from a request's fields is made once for all requests that have them, and anew for others."""

from __future__ import annotations

from sidecar.events.redact import Redactor
from sidecar.http.determining import selecting
from sidecar.http.headers import upstream_fields
from sidecar.http.messages import Headers, Request

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_it_is_made_once_for_the_same_fields() -> None:
    made: list[Headers] = []

    def work(headers: Headers) -> int:
        made.append(headers)
        return len(headers)

    first = Request("GET", "/a", [("Accept", "x")])
    assert (first.once(work), first.another("GET", "/b").once(work), first.once(work)) == (1, 1, 1)
    assert len(made) == 1
    first.headers = [("Accept", "x"), ("Host", "h")]
    assert (first.once(work), len(made)) == (2, 2)
    assert first.header("host") == "h"


def test_what_goes_upstream_is_of_the_trace_and_the_fields_at_hand() -> None:
    own = [("Traceparent", TRACE), ("Tracestate", "a=1"), ("Accept", "x"), ("Connection", "X-Own"), ("X-Own", "1")]
    asked = Request("GET", "/a", own, remote="192.0.2.7")
    kept = [name for name, _ in upstream_fields(asked, "r", TRACE, "v")]
    another = [name for name, _ in upstream_fields(asked, "r", TRACE.replace("0af", "1bf"), "v")]
    assert kept[:2] == ["Tracestate", "Accept"]
    assert another[0] == "Accept"
    assert [name for name, _ in upstream_fields(asked, "r", TRACE, "v")] == kept
    assert not {"X-Own", "Connection"} & {*kept, *another}


def test_a_secret_that_one_request_teaches_is_not_another_ones() -> None:
    first = Request("GET", "/a?token=sesame-street", [("Cookie", "s=abcdefgh")])
    redactor = Redactor(frozenset(), first)
    redactor.query(first.query)
    assert redactor.text("sesame-street abcdefgh") == "[redacted] [redacted]"
    assert (
        Redactor(frozenset(), first.another("GET", "/b")).text("sesame-street abcdefgh") == "sesame-street [redacted]"
    )


def test_what_selects_is_told_by_what_is_declared() -> None:
    asked = Request("GET", "/a", [("Accept", "x"), ("X-Tenant", "7")])
    assert selecting(asked, frozenset()) == ["x-tenant=7"]
    assert selecting(asked, frozenset(("accept",))) == ["accept=x", "x-tenant=7"]
