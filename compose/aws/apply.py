"""Makes an Application Load Balancer what `balancer` describes, changes its weights, and stands guard over it.

Everything is found by names that begin with the balancer's own, and is made only where it is missing: applying twice
changes nothing. Promises: no rule is ever without a target group. Raises ApplyFailed, one line, for what AWS refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from compose.aws.balancer import SIDECARS, TLS_POLICY, UPSTREAM, Json, conditions, forward, groups, ordered
from compose.balancer import Door, Route, routes
from sidecar.contract import Contract
from sidecar.settings import Settings

PERCENT: Final = "understudy:percent"
"""A rule's tag: the share that somebody gave it, which the guard goes back to."""


class ApplyFailed(ValueError):
    """AWS did not do what it was asked."""


@dataclass(frozen=True)
class Place:
    """Where a new balancer goes. `certificate`: the ARN of the HTTPS listener's; None: HTTP alone."""

    vpc: str
    subnets: tuple[str, ...]
    certificate: str | None = None


def client() -> Any:
    """An elbv2 client, with region and credentials from AWS's own variables and files. Raises ApplyFailed."""
    try:
        import boto3
    except ImportError:
        raise ApplyFailed("boto3 is not installed: pip install 'understudy[aws]'") from None
    with _told():
        return boto3.client("elbv2")


@contextmanager
def _told() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ApplyFailed(f"AWS: {' '.join(str(error).split())}") from None


@dataclass(frozen=True)
class Balancer:
    """One, by its name (at most 23 characters: its groups are called after it)."""

    elb: Any
    name: str

    def apply(self, door: Door, place: Place, percent: float) -> str:
        """Makes it so, with `percent` through the sidecars; returns its DNS name. Raises ApplyFailed, ValueError."""
        described = groups(door)
        with _told():
            arns = {name: self._group(name, *parts, place) for name, parts in described.items()}
            balancer = self._balancer(place)
            default = forward(arns, percent)
            listeners = [self._listener(balancer["LoadBalancerArn"], 80, default, {"Protocol": "HTTP"})]
            if place.certificate is not None:
                secure = {"Protocol": "HTTPS", "SslPolicy": TLS_POLICY}
                secure["Certificates"] = [{"CertificateArn": place.certificate}]  # type: ignore[assignment]
                listeners.append(self._listener(balancer["LoadBalancerArn"], 443, default, secure))
            for listener in listeners:
                there = self._rules(listener)
                for priority, route in enumerate(ordered(door), 1):
                    if not any(_is_of(rule, route) for rule in there):  # else it keeps the share that it was given
                        self._rule(listener, priority, route, arns, percent)
        return str(balancer["DNSName"])

    def share(self, route: Route | None, percent: float) -> str:
        """Gives `percent` of an endpoint's requests to the sidecars; None: of what no rule matches."""
        with _told():
            arns, changed = self._arns(), 0
            for listener in self._listeners():
                for rule in self._rules(listener):
                    if _is_of(rule, route):
                        self._set(listener, rule, arns, percent)
                        self._keep(listener, rule, percent)
                        changed += 1
        if not changed:
            raise ApplyFailed(f"{self.name} has no rule for {route.id if route else 'api'}: apply it again")
        return f"{percent:g}% of requests go to the sidecars, in {changed} listeners"

    def healthy(self) -> int:
        """How many sidecars are healthy by the balancer's own checks."""
        with _told():
            described = self.elb.describe_target_health(TargetGroupArn=self._arns()[SIDECARS])
        states = [each["TargetHealth"]["State"] for each in described["TargetHealthDescriptions"]]
        return states.count("healthy")

    def open(self, *, past: bool) -> None:
        """past: the upstream gets everything, and each rule's share is kept. Else each rule has what was kept of it."""
        with _told():
            arns = self._arns()
            for listener in self._listeners():
                for rule in self._rules(listener):
                    kept = self._kept(listener, rule)
                    if past and kept is None:
                        self._keep(listener, rule, _percent(rule, arns))
                    if past or kept is not None:
                        self._set(listener, rule, arns, 0 if past else kept or 0)

    # AWS's own things, found or made ----------------------------------------------------------------------------------

    def _group(self, name: str, properties: Json, targets: list[Json], place: Place) -> str:
        own = f"{self.name}-{name}"
        found = self._find(lambda: self.elb.describe_target_groups(Names=[own])["TargetGroups"])
        if found is None:
            found = self.elb.create_target_group(Name=own, VpcId=place.vpc, **properties)["TargetGroups"][0]
        arn = str(found["TargetGroupArn"])
        self.elb.register_targets(TargetGroupArn=arn, Targets=targets)
        gone = [target for target in self._targets(arn) if target not in targets]
        if gone:
            self.elb.deregister_targets(TargetGroupArn=arn, Targets=gone)
        return arn

    def _targets(self, arn: str) -> list[Json]:
        described = self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return [{"Id": each["Target"]["Id"], "Port": int(each["Target"]["Port"])} for each in described]

    def _balancer(self, place: Place) -> Json:
        found = self._find(lambda: self.elb.describe_load_balancers(Names=[self.name])["LoadBalancers"])
        if found is None:
            made = self.elb.create_load_balancer(Name=self.name, Type="application", Subnets=list(place.subnets))
            found = made["LoadBalancers"][0]
        return found

    def _listener(self, balancer: str, port: int, default: list[Json], how: Json) -> str:
        for listener in self.elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]:
            if listener["Port"] == port:
                return str(listener["ListenerArn"])
        made = self.elb.create_listener(LoadBalancerArn=balancer, Port=port, DefaultActions=default, **how)
        return str(made["Listeners"][0]["ListenerArn"])

    def _rule(self, listener: str, priority: int, route: Route, arns: dict[str, str], percent: float) -> None:
        made = self.elb.create_rule(
            ListenerArn=listener, Priority=priority, Conditions=conditions(route), Actions=forward(arns, percent)
        )
        self._keep(listener, made["Rules"][0], percent)

    def _set(self, listener: str, rule: Json, arns: dict[str, str], percent: float) -> None:
        actions = forward(arns, percent)
        if rule["IsDefault"]:
            self.elb.modify_listener(ListenerArn=listener, DefaultActions=actions)
        else:
            self.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=actions)

    def _keep(self, listener: str, rule: Json, percent: float) -> None:
        tagged = listener if rule["IsDefault"] else rule["RuleArn"]
        self.elb.add_tags(ResourceArns=[tagged], Tags=[{"Key": PERCENT, "Value": f"{percent:g}"}])

    def _kept(self, listener: str, rule: Json) -> float | None:
        """The share that was last given to it by hand; None: nobody has."""
        tagged = listener if rule["IsDefault"] else rule["RuleArn"]
        tags = self.elb.describe_tags(ResourceArns=[tagged])["TagDescriptions"][0]["Tags"]
        return next((float(tag["Value"]) for tag in tags if tag["Key"] == PERCENT), None)

    def _arns(self) -> dict[str, str]:
        found = {}
        for name in (SIDECARS, UPSTREAM):
            described = self.elb.describe_target_groups(Names=[f"{self.name}-{name}"])["TargetGroups"]
            found[name] = str(described[0]["TargetGroupArn"])
        return found

    def _listeners(self) -> list[str]:
        balancer = self.elb.describe_load_balancers(Names=[self.name])["LoadBalancers"][0]["LoadBalancerArn"]
        return [each["ListenerArn"] for each in self.elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]]

    def _rules(self, listener: str) -> list[Json]:
        pages = self.elb.get_paginator("describe_rules").paginate(ListenerArn=listener)
        return [rule for page in pages for rule in page["Rules"]]

    def _find(self, look: Callable[[], list[Json]]) -> Json | None:
        """The first that is found; None when AWS says that there is no such thing."""
        from botocore.exceptions import ClientError

        try:
            return next(iter(look()), None)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("TargetGroupNotFound", "LoadBalancerNotFound"):
                return None
            raise


def _is_of(rule: Json, route: Route | None) -> bool:
    if route is None or rule["IsDefault"]:
        return route is None and bool(rule["IsDefault"])
    shown = {each["Field"]: _values(each) for each in rule["Conditions"]}
    return shown == {each["Field"]: _values(each) for each in conditions(route)}


def _percent(rule: Json, arns: dict[str, str]) -> float:
    """The share of the sidecars, by the weights of the rule's groups."""
    parts = [part for action in rule["Actions"] for part in action.get("ForwardConfig", {}).get("TargetGroups", [])]
    total = sum(part.get("Weight", 1) for part in parts)
    ours = sum(part.get("Weight", 1) for part in parts if part["TargetGroupArn"] == arns[SIDECARS])
    return 100 * ours / total if total else 0


def _values(condition: Json) -> set[str]:
    return {value for each in condition.values() if isinstance(each, dict) for value in each["Values"]}


def share(settings: Settings, where: str, endpoint: str, percent: float) -> str:
    """`understudy route ENDPOINT --to … --at aws:NAME`. Raises ValueError."""
    route = next((each for each in routes(Contract.load(settings.contract)) if each.id == endpoint), None)
    if route is None and endpoint != "api":
        raise ApplyFailed(f"the contract has no endpoint {endpoint!r}")
    return Balancer(client(), where).share(route, percent)
