"""Without OTLP there is nothing of traces in a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OFF = """
import sys
from pathlib import Path
from tests.support.gateway import InProcess
from tests.support.upstream import HOLT
with InProcess(Path(sys.argv[1])) as gateway:
    gateway.upstream.state.patients[17] = {"id": 17}
    assert gateway.ask("GET", "/patients/17", HOLT).status == 200
    assert gateway.ask("GET", "/patients/17", {**HOLT, "traceparent": sys.argv[2]}).status == 200
    print(dict(gateway.upstream.sent[-1].headers)["traceparent"])
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "sidecar.telemetry.spans"))))
"""


def test_off_nothing_of_opentelemetry_is_imported_and_the_clients_context_goes_on_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OFF, str(tmp_path), GIVEN], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [GIVEN, "[]"]
