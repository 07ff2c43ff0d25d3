"""Prometheus and Alertmanager beside a sidecar, with the rules of its objectives: `python -m compose.monitoring`.

The configurations are those of compose/prometheus and compose/alertmanager, with addresses of this run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import urllib3
import yaml

FOLDER: Final = Path(__file__).parent
PROGRAMS: Final = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}


class Missing(Exception):
    """A program is not on PATH."""


def program(name: str) -> str:
    """Its path; distributions call Alertmanager by two names. Raises Missing."""
    found = next((path for each in PROGRAMS[name] if (path := shutil.which(each))), None)
    if found is None:
        raise Missing(f"{' or '.join(PROGRAMS[name])} is not on PATH")
    return found


class Service:
    """A program that serves HTTP on loopback until it is left."""

    def __init__(self, name: str, home: Path, port: int, *words: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._name = name
        self._log = home / f"{name}.log"
        self._command = [program(name), *words, f"--web.listen-address=127.0.0.1:{port}"]

    def __enter__(self) -> Service:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RuntimeError(f"{self._name} did not start: see {self._log}")
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self, path: str, **fields: str) -> Any:
        """The JSON that is answered."""
        return urllib3.request("GET", f"{self.url}{path}", fields=fields, timeout=10, retries=False).json()

    def _is_ready(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/-/ready", timeout=1, retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False


def alertmanager(home: Path, port: int, webhook: str | None = None) -> Service:
    """`webhook`: where it tells alerts, instead of the shipped address."""
    config = yaml.safe_load((FOLDER / "alertmanager" / "alertmanager.yml").read_text())
    if webhook is not None:
        config["receivers"][0]["webhook_configs"][0]["url"] = webhook
    path = home / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    storage = f"--storage.path={home / 'alertmanager'}"
    return Service("alertmanager", home, port, f"--config.file={path}", storage, "--cluster.listen-address=")


def prometheus(
    home: Path, port: int, rules: str, control: str, alerts: str, every: str | None = None
) -> Service:  # fmt: skip
    """Scrapes `control` (host:port) and tells `alerts` (host:port) of what the rules find; `every`: how often."""
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [control]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts]
    if every is not None:
        config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    path = home / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    (home / "understudy.rules.yaml").write_text(rules)
    storage = f"--storage.tsdb.path={home / 'prometheus'}"
    resend = [] if every is None else [f"--rules.alert.resend-delay={every}"]  # the first is lost before discovery
    return Service("prometheus", home, port, f"--config.file={path}", storage, *resend)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, default=Path("data/monitoring"), help="where both write")
    parser.add_argument("--rules", type=Path, required=True, help="what `understudy slo rules --out FILE` wrote")
    parser.add_argument("--control", default="127.0.0.1:8081", help="the sidecar's CONTROL_LISTEN")
    parser.add_argument("--webhook", help="where Alertmanager tells alerts")
    given = parser.parse_args()
    home = given.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    try:
        with (
            alertmanager(home, 9093, given.webhook) as told,
            prometheus(home, 9090, given.rules.read_text(), given.control, "127.0.0.1:9093") as asked,
        ):
            print(f"Prometheus {asked.url}  Alertmanager {told.url}  (Ctrl-C stops both)", flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        pass
    except (Missing, OSError, RuntimeError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
