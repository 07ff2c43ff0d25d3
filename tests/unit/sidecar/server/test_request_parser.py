"""Requests out of bytes: as the wire cases say, in whatever pieces they come, and nothing read twice or skipped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import h11
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.server.framing import Limits, Refusal, admitted
from sidecar.server.request_parser import END, Head, Malformed, RequestParser

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())
CASES = ROOT / "tests/wire/cases"
NAMES = sorted(path.stem for path in CASES.glob("*.http"))
LIMITS = Limits(max_target=12 * 1024, max_body=32 << 20, max_head=112 * 1024, max_fields=5000, trusted=())
Read = tuple[list[tuple[str, str, bytes]], str | None]
"""Method, target and body of each whole request; and why what followed was refused, in a word."""


def read(pieces: Sequence[bytes]) -> Read:
    parser, whole, head, body = RequestParser(LIMITS.max_head, LIMITS.max_fields), [], None, b""
    try:
        for piece in [*pieces, None]:
            if piece is None:
                parser.end()
            else:
                parser.feed(piece)
            while (event := parser.next()) is not None:
                if isinstance(event, Head):
                    head, body = admitted(event, "192.0.2.7", LIMITS).request, b""
                elif event is END:
                    assert head is not None
                    whole.append((head.method, head.target, body))
                else:
                    assert isinstance(event, bytes)
                    body += event
    except Malformed as error:
        return whole, error.why[1]
    except Refusal as refusal:
        return whole, refusal.reason
    return whole, "cut_head" if parser.begun else None


@cache
def case(name: str) -> tuple[bytes, dict[str, Any]]:
    return (CASES / f"{name}.http").read_bytes(), yaml.safe_load((CASES / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_each_wire_case_means_what_it_says_whole_and_byte_by_byte(name: str) -> None:
    data, told = case(name)
    means = [(m["method"], m["target"], m["body"].encode("latin-1")) for m in told.get("means", [])]
    found, why = read([data])
    assert found == means
    assert (why is not None) or means
    if len(data) < 20_000:
        assert read([data[at : at + 1] for at in range(len(data))]) == (found, why)


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.data())
def test_how_the_bytes_are_cut_changes_nothing(one: str, other: str, data: st.DataObject) -> None:
    """Also of two cases on one connection, the second behind the first."""
    sent = case(one)[0][:8000] + case(other)[0][:8000]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert read(pieces) == read([sent])


@given(st.sampled_from(NAMES), st.data())
def test_what_is_taken_another_strict_parser_takes_for_the_same(name: str, data: st.DataObject) -> None:
    """A case with some bytes changed: what is read of it is what h11 reads, or it is refused."""
    sent = bytearray(case(name)[0][:4000])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sent) - 1))
        sent[at] = data.draw(st.sampled_from([*b"\r\n :;,\0\t0aA/%\xff", sent[at]]))
    ours, _ = read([bytes(sent)])
    theirs = seen_by_h11(bytes(sent))
    for request, other in zip(ours, theirs, strict=False):
        assert request[0::2] == other[0::2]
        assert other[1].lower().endswith(request[1].lower())  # h11 leaves an absolute target as it is
    assert len(theirs) >= len(ours)


def seen_by_h11(data: bytes) -> list[tuple[str, str, bytes]]:
    connection, whole, head, body = h11.Connection(h11.SERVER, 120 * 1024), [], None, b""
    connection.receive_data(data.removeprefix(b"\r\n"))
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                whole.append((head.method.decode(), head.target.decode("latin-1"), bytes(body)))
                if head.method == b"CONNECT":  # from here on it is a tunnel to h11; we refuse it
                    return whole
                for answer in (h11.Response(status_code=200, headers=[("Content-Length", "0")]), h11.EndOfMessage()):
                    connection.send(answer)
                try:
                    connection.start_next_cycle()
                except h11.LocalProtocolError:  # it is told to close, or to switch, which is not up to a parser
                    rest = connection.trailing_data[0]
                    return whole + (seen_by_h11(rest) if rest else [])
            else:
                return whole
    except h11.RemoteProtocolError:
        return whole


def test_what_is_sent_ahead_is_not_looked_at_before_its_turn() -> None:
    parser = RequestParser(LIMITS.max_head, LIMITS.max_fields)
    parser.feed(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nno request at all\r\n\r\n")
    assert isinstance(parser.next(), Head)
    assert parser.next() is END
    assert parser.held == len(b"no request at all\r\n\r\n")
    with pytest.raises(Malformed):
        parser.next()
