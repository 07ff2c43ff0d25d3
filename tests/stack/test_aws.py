"""An Application Load Balancer: what is described, what is applied (moto stands for AWS), and that it fails open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from compose.aws import apply, balancer
from compose.aws.apply import ApplyFailed, Balancer, Place
from compose.aws.guard import Guard
from compose.balancer import Door, routes
from compose.lb import lb
from sidecar.cli import understudy
from sidecar.contract import Contract
from sidecar.settings import load_settings
from tests.stack.test_door import described

ROUTES = {route.id: route for route in routes(Contract.load("hosp"))}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Place]]:
    """An elbv2 client, and a VPC with two subnets."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "eu-west-2")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        ec2 = boto3.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"eu-west-2{zone}")
            for n, zone in enumerate("ab")
        ]
        arn = boto3.client("acm").request_certificate(DomainName="door.example")["CertificateArn"]
        yield boto3.client("elbv2"), Place(vpc, tuple(each["Subnet"]["SubnetId"] for each in subnets), arn)


def two() -> Door:
    return described("inline", "http://10.0.9.9", "10.0.0.10:8080/8081", "10.0.1.10:8080/8081")


def shares(elb: Any, endpoint: str | None) -> list[dict[str, int]]:
    """The weights of an endpoint's rules (None: of the default), per listener, by target group's name."""
    names = {g["TargetGroupArn"]: g["TargetGroupName"] for g in elb.describe_target_groups()["TargetGroups"]}
    arn = elb.describe_load_balancers(Names=["door"])["LoadBalancers"][0]["LoadBalancerArn"]
    found = []
    for listener in elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
        for rule in elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]:
            if apply._is_of(rule, ROUTES[endpoint] if endpoint else None):
                parts = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
                found.append({names[part["TargetGroupArn"]]: part["Weight"] for part in parts})
    return found


def weighed(ours: int) -> list[dict[str, int]]:
    return [{"door-sidecars": ours, "door-upstream": 100 - ours}] * 2


def test_the_template_has_a_rule_for_each_endpoint_of_each_listener_specific_ones_first() -> None:
    made = balancer.template(two(), 25)["Resources"]
    for listener in ("Plain", "Secure"):
        rules = [row["Properties"] for name, row in made.items() if name[:-3] == listener]
        assert len(rules) == len(ROUTES)
        assert sorted(rule["Priority"] for rule in rules) == list(range(1, len(ROUTES) + 1))
        paths = [rule["Conditions"][1]["PathPatternConfig"]["Values"] for rule in rules]
        assert paths.index(["/staffs/me", "/staffs/me.json"]) < paths.index(["/staffs/*"])
        parts = [rule["Actions"][0]["ForwardConfig"]["TargetGroups"] for rule in rules]
        assert {tuple(part["Weight"] for part in each) for each in parts} == {(25, 75)}
    assert made["Secure"]["Properties"]["SslPolicy"] == balancer.TLS_POLICY
    assert made["Sidecars"]["Properties"]["HealthCheckPort"] == "8081"
    assert made["Upstream"]["Properties"]["Targets"] == [{"Id": "10.0.9.9", "Port": 80}]


@pytest.mark.parametrize(("percent", "ours"), [(0, 0), (0.2, 1), (25, 25), (99.9, 99), (100, 100)])
def test_a_share_is_never_rounded_to_nothing_or_all(percent: float, ours: int) -> None:
    assert balancer.weights(percent) == (ours, 100 - ours)


def test_it_has_no_failover_and_no_share_beyond_all() -> None:
    with pytest.raises(ValueError, match="haproxy or nginx"):
        balancer.template(described("failover"))
    with pytest.raises(ValueError, match="from 0 to 100"):
        balancer.template(two(), 101)


def test_what_is_applied_is_there_once_however_often(aws: tuple[Any, Place]) -> None:
    elb, place = aws
    for _ in range(2):
        assert Balancer(elb, "door").apply(two(), place, 100).endswith(".elb.amazonaws.com")
    assert len(elb.describe_load_balancers()["LoadBalancers"]) == 1
    assert shares(elb, "notes.create") == shares(elb, None) == weighed(100)
    groups = {g["TargetGroupName"]: g for g in elb.describe_target_groups()["TargetGroups"]}
    assert groups["door-sidecars"]["HealthCheckPath"] == "/healthz"
    targets = elb.describe_target_health(TargetGroupArn=groups["door-sidecars"]["TargetGroupArn"])
    assert len(targets["TargetHealthDescriptions"]) == 2
    Balancer(elb, "door").apply(described("inline", "http://10.0.9.9", "10.0.0.10:8080/8081"), place, 100)
    assert Balancer(elb, "door").healthy() == 1  # one was taken away


def test_route_changes_one_endpoints_weights_and_applying_again_keeps_them(
    aws: tuple[Any, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    elb, place = aws
    Balancer(elb, "door").apply(two(), place, 100)
    monkeypatch.setenv("UNDERSTUDY_UPSTREAM", "http://10.0.9.9")
    done = CliRunner().invoke(understudy, ["route", "notes.create", "--to", "25%", "--at", "aws:door"])
    assert (done.exit_code, "25% of requests" in done.output) == (0, True), done.output
    Balancer(elb, "door").apply(two(), place, 100)
    assert shares(elb, "notes.create") == weighed(25)
    assert shares(elb, "notes.list") == weighed(100)
    for words in (["nonsense", "--to", "5", "--at", "aws:door"], ["notes.list", "--to", "5", "--at", "aws:nowhere"]):
        refused = CliRunner().invoke(understudy, ["route", *words])
        assert (refused.exit_code, refused.output.count("\n")) == (1, 1), refused.output


def test_the_command_applies(aws: tuple[Any, Place]) -> None:
    elb, place = aws
    words = ["aws", "--apply", "door", "--vpc", place.vpc, "--sidecar", "10.0.0.10:8080/8081"]
    words += [word for subnet in place.subnets for word in ("--subnet", subnet)]
    settings = load_settings({"UNDERSTUDY_UPSTREAM": "http://10.0.9.9", "UNDERSTUDY_BYPASS_AFTER": "0s"})
    done = CliRunner().invoke(lb, words, obj=settings)
    assert done.exit_code == 0, done.output
    assert shares(elb, "notes.create") == weighed(100)[:1]  # without a certificate there is no HTTPS
    assert CliRunner().invoke(lb, words[:3], obj=settings).exit_code == 2


def test_while_no_sidecar_is_healthy_the_guard_gives_the_upstream_all_and_takes_it_back(
    aws: tuple[Any, Place],
) -> None:
    elb, place = aws
    door = Balancer(elb, "door")
    door.apply(two(), place, 100)
    door.share(ROUTES["notes.create"], 25)
    said: list[str] = []
    guard = Guard(door, said.append)
    group = elb.describe_target_groups(Names=["door-sidecars"])["TargetGroups"][0]["TargetGroupArn"]
    targets = [{"Id": "10.0.0.10", "Port": 8080}, {"Id": "10.0.1.10", "Port": 8080}]
    for _ in range(2):
        guard.look()
    assert (shares(elb, "notes.create"), shares(elb, None)) == (weighed(25), weighed(100))
    elb.deregister_targets(TargetGroupArn=group, Targets=targets)
    guard.look()
    assert shares(elb, "notes.create") == weighed(25)  # one look moves nothing
    guard.look()
    assert shares(elb, "notes.create") == shares(elb, None) == weighed(0)
    elb.register_targets(TargetGroupArn=group, Targets=targets)
    later = Guard(door, said.append)  # another one, which has not seen what happened
    for _ in range(2):
        later.look()
    assert (shares(elb, "notes.create"), shares(elb, "notes.list")) == (weighed(25), weighed(100))
    assert said[-1] == "the sidecars have their shares"


class Blind:
    """A balancer that AWS says nothing of."""

    def healthy(self) -> int:
        raise ApplyFailed("AWS: throttled")

    def open(self, *, past: bool) -> None:
        raise AssertionError("nothing is known")


def test_what_aws_does_not_say_is_unknown_and_moves_nothing() -> None:
    said: list[str] = []
    guard = Guard(Blind(), said.append)
    for _ in range(5):
        guard.look()
    assert (guard.past, set(said)) == (None, {"unknown: AWS: throttled"})
