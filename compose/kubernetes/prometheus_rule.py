"""`python -m compose.kubernetes.prometheus_rule RULES`: the rules of `understudy slo rules` for Prometheus Operator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml


def prometheus_rule(rules: str) -> dict[str, Any]:
    """`rules`: the content of a rule file. Its groups are taken as they are."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "understudy",
            "namespace": "understudy",
            "labels": {"app.kubernetes.io/part-of": "understudy"},
        },
        "spec": {"groups": yaml.safe_load(rules)["groups"]},
    }


if __name__ == "__main__":
    print(yaml.safe_dump(prometheus_rule(Path(sys.argv[1]).read_text()), sort_keys=False, width=1000), end="")
