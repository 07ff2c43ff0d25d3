"""Tries to find what breaks a promise in Authorization, in what proxies say of addresses, and in a journal's bytes.

    python -m tests.security.fuzz --minutes 30 --seed 1

Each round prints its seed; `--seed N --rounds 1` repeats it. Ends with 1 at the first finding, which Hypothesis has
made as small as it can.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
import traceback
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from sidecar.http.credentials import TwoAuthorizations, canonical_authorization, parse_authorization
from sidecar.http.forwarded import address, hops, scheme_and_host
from sidecar.http.messages import Request
from sidecar.server.framing import _heed_proxies
from sidecar.settings.parsers import networks
from tests.unit.sidecar.journal.test_signer import Signed

EXAMPLES: Final = 300
"""Tries of each target in a round."""
TRUSTED: Final = networks("10.0.0.0/8, ::1")
Targets = dict[str, tuple[Callable[..., None], tuple[Any, ...]]]
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# Authorization -------------------------------------------------------------------------------------------------------

TOKENS = st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode())
JUNK = st.text(st.sampled_from(_DIGITS[:3] + "=-_ \t*,:;\"'\x00\xe4"), max_size=4)
FIELDS = st.builds(
    lambda lead, scheme, gap, token, at, junk, tail: f"{lead}{scheme}{gap}{token[:at]}{junk}{token[at:]}{tail}",
    st.sampled_from(["", " ", "\t", "\xa0"]),
    st.sampled_from(["Basic", "basic", "BASIC", "Basic:", "Basi", "Bearer", "Basic,", "BasiC\t"]) | st.text(max_size=6),
    st.sampled_from([" ", "\t", "  ", "", " \t", ":", "\xa0", "\x0b"]),
    TOKENS, st.integers(0, 60), JUNK, JUNK,
)  # fmt: skip


def rails(field: str) -> bytes | None:
    """What ActionController's http_basic_authenticate reads, said by itself: `split(" ", 2)`, the scheme in any case,
    `unpack("m")`. None: no Basic."""
    text = field.lstrip(" \t\n\v\f\r\0")
    place = next((place for place, character in enumerate(text) if character in " \t\n\v\f\r\0"), None)
    if place is None or text[:place].lower() != "basic":
        return None
    bits = count = 0
    out = bytearray()
    for character in text[place:]:
        if character == "=" and count >= 2:
            break
        if character in _DIGITS:
            bits, count = bits << 6 | _DIGITS.index(character), count + 1
            if count == 4:
                out += bits.to_bytes(3, "big")
                bits = count = 0
    if count > 1:
        out += (bits << 6 * (4 - count)).to_bytes(3, "big")[: count - 1]
    return bytes(out)


def authorization(field: str) -> None:
    caller = parse_authorization(field)
    sent = canonical_authorization([("Authorization", field)])
    assert canonical_authorization(sent) == sent, "canonical once is canonical for ever"
    for name in ("authorization", "AUTHORIZATION"):
        try:
            canonical_authorization([("Authorization", field), (name, field)])
        except TwoAuthorizations:
            continue
        raise AssertionError("two fields were passed on")
    theirs = rails(sent[0][1]) if sent else None
    if caller is not None:
        assert sent, "who was read is sent on"
        assert theirs is not None, "and is read there"
        assert theirs.partition(b":")[::2] in (
            (caller.user.encode(), caller.password.encode()),
            (caller.user.encode("latin-1", "replace"), caller.password.encode("latin-1", "replace")),
        ), "as the very same"
    else:
        assert not theirs, "nobody is named to the upstream who is nobody to us"


# What proxies say ----------------------------------------------------------------------------------------------------

ADDRESSES = st.ip_addresses().map(str)
NODES = st.one_of(
    ADDRESSES,
    st.builds(lambda a, port: f"[{a}]:{port}" if ":" in a else f"{a}:{port}", ADDRESSES, st.integers(0, 65535)),
    ADDRESSES.map(lambda a: f'"[{a}]"' if ":" in a else f'"{a}"'),
    st.sampled_from(["unknown", "_hidden", "", '"', "[", "]:1", "fe80::1%eth0", "1.2.3", "::ffff:1.2.3.4"]),
    st.text(max_size=12),
)
ELEMENTS = st.builds(
    lambda name, node, more: f"{name}={node}{more}",
    st.sampled_from(["for", "For", "by", "proto", "host", "f or"]),
    NODES,
    st.sampled_from(["", ";proto=https", ';host="a,b"', ";", ";;", ";for=1.2.3.4", '"', '\\"', ";proto=\x00"]),
)
CHAINS = st.lists(
    st.tuples(
        st.sampled_from(["X-Forwarded-For", "Forwarded", "x-forwarded-for", "X-Forwarded-Proto", "X-Forwarded-Host"]),
        st.lists(NODES | ELEMENTS, max_size=3).map(",".join),
    ),
    max_size=4,
)


def forwarded(fields: list[tuple[str, str]], peer: str) -> None:
    for hop in hops(fields):
        assert hop is None or str(ip_address(hop))
    scheme_and_host(fields)
    asked = Request("GET", "/", list(fields), remote=peer, host="h")
    _heed_proxies(asked, TRUSTED)
    assert str(ip_address(asked.remote)), "an address, whatever was said"
    if peer == "192.0.2.1":
        assert (asked.remote, asked.host, asked.scheme, asked.headers) == (peer, "h", "http", [])
    assert asked.scheme in ("http", "https")


def spelled(one: str, port: int) -> None:
    """However proxies write an address, it is that one."""
    written = [one, f"[{one}]:{port}", f'"[{one}]:{port}"'] if ":" in one else [one, f"{one}:{port}", f'"{one}:{port}"']
    for node in written:
        assert address(node) == one, node
        quoted = node if node.startswith('"') else f'"{node}"'
        assert hops([("Forwarded", f"proto=https;for={quoted}")]) == [one], quoted


# A journal's bytes ---------------------------------------------------------------------------------------------------

CHANGES = st.tuples(
    st.sampled_from(["flip", "insert", "delete", "repeat", "cut", "swap", "append", "empty", "remove"]),
    st.integers(0, 1 << 20),
    st.integers(1, 400),
    st.binary(min_size=1, max_size=60) | st.sampled_from([b"\n", b"{}\n", b"null\n", b"[]\n", b'{"sequence":1}\n']),
)


def changed(raw: bytes, how: str, place: int, length: int, new: bytes) -> bytes:
    at = place % max(1, len(raw))
    if how == "flip":
        return raw[:at] + bytes([raw[at] ^ (1 << length % 8)]) + raw[at + 1 :]
    lines = raw.splitlines(keepends=True)
    one, other = place % len(lines), length % len(lines)
    if how == "swap":
        lines[one], lines[other] = lines[other], lines[one]
    return {
        "insert": raw[:at] + new + raw[at:],
        "delete": raw[:at] + raw[at + length :],
        "repeat": raw[: at + length] + raw[at:],
        "cut": raw[:at],
        "swap": b"".join(lines),
        "append": raw + new,
        "empty": b"",
        "remove": b"",
    }[how]


class Journal:
    """One that is signed, and is put back after each try."""

    def __init__(self, folder: Path) -> None:
        self.signed = Signed(folder / "was")
        self.files = [*self.signed.paths, self.signed.statements.path]
        self.was = {path: path.read_bytes() for path in self.files}
        assert self.signed.verify().ok

    def tried(self, which: int, change: tuple[str, int, int, bytes]) -> None:
        path = self.files[which % len(self.files)]
        raw = self.was[path]
        new = changed(raw, *change)
        if change[0] == "remove":
            path.unlink()
        else:
            path.write_bytes(new)
        try:
            verdict = self.signed.verify()
        finally:
            path.write_bytes(raw)
        assert verdict.ok or verdict.first_bad is not None, "what is wrong is said"
        if change[0] == "remove" or (new != raw and not new.startswith(raw)):
            assert not verdict.ok, "it was altered, cut, reordered or removed"


# Rounds --------------------------------------------------------------------------------------------------------------


def targets(folder: Path) -> Targets:
    """By name: what is tried, and with what."""
    peers = st.sampled_from(["192.0.2.1", "10.0.0.1", "::1"])
    return {
        "authorization": (authorization, (FIELDS,)),
        "forwarded": (forwarded, (CHAINS, peers)),
        "addresses": (spelled, (ADDRESSES, st.integers(1, 65535))),
        "journal": (Journal(folder).tried, (st.integers(0, 3), CHANGES)),
    }


def tries(what: Callable[..., None], strategies: tuple[Any, ...], number: int, examples: int) -> None:
    """Raises what the target raises for the smallest input that makes it."""

    def one(given_: tuple[Any, ...]) -> None:
        what(*given_)

    limits = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    seed(number)(limits(given(st.tuples(*strategies))(one)))()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next one's is one more")
    parser.add_argument("--rounds", type=int, help="at the most")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        return run(targets(Path(folder)), asked.minutes * 60, asked.seed, asked.rounds)


def run(against: Targets, seconds: float, first: int, most: int | None) -> int:
    """Rounds until the time is over; 1: something was found."""
    until, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < until and rounds != most:
        for name, (what, strategies) in against.items():
            try:
                tries(what, strategies, first + rounds, EXAMPLES)
            except Exception:
                traceback.print_exc()
                print(f"seed {first + rounds}: {name}: found", flush=True)
                return 1
        print(f"seed {first + rounds}: nothing found in {EXAMPLES} tries of each of {', '.join(against)}", flush=True)
        rounds += 1
    print(f"{rounds} rounds from seed {first}: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
