"""HTTPS beside HTTP, with real HAProxy and nginx: protocols, HTTP/2, redirects, HSTS, and `url` as the user asked."""

from __future__ import annotations

import http.client
import shutil
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from compose.tls import authority
from tests.stack import Got, Sidecar, ask, free_port, until
from tests.upstream import HOLT, Upstream

FRONTS = [
    pytest.param("haproxy", marks=pytest.mark.haproxy),
    pytest.param("nginx", marks=pytest.mark.nginx),
]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data: Path = tmp_path_factory.mktemp("tls") / "data"
    with Upstream() as upstream, Sidecar(upstream.url, data, workers="1", trusted_proxies="127.0.0.1") as running:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        yield running


@contextmanager
def door(kind: str, sidecar: Sidecar, folder: Path, redirect: str, hsts: int) -> Iterator[tuple[int, int]]:
    """A balancer with these switches; yields its HTTP and HTTPS ports."""
    binary = shutil.which(kind) or shutil.which(kind, path="/usr/sbin")
    if binary is None:
        pytest.skip(f"needs {kind}")
    authority.write(folder, ["localhost", "127.0.0.1"])
    name = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[kind]
    text = (Path(authority.__file__).parent / name).read_text()
    plain, secure = free_port(), free_port()
    given = {
        "http": f"127.0.0.1:{plain}", "https": f"127.0.0.1:{secure}", "certificate": str(folder / "server.pem"),
        "folder": str(folder), "redirect": redirect, "hsts": str(hsts), "sidecar": f"127.0.0.1:{sidecar.port}",
        "control_host": "127.0.0.1", "control_port": str(sidecar.control), "hosp": "127.0.0.1:9",
    }  # fmt: skip
    for word, value in given.items():
        text = text.replace("{" + word + "}", value)
    config = folder / name
    config.write_text(text)
    arguments = ["-db", "-f", str(config)] if kind == "haproxy" else ["-c", str(config), "-p", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        until(lambda: ask(plain, "GET", "/", HOLT).status < 500, 15, (folder / "log").read_text())
        yield plain, secure
    finally:
        process.terminate()
        process.wait(10)


def secure_get(port: int, folder: Path, target: str) -> Got:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request("GET", target, headers=HOLT)
        answer = connection.getresponse()
        return Got(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def openssl(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *words]
    return subprocess.run(command, input="", capture_output=True, text=True, errors="replace", timeout=20, check=False)


@pytest.mark.parametrize("kind", FRONTS)
def test_https_beside_http(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with door(kind, sidecar, tmp_path, "get", 300) as (plain, secure):
        got = secure_get(secure, tmp_path, "/patients/17")
        assert (got.status, got["Strict-Transport-Security"]) == (200, "max-age=300")
        assert got.json()["url"].startswith(f"https://localhost:{secure}/")
        moved = ask(plain, "GET", "/patients/17?x=1", HOLT)
        assert (moved.status, moved["Location"][:8], moved["Location"][-15:]) == (
            301,
            "https://",
            "/patients/17?x=1"[-15:],
        )
        assert ask(plain, "POST", "/notes", HOLT, {"title": "kept", "patient_id": 17}).status == 201
        assert "Cipher is (NONE)" in openssl(secure, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0").stdout
        assert "Cipher is (NONE)" in openssl(secure, "-tls1_2", "-cipher", "AES128-SHA").stdout
        assert "ECDHE-ECDSA-AES" in openssl(secure, "-tls1_2").stdout
        assert "TLSv1.3" in openssl(secure, "-tls1_3").stdout
        assert "ALPN protocol: h2" in openssl(secure, "-alpn", "h2,http/1.1").stdout


@pytest.mark.parametrize("kind", FRONTS)
def test_without_redirects_and_hsts_http_is_as_it_was(kind: str, sidecar: Sidecar, tmp_path: Path) -> None:
    with door(kind, sidecar, tmp_path, "off", 0) as (plain, secure):
        got = ask(plain, "GET", "/patients/17", HOLT)
        assert (got.status, got["Strict-Transport-Security"]) == (200, "")
        assert got.json()["url"].startswith(f"http://127.0.0.1:{plain}/")
        got = secure_get(secure, tmp_path, "/patients/17")
        assert (got.status, got["Strict-Transport-Security"]) == (200, "")


def test_renewal_keeps_the_authority_and_keys_are_private(tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=80)
    authority.write(tmp_path, ["localhost"], then)
    first, ca = authority.expiry(tmp_path / "server.crt"), (tmp_path / "ca.pem").read_bytes()
    authority.write(tmp_path, ["localhost"])
    assert authority.expiry(tmp_path / "server.crt") - first > timedelta(days=79)
    assert (tmp_path / "ca.pem").read_bytes() == ca
    for name in ("ca.key", "server.key", "server.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
