"""An answer as it is read: whole when its framing says so, and the same in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.response_parser import LARGEST_HEAD, Malformed, Reading

OK = b"HTTP/1.1 200 OK\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
CASES = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200, b"hello", True),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", 200, b"hello", True),
    "204": (b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204, b"", True),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", False),
    "304": (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", False),
    "304 chunked": (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b"", False),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "unknown status": (b"HTTP/1.1 599 What\r\nContent-Length: 5\r\n\r\nhello", 599, b"hello", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "interim": (HINTS + OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, b"hello", True),
    "length and chunked": (
        OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, b"hello", False,
    ),
}  # fmt: skip


def read(data: bytes, *cuts: int, head: bool = False) -> Reading:
    reading = Reading(head=head)
    edges = [0, *sorted(cuts), len(data)]
    for begin, end in zip(edges, edges[1:], strict=False):
        reading.feed(data[begin:end])
    return reading


@pytest.mark.parametrize("name", CASES)
@given(cuts=st.lists(st.integers(0, 60), max_size=5))
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(name: str, cuts: list[int]) -> None:
    data, status, body, kept = CASES[name]
    reading = read(data, *(min(cut, len(data)) for cut in cuts))
    assert reading.complete
    assert (reading.response().status, reading.response().body, reading.kept) == (status, body, kept)


@pytest.mark.parametrize("name", CASES)
def test_no_answer_is_complete_before_its_last_byte(name: str) -> None:
    data, _, _, _ = CASES[name]
    reading = Reading(head=False)
    for byte in data[:-1]:
        reading.feed(bytes([byte]))
        assert not reading.complete
    reading.end()
    assert not reading.complete


def test_fields_are_as_sent_in_their_order_and_without_trailers() -> None:
    data = OK + b"X-B:  1 \r\nset-cookie: a\r\nset-cookie: b\r\nX-Empty:\r\nX-High: \xe4\r\n"
    data += b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 1\r\n\r\n"
    fields = [("X-B", "1"), ("set-cookie", "a"), ("set-cookie", "b"), ("X-Empty", ""), ("X-High", "ä")]
    assert read(data).response().headers == [*fields, ("Transfer-Encoding", "chunked")]


def test_an_interim_answers_fields_and_framing_are_not_the_answers() -> None:
    reading = read(HINTS + OK + b"\r\nhel")
    reading.feed(b"lo")
    assert not reading.complete
    reading.end()
    assert (reading.complete, reading.response().body, reading.response().headers) == (True, b"hello", [])


def test_an_answer_without_a_length_ends_with_its_connection_and_any_other_does_not() -> None:
    for framing, complete in (
        (b"", True),
        (b"Content-Length: 9\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
    ):
        reading = read(OK + framing + b"\r\n" + (b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"))
        assert not reading.complete
        reading.end()
        assert (reading.complete, reading.kept) == (complete, False)


def test_the_answer_to_head_has_no_body_whatever_it_says() -> None:
    reading = read(OK + b"Content-Length: 99\r\n\r\n", head=True)
    assert (reading.complete, reading.kept, reading.response().body) == (True, False, b""), "it may come yet"
    assert reading.response().header("content-length") == "99"
    spoken = read(OK + b"Content-Length: 5\r\n\r\nhello", head=True)
    assert (spoken.complete, spoken.kept, spoken.response().body) == (True, False, b"")


@pytest.mark.parametrize("more", [b"x", OK, OK + b"Content-Length: 0\r\n\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"])
def test_a_connection_on_which_more_follows_is_not_kept(more: bytes, connection: bytes) -> None:
    reading = read(OK + connection + b"Content-Length: 5\r\n\r\nhello" + more)
    assert (reading.complete, reading.kept, reading.response().body) == (True, False, b"hello")


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        OK + b"Content-Length: 5, 6\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        OK + b"X-A\r\n\r\n",
        OK + b"X-A: \0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity"])
def test_a_coding_that_nobody_asked_for_is_never_taken_for_the_whole(coding: bytes) -> None:
    """Its bytes would reach the user as they are, and say nothing of their coding."""
    with pytest.raises(Malformed):
        read(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n").end()
    assert read(OK + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n").complete


def test_what_has_come_is_counted_and_can_be_taken_piece_by_piece() -> None:
    reading = read(OK + b"Content-Type: Text/Plain; charset=utf-8\r\nContent-Length: 9\r\n\r\nhello")
    assert (reading.size, reading.length(), reading.media_type()) == (5, 9, "text/plain")
    assert b"".join(reading.take()) == b"hello"
    reading.feed(b" you")
    assert (reading.complete, reading.size, b"".join(reading.take())) == (True, 9, b" you")
    assert read(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n").length() is None


def test_a_head_without_an_end_is_given_up() -> None:
    reading = read(OK)
    line = b"X-A: " + b"a" * 993 + b"\r\n"
    for _ in range(LARGEST_HEAD // len(line) - 1):
        reading.feed(line)
    with pytest.raises(Malformed):
        reading.feed(line * 2)


@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_nothing_but_malformed_is_raised(data: bytes, begins: bool) -> None:
    reading = Reading(head=False)
    try:
        reading.feed((OK if begins else b"") + data)
    except Malformed:
        return
    if reading.end():
        assert len(reading.response().body) == reading.size
