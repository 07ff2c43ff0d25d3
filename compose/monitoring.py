"""Prometheus and Alertmanager beside a sidecar, with the rules of its objectives: `python -m compose.monitoring`.

The configurations are those of compose/prometheus and compose/alertmanager, with addresses of this run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import urllib3
import yaml

FOLDER: Final = Path(__file__).parent
RULES: Final = "understudy.rules.yaml"
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


def alertmanager_config(webhook: str | None = None) -> str:
    """`webhook`: where it tells alerts, instead of the shipped address."""
    config = yaml.safe_load((FOLDER / "alertmanager" / "alertmanager.yml").read_text())
    if webhook:
        config["receivers"][0]["webhook_configs"][0]["url"] = webhook
    return yaml.safe_dump(config)


def prometheus_config(controls: Sequence[str], alerts: str, every: str | None = None) -> str:
    """Scrapes the sidecars' `controls` and tells `alerts` (each host:port) what the rules find; `every`: how often."""
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    config["scrape_configs"][0]["static_configs"][0]["targets"] = list(controls)
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts]
    if every is not None:
        config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    return yaml.safe_dump(config)


def alertmanager(home: Path, port: int, webhook: str | None = None) -> Service:
    """Alertmanager, telling `webhook`."""
    path = home / "alertmanager.yml"
    path.write_text(alertmanager_config(webhook))
    storage = f"--storage.path={home / 'alertmanager'}"
    return Service("alertmanager", home, port, f"--config.file={path}", storage, "--cluster.listen-address=")


def prometheus(home: Path, port: int, rules: str, control: str, alerts: str, every: str | None = None) -> Service:
    """Prometheus with these rules, scraping `control` and telling `alerts`."""
    path = home / "prometheus.yml"
    path.write_text(prometheus_config([control], alerts, every))
    (home / RULES).write_text(rules)
    storage = f"--storage.tsdb.path={home / 'prometheus'}"
    exemplars = "--enable-feature=exemplar-storage"
    resend = [] if every is None else [f"--rules.alert.resend-delay={every}"]  # the first is lost before discovery
    return Service("prometheus", home, port, f"--config.file={path}", storage, exemplars, *resend)


def write(home: Path, rules: str, controls: Sequence[str], alerts: str, webhook: str | None) -> None:
    """The configurations and rules for a Prometheus and an Alertmanager that somebody else runs, and may read them."""
    (home / RULES).write_text(rules)
    (home / "prometheus.yml").write_text(prometheus_config(controls, alerts))
    (home / "alertmanager.yml").write_text(alertmanager_config(webhook))
    home.chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, default=Path("data/monitoring"), help="where both write")
    parser.add_argument("--rules", type=Path, required=True, help="what `understudy slo rules --out FILE` wrote")
    parser.add_argument("--control", action="append", help="a sidecar's CONTROL_LISTEN; may be repeated with --write")
    parser.add_argument("--webhook", help="where Alertmanager tells alerts")
    parser.add_argument("--write", metavar="ALERTMANAGER", help="start nothing: configure for one at this host:port")
    given = parser.parse_args()
    home, controls = given.home.absolute(), given.control or ["127.0.0.1:8081"]
    home.mkdir(parents=True, exist_ok=True)
    if given.write:
        write(home, given.rules.read_text(), controls, given.write, given.webhook)
        return
    try:
        with (
            alertmanager(home, 9093, given.webhook) as told,
            prometheus(home, 9090, given.rules.read_text(), controls[0], "127.0.0.1:9093") as asked,
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
