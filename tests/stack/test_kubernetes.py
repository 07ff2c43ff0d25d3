"""compose/kubernetes as kustomize builds it: valid by Kubernetes' published schemas, strictly, and at one with itself.

None of it was run: there is no cluster here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from compose.kubernetes.prometheus_rule import prometheus_rule
from compose.make_secrets import make
from sidecar.cli import understudy
from sidecar.settings import Settings, load_settings, strangers

FOLDER = Path(__file__).parents[2] / "compose/kubernetes"
OPERATOR = ("ServiceMonitor", "PrometheusRule")
"""Kinds of Prometheus Operator, of which Kubernetes publishes no schema."""
pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None and os.environ.get("UNDERSTUDY_TESTS") != "all", reason="kubectl is not on PATH"
)


@cache
def built() -> list[dict[str, Any]]:
    """All that is applied."""
    command = ["kubectl", "kustomize", str(FOLDER / "monitoring")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of(*kinds: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in built() if found["kind"] in kinds}


def workloads() -> dict[str, dict[str, Any]]:
    """By name: the pods' template."""
    return {name: found["spec"]["template"] for name, found in of("StatefulSet", "Deployment").items()}


def ports(template: dict[str, Any]) -> dict[str, int]:
    (container,) = template["spec"]["containers"]
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def chosen(selector: dict[str, str]) -> list[dict[str, Any]]:
    """The pods' templates that a selector chooses."""
    return [each for each in workloads().values() if selector.items() <= each["metadata"]["labels"].items()]


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_published_schemas_take_it_and_can_refuse_it(version: str) -> None:
    checked = [found for found in built() if found["kind"] not in OPERATOR]
    for found in checked:
        kubernetes_validate.validate(found, version, strict=True)
    assert {"StatefulSet", "Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= {each["kind"] for each in checked}
    sidecar = of("StatefulSet")["understudy-sidecar"]
    wrong = {**sidecar, "spec": {**sidecar["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_settings_are_settings() -> None:
    (settings,) = of("ConfigMap").values()
    for name, template in workloads().items():
        (container,) = template["spec"]["containers"]
        assert [each["configMapRef"]["name"] for each in container["envFrom"]] == [settings["metadata"]["name"]]
        given = settings["data"] | {each["name"]: each.get("value", "x") for each in container["env"]}
        assert strangers(given) == [], name
        values = {key: value.replace("$(POD_IP)", "10.0.0.1") for key, value in given.items() if "_FILE" not in key}
        loaded = load_settings(values)
        grace = template["spec"].get("terminationGracePeriodSeconds", 0)
        assert name != "understudy-sidecar" or grace > loaded.drain + loaded.grace


def test_secrets_are_those_that_are_made(tmp_path: Path) -> None:
    made = set(make(tmp_path))
    for name, template in workloads().items():
        (container,) = template["spec"]["containers"]
        (volume,) = [each["secret"] for each in template["spec"]["volumes"] if "secret" in each]
        shown = {item["key"] for item in volume["items"]} if "items" in volume else {*made}
        assert shown <= made
        assert volume["defaultMode"] == 0o440
        (settings,) = of("ConfigMap").values()
        given = [*settings["data"].values(), *(each.get("value", "") for each in container["env"])]
        asked = {Path(value).name for value in given if value.startswith("/run/secrets/understudy/")}
        assert asked <= shown, name


def test_journals_and_keys_are_on_volumes_of_their_own() -> None:
    sidecar = of("StatefulSet")["understudy-sidecar"]["spec"]
    (container,) = sidecar["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in sidecar["volumeClaimTemplates"]}
    assert {name: mounts[name] for name in claims} == {
        "data": "/var/lib/understudy", "keys": "/var/lib/understudy-keys",
    }  # fmt: skip
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["UNDERSTUDY_SIGN_KEY"].startswith(f"{mounts['keys']}/")
    assert given["UNDERSTUDY_HIGH_WATER_MARK"].startswith(f"{mounts['keys']}/")
    assert "ENV UNDERSTUDY_DATA" not in (FOLDER.parent / "Dockerfile").read_text()
    assert f"UNDERSTUDY_DATA={mounts['data']}/data" in (FOLDER.parent / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["understudy-sidecar", "understudy-dashboard", "understudy-alerts"])
def test_pods_are_nobody_on_a_read_only_root_and_are_looked_at(name: str) -> None:
    pod = workloads()[name]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == closed
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        (how,) = [container[probe][each] for each in ("httpGet", "tcpSocket") if each in container[probe]]
        assert how["port"] in ports(workloads()[name])
    assert "tcpSocket" in container["livenessProbe"], "that the database is away is no reason to be killed"
    assert container["resources"]["limits"].keys() == {"memory"}


def test_services_policies_and_budget_name_what_is_there() -> None:
    for name, service in of("Service").items():
        (template,) = chosen(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(template).keys(), name
    assert of("StatefulSet")["understudy-sidecar"]["spec"]["serviceName"] in of("Service")
    for name, policy in of("NetworkPolicy").items():
        templates = chosen(policy["spec"]["podSelector"]["matchLabels"])
        assert templates, name
        for rule in policy["spec"].get("ingress", ()):
            named = {port["port"] for port in rule["ports"]}
            assert all(named <= ports(template).keys() for template in templates), name
    (everything,) = [each for each in of("NetworkPolicy").values() if "Egress" in each["spec"]["policyTypes"]]
    assert len(chosen(everything["spec"]["podSelector"]["matchLabels"])) == len(workloads())
    budget = of("PodDisruptionBudget")["understudy-sidecar"]["spec"]
    assert len(chosen(budget["selector"]["matchLabels"])) == 1
    for claim in of("PersistentVolumeClaim"):
        assert claim in {
            each.get("persistentVolumeClaim", {}).get("claimName")
            for template in workloads().values() for each in template["spec"]["volumes"]
        }  # fmt: skip


def test_the_operator_scrapes_under_the_job_of_the_rules_and_lets_our_labels_win() -> None:
    monitors = of("ServiceMonitor")
    for monitor in monitors.values():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [each for each in of("Service").values() if wanted.items() <= each["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        if monitor["metadata"]["name"] == "understudy-sidecar":
            assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == Settings().prometheus_job
            assert endpoint["honorLabels"] is True
    assert "jobLabel" not in monitors["understudy-alerts"]["spec"]


@pytest.mark.prometheus
def test_the_rules_are_taken_by_promtool(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    made = CliRunner().invoke(understudy, ["slo", "rules", "--out", str(rules)])
    assert made.exit_code == 0, made.output
    found = prometheus_rule(rules.read_text())
    assert (found["kind"], found["metadata"]["namespace"]) == ("PrometheusRule", "understudy")
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(found["spec"]))
    checked = subprocess.run(["promtool", "check", "rules", str(spec)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
