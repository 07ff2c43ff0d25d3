"""What travels upstream with a request."""

from __future__ import annotations

from sidecar.http.headers import upstream_fields
from sidecar.http.messages import Request

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_tracestate_goes_with_its_own_traceparent_only() -> None:
    kept = upstream_fields(Request("GET", "/", [("traceparent", TRACE), ("tracestate", "a=1")]), "r", TRACE, "v")
    assert ("tracestate", "a=1") in kept
    begun = upstream_fields(Request("GET", "/", [("traceparent", "00-bad"), ("tracestate", "a=1")]), "r", TRACE, "v")
    assert "tracestate" not in {name.lower() for name, _ in begun}
    assert ("traceparent", TRACE) in begun
