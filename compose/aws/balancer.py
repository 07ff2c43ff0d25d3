"""An AWS Application Load Balancer as a CloudFormation template: inline mode, weighted between sidecars and upstream.

An ALB has no backup servers, and fails open: when all targets of a group are unhealthy it sends to them all the same.
So when every sidecar is down users get errors until somebody changes the weights (`--percent 0`): the template promises
no more. Two sidecars or more, in two zones, make that rare. Pure.
"""

from __future__ import annotations

from typing import Any

from compose.door import Door


def template(door: Door, percent: float = 100.0) -> dict[str, Any]:
    """The template. `percent` of requests go to the sidecars. Raises ValueError outside 0 to 100 or for failover."""
    if door.mode != "inline":
        raise ValueError("an ALB cannot try a second target: the failover mode needs haproxy or nginx")
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentage from 0 to 100; found {percent}")
    weight = round(percent)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Understudy's front door, inline. An ALB fails open: watch UnHealthyHostCount of Sidecars.",
        "Parameters": {
            "Vpc": {"Type": "AWS::EC2::VPC::Id"},
            "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"},
            "Certificate": {"Type": "String", "Description": "ARN of the listener's certificate."},
        },
        "Resources": {
            "Door": {
                "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "Properties": {"Type": "application", "Subnets": {"Ref": "Subnets"}},
            },
            "Sidecars": _group([s.serves for s in door.sidecars], "/healthz", door.sidecars[0].control_port),
            "Upstream": _group([door.upstream], "/", "traffic-port"),
            "Listener": {
                "Type": "AWS::ElasticLoadBalancingV2::Listener",
                "Properties": {
                    "LoadBalancerArn": {"Ref": "Door"},
                    "Port": 443,
                    "Protocol": "HTTPS",
                    "Certificates": [{"CertificateArn": {"Ref": "Certificate"}}],
                    "DefaultActions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": [
                        {"TargetGroupArn": {"Ref": "Sidecars"}, "Weight": weight},
                        {"TargetGroupArn": {"Ref": "Upstream"}, "Weight": 100 - weight},
                    ]}}],
                },
            },
        },
    }  # fmt: skip


def _group(targets: list[str], path: str, port: str) -> dict[str, Any]:
    split = [target.rpartition(":") for target in targets]
    return {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Properties": {
            "VpcId": {"Ref": "Vpc"},
            "TargetType": "ip",
            "Protocol": "HTTP",
            "Port": int(split[0][2]),
            "Targets": [{"Id": host, "Port": int(number)} for host, _, number in split],
            "HealthCheckPath": path,
            "HealthCheckPort": port,
            "HealthCheckIntervalSeconds": 5,
            "HealthCheckTimeoutSeconds": 2,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
            "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "60"}],
        },
    }
