"""A real Alertmanager is told, and tells."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import yaml

from alerts.channels import Alertmanager, routes
from alerts.channels.alertmanager import PATH
from alerts.channels.deliverer import Deliverer
from alerts.delivery.queue import Answer, Told
from alerts.lifecycle.tables import open_alerts
from alerts.message import at
from compose.monitoring import alertmanager, alertmanager_config
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.alerts.receivers import receiver
from tests.support.stack import free_port, until
from tests.unit.alerts.channels.test_channels import BURN, DASHBOARD, SLOW, Telling


@contextmanager
def real_alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """Alertmanager itself, whose receiver is a webhook of ours."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("needs alertmanager")
    config = folder / "alertmanager.yaml"
    config.write_text(
        "route: {receiver: us, group_by: [alertname, severity], group_wait: 1s, group_interval: 1s}\n"
        f"receivers: [{{name: us, webhook_configs: [{{url: '{webhook}'}}]}}]\n"
    )
    port = free_port()
    words = [f"--config.file={config}", f"--storage.path={folder / 'am'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen([binary, *words, "--cluster.listen-address="], stdout=log, stderr=log)
    try:
        until(lambda: _amtool(port).returncode == 0, 20, "Alertmanager")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _amtool(port: int) -> subprocess.CompletedProcess[str]:
    words = ["alert", "query", "-o", "json", f"--alertmanager.url=http://127.0.0.1:{port}"]
    return subprocess.run(["amtool", *words], capture_output=True, text=True, check=False)


@pytest.mark.alertmanager
def test_a_real_alertmanager_has_the_same_alerts(tmp_path: Path) -> None:
    """And after a restart that forgot them, it is told again. What it sends has the shape that our webhook has."""
    engine = open_alerts(Settings(data=tmp_path / "data"))
    with receiver() as mine, real_alertmanager(tmp_path, mine.url) as url:
        port = int(url.rpartition(":")[2])
        seen = lambda: {alert["labels"]["slo"] for alert in json.loads(_amtool(port).stdout)}  # noqa: E731
        channel = Alertmanager(url, DASHBOARD, 3600)
        told = Telling(engine, channel, routes(Settings(alert_alertmanager=url), [channel])["alertmanager"])
        told.clock.now = time.time_ns()
        told.see(BURN, SLOW)
        assert [became for became, _ in told.tell(0)] == [Told.DONE, Told.DONE]
        assert seen() == {"answered", "in-time"}
        told.see(BURN)
        assert [became for became, _ in told.tell(0)] == [Told.DONE]
        until(lambda: seen() == {"answered"}, 20, "the end of one, there")
        assert channel.refresh(told.state.all()) == Answer(Told.DONE, "200")
        assert seen() == {"answered"}
        assert channel.refresh(told.state.all()) is None, "once a minute"
        until(lambda: "firing" in mine.statuses("ErrorBudgetBurn", "page"), 10, "Alertmanager's own message")
        _silences(told, channel, port)
    assert mine.misshapen == []
    engine.dispose()


def _silences(told: Telling, channel: Alertmanager, port: int) -> None:
    """What people silence and acknowledge here is silenced there, as long as here, and nobody else's silence is."""
    works = Deliverer(told.queue, told.state, [channel], lambda: True)

    def there() -> dict[str, list[str]]:
        """By comment: the labels' values that are silenced."""
        words = ["silence", "query", "-o", "json", f"--alertmanager.url=http://127.0.0.1:{port}"]
        found = json.loads(subprocess.run(["amtool", *words], capture_output=True, text=True, check=True).stdout)
        return {each["comment"].split(" (")[0]: sorted(m["value"] for m in each["matchers"]) for each in found}

    def suppressed() -> list[str]:
        words = ["alert", "query", "--silenced", "-o", "json", f"--alertmanager.url=http://127.0.0.1:{port}"]
        found = json.loads(subprocess.run(["amtool", *words], capture_output=True, text=True, check=True).stdout)
        return [each["labels"]["slo"] for each in found]

    add = ["silence", "add", "--comment=theirs", "--duration=1h", "slo=other"]
    subprocess.run(["amtool", *add, f"--alertmanager.url=http://127.0.0.1:{port}"], check=True, capture_output=True)
    told.state.acknowledge(BURN.key, "Ms Pell", "on it")
    night = told.state.mute({"severity": "ticket"}, "Ms Pell", "maintenance", told.clock.now + 3600 * SECOND)
    works.step(channel)
    assert there().keys() == {"theirs", "on it", "maintenance"}
    assert {"answered", "ErrorBudgetBurn", "page"} <= set(there()["on it"])
    until(lambda: suppressed() == ["answered"], 20, "the alert, silenced there")
    until_then = told.clock.now + 7200 * SECOND
    told.state.silence(BURN.key, "Ms Pell", "works on it", until_then)
    told.state.unmute(night)
    again = Deliverer(told.queue, told.state, [Alertmanager(channel._url[: -len(PATH)], DASHBOARD, 3600)], lambda: True)
    again.step(again._channels[0])
    assert there().keys() == {"theirs", "works on it"}, "also of an evaluator that has just begun"
    told.see()
    works.step(channel)
    assert there().keys() == {"theirs"}


@pytest.mark.alertmanager
def test_one_outage_that_prometheus_tells_is_one_message_by_the_shipped_configuration(tmp_path: Path) -> None:
    """The alerts of our rules, as Prometheus sends them: all that say the same of one outage are inhibited."""
    port = free_port()
    with receiver() as mine, alertmanager(tmp_path, port, mine.url) as service:
        burns = [
            {"alertname": "ErrorBudgetBurn", "severity": severity, "slo": slo, "view": view, "endpoint": endpoint}
            for severity in ("page", "ticket") for view in ("users", "hosp")
            for slo, endpoint in (("answered", "all"), ("in-time", "all"), ("endpoints", "GET /notes"))
        ]  # fmt: skip
        posted = [{"labels": labels, "startsAt": at(time.time_ns())} for labels in burns]
        asked = {"body": json.dumps(posted), "headers": {"Content-Type": "application/json"}}
        assert urllib3.request("POST", f"{service.url}{PATH}", retries=False, **asked).status == 200
        until(lambda: mine.got, 20, "a message")
        [told] = [payload for _, payload in mine.got]
        assert told["groupLabels"] == {"alertname": "ErrorBudgetBurn", "severity": "page"}
        named = {tuple(each["labels"][name] for name in ("slo", "view", "endpoint")) for each in told["alerts"]}
        assert named == {("answered", "users", "all"), ("in-time", "users", "all")}
        known = service.get(PATH)
        assert len(known) == len(burns)
        assert sum(not each["status"]["inhibitedBy"] for each in known) == 2, "no ticket is left to be told"


def test_a_page_waits_for_what_inhibits_others() -> None:
    """Of alerts that come together, some were told that Alertmanager was about to find inhibited."""
    route = yaml.safe_load(alertmanager_config())["route"]
    assert all(int(each["group_wait"].removesuffix("s")) >= 5 for each in (route, *route["routes"]))
