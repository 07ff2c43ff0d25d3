"""An AWS Application Load Balancer, described: rules by endpoint, weighted between the sidecars and the upstream. Pure.

An ALB has no backup servers and never asks a second target. And it fails open: when every target of a group is
unhealthy, it sends to them all the same. So while no sidecar is well, users of the sidecars' group get errors, whatever
their health checks say, until weights are changed. What is done about it: two sidecars or more, in two zones; and
`understudy lb guard`, which gives the upstream everything while no sidecar is healthy, and takes it back. The
upstream's own group fails open too: that is as it should be, for nothing stands behind it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from compose.balancer import Door, Route

SIDECARS: Final = "sidecars"
UPSTREAM: Final = "upstream"
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""AWS's counterpart of Mozilla's intermediate profile: TLS 1.2 and 1.3, forward secrecy, authenticated ciphers."""
NAME: Final = {"Ref": "AWS::StackName"}
"""By which weights are changed later (`--at aws:STACK`, `lb guard STACK`)."""
Json = dict[str, Any]


def weights(percent: float) -> tuple[int, int]:
    """For the sidecars and the upstream, whole numbers from 0 to 999 as an ALB takes them. Raises ValueError."""
    if not 0 <= percent <= 100:
        raise ValueError(f"expected a percentage from 0 to 100; found {percent:g}")
    ours = round(percent) if percent in (0, 100) else min(max(round(percent), 1), 99)
    return ours, 100 - ours


def forward(groups: dict[str, Any], percent: float) -> list[Json]:
    """The actions of a rule. `groups`: SIDECARS and UPSTREAM → their ARN, or a reference to it."""
    shares = zip((SIDECARS, UPSTREAM), weights(percent), strict=True)
    parts = [{"TargetGroupArn": groups[name], "Weight": weight} for name, weight in shares]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": parts}}]


def conditions(route: Route) -> list[Json]:
    """What a rule of this endpoint matches. A wildcard of an ALB matches slashes too: specific rules come first."""
    path = re.sub(r"\{[^}]*\}", "*", route.template)
    paths = [path] if path.endswith(("*", "/")) else [path, f"{path}.json"]
    methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    return [
        {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": methods}},
        {"Field": "path-pattern", "PathPatternConfig": {"Values": paths}},
    ]


def ordered(door: Door) -> list[Route]:
    """The endpoints in the order of their rules: with more fixed segments first."""
    return sorted(door.routes, key=lambda route: (-_fixed(route), route.template.count("{"), route.id))


def _fixed(route: Route) -> int:
    return sum(bool(part) and "{" not in part for part in route.template.split("/"))


def group(targets: list[str], path: str, port: str) -> Json:
    """A target group's properties, in words that CloudFormation and the API share; not its name, VPC and targets."""
    return {
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": int(targets[0].rpartition(":")[2]),
        "HealthCheckPath": path,
        "HealthCheckPort": port,
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 2,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
    }


def groups(door: Door) -> dict[str, tuple[Json, list[Json]]]:
    """Both groups: their properties and targets. Raises ValueError for the failover mode."""
    if door.mode != "inline":
        raise ValueError("an ALB cannot try a second target: the failover mode needs haproxy or nginx")
    sidecars = [sidecar.serves for sidecar in door.sidecars]
    return {
        SIDECARS: (group(sidecars, "/healthz", door.sidecars[0].control_port), _targets(sidecars)),
        UPSTREAM: (group([door.upstream], "/", "traffic-port"), _targets([door.upstream])),
    }


def _targets(addresses: list[str]) -> list[Json]:
    return [{"Id": host, "Port": int(port)} for host, _, port in (address.rpartition(":") for address in addresses)]


def template(door: Door, percent: float = 100.0) -> Json:
    """All of it as a CloudFormation template. `percent` of requests go to the sidecars. Raises ValueError."""
    refs = {SIDECARS: {"Ref": "Sidecars"}, UPSTREAM: {"Ref": "Upstream"}}
    described = {name: _group(name, *parts) for name, parts in groups(door).items()}
    rules = {
        f"{listener}{priority:03}": _resource(
            "ListenerRule", ListenerArn={"Ref": listener}, Priority=priority, Conditions=conditions(route),
            Actions=forward(refs, percent),
        )
        for listener in ("Plain", "Secure")
        for priority, route in enumerate(ordered(door), 1)
    }  # fmt: skip
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Understudy's front door, inline. An ALB fails open: run `understudy lb guard` beside it.",
        "Parameters": {
            "Vpc": {"Type": "AWS::EC2::VPC::Id"},
            "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"},
            "Certificate": {"Type": "String", "Description": "ARN of the listener's certificate."},
        },
        "Resources": {
            "Door": _resource("LoadBalancer", Name=NAME, Type="application", Subnets={"Ref": "Subnets"}),
            "Sidecars": described[SIDECARS],
            "Upstream": described[UPSTREAM],
            "Plain": _resource(
                "Listener", LoadBalancerArn={"Ref": "Door"}, Port=80, Protocol="HTTP",
                DefaultActions=forward(refs, percent),
            ),
            "Secure": _resource(
                "Listener", LoadBalancerArn={"Ref": "Door"}, Port=443, Protocol="HTTPS", SslPolicy=TLS_POLICY,
                Certificates=[{"CertificateArn": {"Ref": "Certificate"}}], DefaultActions=forward(refs, percent),
            ),
            **rules,
        },
    }  # fmt: skip


def _group(name: str, properties: Json, targets: list[Json]) -> Json:
    drained = [{"Key": "deregistration_delay.timeout_seconds", "Value": "60"}]
    return _resource(
        "TargetGroup", Name={"Fn::Sub": f"${{AWS::StackName}}-{name}"}, VpcId={"Ref": "Vpc"}, Targets=targets,
        TargetGroupAttributes=drained, **properties,
    )  # fmt: skip


def _resource(kind: str, **properties: Any) -> Json:
    return {"Type": f"AWS::ElasticLoadBalancingV2::{kind}", "Properties": properties}
