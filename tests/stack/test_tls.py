"""HTTPS beside HTTP as `understudy lb` configures it, with real HAProxy and nginx, looked at from outside."""

from __future__ import annotations

import http.client
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from compose.tls import authority, certificate
from compose.tls.profiles import PROFILES
from tests.stack import handshakes
from tests.stack.front import Front
from tests.support.stack import Got, Sidecar, ask, free_port, until
from tests.support.upstream import HOLT, Upstream

FRONTS = [
    pytest.param("haproxy", marks=pytest.mark.haproxy),
    pytest.param("nginx", marks=pytest.mark.nginx),
]
NAMES = ["localhost", "127.0.0.1"]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data: Path = tmp_path_factory.mktemp("tls") / "data"
    files = f"{data.parent / 'server.pem'}, {data.parent / 'missing.pem'}"
    given = {"trusted_proxies": "127.0.0.1", "bypass_after": "0s", "certificates": files}
    with Upstream() as upstream, Sidecar(upstream.url, data, workers="1", **given) as running:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        yield running


def secured(kind: str, sidecar: Sidecar, folder: Path, *more: str) -> Front:
    """A balancer with HTTPS under the certificate in the folder, which is made unless there is one."""
    if not (folder / "server.pem").exists():
        authority.write(folder, NAMES)
    words = ("--https", "SECURE", "--certificate", str(folder / "server.pem"), *more)
    return Front(kind, "inline", sidecar, folder, *words)


def get(port: int, folder: Path, target: str = "/patients/17", method: str = "GET") -> Got:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request(method, target, headers=HOLT)
        answer = connection.getresponse()
        return Got(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("kind", FRONTS)
def test_only_mozillas_profile_is_spoken(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    authority.write(tmp_path, NAMES, key=rsa.generate_private_key(65537, 2048))
    with secured(kind, sidecar, tmp_path) as front:
        assert handshakes.old_protocols(front.secure) == []
        taken = handshakes.ciphers(front.secure)
        assert taken == {name for name in PROFILES["intermediate"].ciphers if "ECDSA" not in name}
        said = handshakes.s_client(front.secure, "-alpn", "h2,http/1.1", "-CAfile", str(tmp_path / "ca.pem"))
        assert "ALPN protocol: h2" in said
        assert "TLSv1.3" in said
        assert "Verify return code: 0 (ok)" in said  # the chain is complete
        assert handshakes.agreed(handshakes.s_client(front.secure, "-tls1_2"))
        refused = handshakes.s_client(front.secure, "-tls1_2", "-groups", "secp521r1")
        assert not handshakes.agreed(refused)


@pytest.mark.parametrize("kind", FRONTS)
def test_the_modern_profile_is_tls_1_3_alone(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with secured(kind, sidecar, tmp_path, "--tls", "modern") as front:
        assert handshakes.ciphers(front.secure) == set()
        assert handshakes.agreed(handshakes.s_client(front.secure, "-tls1_3"))


def test_a_server_that_takes_anything_is_seen_to(tmp_path: Path) -> None:
    """So that what is not found above is not merely not looked for."""
    authority.write(tmp_path, NAMES, key=rsa.generate_private_key(65537, 2048))
    port, files = free_port(), [str(tmp_path / "server.crt"), "-key", str(tmp_path / "server.key")]
    command = ["openssl", "s_server", "-quiet", "-cipher", handshakes.ANYTHING, "-accept", str(port), "-cert", *files]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: handshakes.agreed(handshakes.s_client(port)), 10)
        assert handshakes.old_protocols(port) == list(handshakes.OLD.values())
        assert {"AES128-SHA", "ECDHE-RSA-AES128-SHA"} < handshakes.ciphers(port)
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("kind", FRONTS)
def test_a_url_follows_the_scheme_and_host_that_the_user_used(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with secured(kind, sidecar, tmp_path) as front:
        ways = [(f"http://127.0.0.1:{front.port}/", lambda: ask(front.port, "GET", "/patients/17", HOLT))]
        ways += [(f"https://localhost:{front.secure}/", lambda: get(front.secure, tmp_path))]
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
        for who, action in (("fwd=", "handback"), ("hit;", "takeover")):
            assert sidecar.cli(action, "patients.read").returncode == 0
            for origin, seen in ways:
                until(lambda seen=seen, who=who: who in seen()["Cache-Status"], 10, f"{who} {origin}")
                assert seen().json()["url"].startswith(origin)
        assert sidecar.cli("handback", "patients.read").returncode == 0


@pytest.mark.parametrize("kind", FRONTS)
def test_nothing_moves_until_it_is_switched(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with secured(kind, sidecar, tmp_path) as front:
        for got in (ask(front.port, "GET", "/patients/17", HOLT), get(front.secure, tmp_path)):
            assert (got.status, got["Strict-Transport-Security"]) == (200, "")


@pytest.mark.parametrize("kind", FRONTS)
def test_reads_move_first_and_hsts_is_told_over_https_alone(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with secured(kind, sidecar, tmp_path, "--redirect", "get", "--hsts", "5m") as front:
        moved = ask(front.port, "GET", "/patients/17?x=1", HOLT)
        where = f"https://127.0.0.1:{front.secure}/patients/17?x=1"
        assert (moved.status, moved["Location"], moved["Strict-Transport-Security"]) == (301, where, "")
        note = {"title": "kept", "patient_id": 17}
        assert ask(front.port, "POST", "/notes", HOLT, note).status == 201
        got = get(front.secure, tmp_path)
        assert (got.status, got["Strict-Transport-Security"]) == (200, "max-age=300")


@pytest.mark.parametrize("kind", FRONTS)
def test_all_moves_but_an_authoritys_challenge(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with _Acme() as port, secured(kind, sidecar, tmp_path, "--redirect", "all", "--acme", f"127.0.0.1:{port}") as front:
        moved = ask(front.port, "POST", "/notes", HOLT, {"title": "moved"})
        assert (moved.status, moved["Location"]) == (308, f"https://127.0.0.1:{front.secure}/notes")
        proof = ask(front.port, "GET", "/.well-known/acme-challenge/token")
        assert (proof.status, proof.body) == (200, b"proof of /.well-known/acme-challenge/token")


@pytest.mark.parametrize("kind", FRONTS)
def test_an_ocsp_response_beside_the_certificate_is_stapled(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    authority.write(tmp_path, NAMES)
    authority.staple(tmp_path)
    with secured(kind, sidecar, tmp_path) as front:
        said = handshakes.s_client(front.secure, "-status", "-CAfile", str(tmp_path / "ca.pem"))
        assert "OCSP Response Status: successful" in said
        assert "Cert Status: good" in said


@pytest.mark.parametrize("kind", FRONTS)
def test_a_certificate_is_renewed_under_traffic_and_no_request_fails(
    kind: str, sidecar: Sidecar, tmp_path: Path
) -> None:
    with secured(kind, sidecar, tmp_path) as front, _Traffic(lambda: get(front.secure, tmp_path)) as traffic:
        old = handshakes.serial(front.secure, tmp_path / "ca.pem")
        until(lambda: len(traffic.seen) > 20)
        authority.write(tmp_path, NAMES)
        if kind == "haproxy":
            done = sidecar.cli("lb", "renew", str(tmp_path / "server.pem"), "--socket", str(front.socket))
        else:
            done = subprocess.run(front.reload, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        new = until(
            lambda: (found := handshakes.serial(front.secure, tmp_path / "ca.pem")) != old and found, 10, "renewed"
        )
        so_far = len(traffic.seen)
        until(lambda: len(traffic.seen) > so_far + 20)
    assert new == certificate.read(tmp_path / "server.pem", tmp_path / "server.pem").serial
    assert set(traffic.seen) == {200}


class _Traffic:
    """Users who ask without a pause; the status of each answer, or what went wrong."""

    def __init__(self, asked: Callable[[], Got], users: int = 3) -> None:
        self.seen: list[int | str] = []
        self._asked, self._stop = asked, threading.Event()
        self._users = [threading.Thread(target=self._run, daemon=True) for _ in range(users)]

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            try:
                self.seen.append(self._asked().status)
            except (OSError, http.client.HTTPException) as error:
                self.seen.append(repr(error))

    def __enter__(self) -> _Traffic:
        for user in self._users:
            user.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for user in self._users:
            user.join(30)


class _Acme:
    """An ACME client's own small server, which proves."""

    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"proof of {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    def __enter__(self) -> int:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


# The certificate's files -------------------------------------------------------------------------------------------


def test_a_renewal_keeps_the_authority_and_keys_are_private(tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=80)
    authority.write(tmp_path, ["localhost"], then)
    first, ca = authority.expiry(tmp_path / "server.crt"), (tmp_path / "ca.pem").read_bytes()
    authority.write(tmp_path, ["localhost"])
    assert authority.expiry(tmp_path / "server.crt") - first > timedelta(days=79)
    assert (tmp_path / "ca.pem").read_bytes() == ca
    for name in ("ca.key", "server.key", "server.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_files_that_clients_would_stumble_over_are_refused_by_name(tmp_path: Path) -> None:
    authority.write(tmp_path, ["localhost"])
    (tmp_path / "other").mkdir()
    authority.write(tmp_path / "other", ["localhost"])
    whole, leaf = tmp_path / "server.pem", tmp_path / "leaf.pem"
    leaf.write_bytes(whole.read_bytes().partition(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n")
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(leaf.read_bytes() + (tmp_path / "other" / "ca.pem").read_bytes())
    for file, key, why in (
        (tmp_path / "missing.pem", None, "No such file"),
        (tmp_path / "server.key", None, "no certificate"),
        (leaf, whole, "the chain is cut: the certificate of CN=Understudy development authority is missing"),
        (mixed, whole, "the chain is not in order"),
        (whole, tmp_path / "ca.pem", "no private key"),
        (whole, tmp_path / "other" / "server.key", "not that of"),
    ):
        with pytest.raises(ValueError, match=why) as caught:
            certificate.read(file, key or file)
        assert str(file if key is None or key == whole else key) in str(caught.value)
    with pytest.raises(ValueError, match="ended on"):
        certificate.read(whole, whole, datetime.now(UTC) + timedelta(days=91))


def test_expiry_is_a_metric_that_follows_the_file_and_is_absent_while_unknown(sidecar: Sidecar) -> None:
    folder, name = sidecar.data.parent, "understudy_certificate_expiry_timestamp_seconds"

    def seen() -> dict[str, float]:
        lines = sidecar.plane("GET", "/metrics").body.decode().splitlines()
        rows = [line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith(name + "{")]
        return {labels: float(value) for labels, value in rows}

    label = f'{{file="{folder / "server.pem"}"}}'
    assert seen() == {}
    for then in (datetime.now(UTC) - timedelta(days=80), datetime.now(UTC)):
        authority.write(folder, NAMES, then)
        assert seen() == {label: authority.expiry(folder / "server.crt").timestamp()}
    (folder / "server.pem").write_text("not a certificate")
    assert seen() == {}
    assert "holds no certificate" in sidecar.log.read_text()
