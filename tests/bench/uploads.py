"""Memory under many large uploads at once: `python -m tests.bench.uploads --count 64 --megabytes 30`.

Each upload is held whole by the sidecar before a byte of it goes upstream. What its processes hold in memory of their
own (RssAnon) is looked at all the while; the upstream answers with the digest of what it got.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.stack import Sidecar
from tests.support.upstream import HOLT

PIECE = 1 << 20


class _Digests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, PIECE))
            left -= len(piece)
            digest.update(piece)
        body = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def digesting() -> Iterator[str]:
    """An upstream that answers with the SHA-256 of what it gets. Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Digests) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def anonymous(pids: list[int]) -> int:
    """Bytes of memory of their own that the processes hold."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


def upload(port: int, seed: int, size: int, *, chunked: bool) -> bool:
    """Sends `size` bytes; whether the upstream got just those."""
    pieces = [random.Random(seed).randbytes(min(PIECE, size - at)) for at in range(0, size, PIECE)]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest().encode()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    fields = HOLT if chunked else {**HOLT, "Content-Length": str(size)}
    try:
        connection.request("POST", "/upload", iter(pieces), fields, encode_chunked=chunked)
        return connection.getresponse().read() == digest
    finally:
        connection.close()


def measure(sidecar: Sidecar, count: int, size: int) -> tuple[int, int, int]:
    """(whole uploads, bytes of memory before, the most bytes during) of `count` uploads at once."""
    whole: list[bool] = []
    before = most = anonymous(sidecar.processes())
    threads = [
        threading.Thread(target=lambda n=n: whole.append(upload(sidecar.port, n, size, chunked=n % 2 == 0)))  # type: ignore[misc]
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            most = max(most, anonymous(sidecar.processes()))
            thread.join(0.05)
    return sum(whole), before, most


def running(url: str, folder: Path) -> Sidecar:
    return Sidecar(url, folder / "data", deadline="30s", upstream_timeout="60s", hedge_after="60s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--megabytes", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, digesting() as url, running(url, Path(folder)) as sidecar:
        for count in (given.count // 4, given.count):
            whole, before, most = measure(sidecar, count, given.megabytes << 20)
            print(
                f"{count} uploads of {given.megabytes} MB at once, {whole} whole: memory {before >> 20} MB before, "
                f"at most {most >> 20} MB during; {os.cpu_count()} cores"
            )


if __name__ == "__main__":
    main()
