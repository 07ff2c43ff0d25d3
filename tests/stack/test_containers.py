"""The compose file, the Dockerfile and the units say what they are meant to, in words that the product knows.

Images are built and run by `python -m tests.stack.image`, where an engine exists.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from compose.health import healthy
from compose.make_secrets import make
from compose.units import units
from sidecar.settings import PREFIX, load_settings, strangers
from tests.support.upstream import Upstream

FOLDER = Path(__file__).parents[2] / "compose"
FILE = FOLDER / "docker-compose.yml"
UNITS = sorted((FOLDER / "systemd").glob("understudy-*"))
CONTENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
OURS = {name: service for name, service in SERVICES.items() if "UNDERSTUDY_IMAGE" in service["image"]}
DIGEST = "sha256:[0-9a-f]{64}"


def needs(program: str) -> pytest.MarkDecorator:
    """Skips, clearly, where a program is missing; not where UNDERSTUDY_TESTS=all wants every test run."""
    absent = shutil.which(program) is None and os.environ.get("UNDERSTUDY_TESTS") != "all"
    return pytest.mark.skipif(absent, reason=f"{program} is not on PATH")


def test_the_compose_file_is_of_the_specification() -> None:
    """Strictly: an unknown key, or a reference to what is not there, is refused."""
    # The reader leaves merge keys to YAML, and variables to compose.
    merged = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", yaml.safe_dump(CONTENT))
    read = PyCompose.from_yaml(merged)
    read.validate()
    assert set(read.service_names()) == SERVICES.keys()
    with pytest.raises(Exception, match="memory_limit"):
        PyCompose.from_yaml(merged.replace("mem_limit", "memory_limit"))


@needs("docker-compose")
@pytest.mark.parametrize("profile", ["demo", "full", "kibana"])
def test_docker_compose_takes_it(profile: str, tmp_path: Path) -> None:
    make(tmp_path / "secrets")
    command = ["docker-compose", "-f", str(FILE), "--profile", profile, "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def of(profile: str) -> set[str]:
    return {name for name, service in SERVICES.items() if profile in service["profiles"]}


def test_profiles_hold_what_they_are_for() -> None:
    assert of("demo") == {"hosp", "sidecar"}
    full = {"sidecar-one", "sidecar-two", "elasticsearch", "postgresql", "prometheus", "alertmanager"}
    assert of("full") >= full | {"dashboard", "alerts", "door"}
    assert of("kibana") == of("full") | {"kibana", "kibana-objects"}


def test_what_is_pulled_is_pinned_by_digest() -> None:
    pulled = {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert [image for image in pulled if not re.fullmatch(rf"[\w./-]+@{DIGEST}", image)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert {"cpus", "mem_limit", "pids_limit", "logging", "restart"} <= service.keys()
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.search(rf":v?\d+\.\d+|:-understudy:local|@{DIGEST}", service["image"]), "an image of a release"
    assert all(published.startswith("127.0.0.1:") for published in service.get("ports", []))
    assert name in OURS or "healthcheck" in service
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] in ("service_healthy", "service_completed_successfully")
        assert set(service["profiles"]) <= set(SERVICES[other]["profiles"]), f"{other} is not there"


def test_sidecars_of_the_full_profile_believe_the_front_door_and_nobody_else() -> None:
    door = SERVICES["door"]["networks"]
    address = door["inside"]["ipv4_address"]
    for name in ("sidecar-one", "sidecar-two"):
        assert set(door) & set(SERVICES[name]["networks"]) == {"inside"}, "it has one address for them"
        assert SERVICES[name]["environment"]["UNDERSTUDY_TRUSTED_PROXIES"] == address
    (pool,) = CONTENT["networks"]["inside"]["ipam"]["config"]
    assert ip_address(address) in ip_network(pool["subnet"])
    assert ip_address(address) not in ip_network(pool["ip_range"]), "nobody else is given it"


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_as_nobody_on_a_read_only_root(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    environment = service.get("environment", {})
    assert strangers(environment) == []
    secret = {f"{PREFIX}{word}" for word in ("CONTROL_TOKEN", "DATABASE", "SENTRY_DSN")}
    assert not secret & environment.keys(), "secrets are files"
    for value in environment.values():
        if str(value).startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in names_of(service["secrets"])


def names_of(secrets: list[str | dict[str, str]]) -> set[str]:
    """What a service's secrets are called within it."""
    return {each if isinstance(each, str) else each["target"] for each in secrets}


def test_secrets_are_made_once_and_are_good_settings(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert set(make(folder)) == set(CONTENT["secrets"])
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert make(folder) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {
        "UNDERSTUDY_CONTROL_TOKEN_FILE": str(folder / "control_token"),
        "UNDERSTUDY_DATABASE_FILE": str(folder / "database_url"),
    }
    settings = load_settings(files)
    assert settings.control_token == first["control_token"].decode()
    assert first["database_password"].decode() in str(settings.database)
    assert len(first["seal_key"]) == 32


def test_the_health_check_of_containers_tells_good_from_bad() -> None:
    with Upstream() as upstream:
        assert healthy(upstream.url)
        assert not healthy(f"{upstream.url}/staffs/me")
    assert not healthy(upstream.url, 0.5)


def test_the_dockerfile_has_two_stages_and_ends_as_nobody() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith(("#", " "))]
    assert [word[0] for word in words].count("FROM") == 2
    (base,) = (word[1] for word in words if word[0] == "ARG" and word[1].startswith("BASE="))
    assert re.fullmatch(rf"BASE=python:3\.11\.\d+-slim-bookworm@{DIGEST}", base)
    last = {word[0]: word[1:] for word in words}
    assert last["USER"] == ["10001:10001"]
    assert last["ENTRYPOINT"] == ['["understudy"]']
    assert "HEALTHCHECK" in last
    named = set(re.findall(rf"({PREFIX}\w+)=", "\n".join(lines)))
    assert strangers(dict.fromkeys(named, "")) == []


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(FOLDER / "Dockerfile")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_units_name_settings_that_exist() -> None:
    for unit in UNITS:
        named = re.findall(rf"({PREFIX}[A-Z_]+)=", unit.read_text())
        assert strangers(dict.fromkeys(named, "")) == [], unit.name


@needs("systemd-analyze")
@pytest.mark.parametrize("embedded", [True, False])
def test_systemd_takes_the_units(tmp_path: Path, embedded: bool) -> None:
    for name, text in units(embedded=embedded).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("/opt/understudy/bin/understudy", "/bin/true"))
    files = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "understudy" in line]
    assert (done.returncode, said) == (0, [])
    for path in files:
        if path.endswith(".service"):
            judged = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=25", path],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert judged.returncode == 0, judged.stdout[-500:]


@pytest.mark.prometheus
def test_the_containers_prometheus_and_alertmanager_know_each_other_and_both_sidecars(tmp_path: Path) -> None:
    """What the service `monitoring-configuration` writes, as it writes it."""
    (script,) = SERVICES["monitoring-configuration"]["command"]
    shell = (
        script.replace("$$", "$").replace("/var/lib/understudy", str(tmp_path)).replace("/tmp/rules", f"{tmp_path}/r")
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "UNDERSTUDY_UPSTREAM": "http://hosp:9000", "UNDERSTUDY_ALERT_WEBHOOK": ""}
    done = subprocess.run(["sh", "-ec", shell], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in (["promtool", "check", "config", "prometheus.yml"], ["amtool", "check-config", "alertmanager.yml"]):
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    written = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    targets = written["scrape_configs"][0]["static_configs"][0]["targets"]
    (alerts,) = written["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert {target.partition(":")[0] for target in [*targets, alerts]} == {"sidecar-one", "sidecar-two", "alertmanager"}


def test_keys_and_mark_lie_on_another_volume_than_data() -> None:
    """What a DATA that is put back would bring back older: then nobody could tell that it is."""
    sidecars = {name: service for name, service in OURS.items() if service["command"] == ["sidecar"]}
    assert len(sidecars) == 3
    for service in sidecars.values():
        environ = {name: str(value) for name, value in service["environment"].items()}
        settings = load_settings({"UNDERSTUDY_DATA": "/var/lib/understudy/data", **_clear(environ)})
        volumes = dict(reversed(volume.split(":")) for volume in service["volumes"])
        secrets = {f"/run/secrets/{name}" for name in names_of(service["secrets"])}
        kept = (settings.seal_key_file, settings.sign_key_file, settings.sign_head_file, settings.high_water_mark_file)
        for file in kept:
            place = next((place for place in volumes if file.is_relative_to(place)), None)
            assert place != "/var/lib/understudy", file
            assert place is not None or str(file) in secrets, f"{file} goes with the container"
    assert "/var/lib/understudy-keys" in (FOLDER / "Dockerfile").read_text(), "owned by the image's user"


def _clear(environ: dict[str, str]) -> dict[str, str]:
    """Without variables of compose's own, and files that are there only in a container."""
    return {name: value for name, value in environ.items() if not name.endswith("_FILE") and "${" not in value}
