"""The front door: what the command prints, and what users get while HOSP, the sidecar and both are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import balancer
from compose.haproxy import config as haproxy_config
from compose.nginx import config as nginx_config
from sidecar.contract import Contract
from sidecar.settings import load_settings
from tests.stack.front import play


def described(mode: balancer.Mode = "inline", upstream: str = "http://hosp.example", *sidecars: str) -> balancer.Door:
    settings = load_settings({"UNDERSTUDY_UPSTREAM": upstream})
    return balancer.describe(settings, Contract.load("hosp"), mode, "[::]:80", sidecars)


@pytest.mark.parametrize("word", ["nowhere", "10.0.0.1:8080", "10.0.0.1:8080/x", "10.0.0.1:8080/70000", "a b:1/2"])
def test_a_sidecar_that_does_not_fit_is_named(word: str) -> None:
    with pytest.raises(balancer.DoorError):
        described("inline", "http://hosp.example", word)


def test_an_upstream_with_a_path_is_refused() -> None:
    with pytest.raises(balancer.DoorError, match="/base"):
        described("inline", "http://hosp.example/base")


def test_own_paths_come_before_paths_with_parameters() -> None:
    ids = [route.id for route in described().routes]
    assert ids.index("staffs.me") < ids.index("staffs.read")
    assert set(ids) == set(Contract.load("hosp").endpoints)


def test_every_sidecar_is_in_the_configuration_and_the_upstream_is_their_backup() -> None:
    two = described("inline", "http://hosp.example", "10.0.0.1:8080/8081", "10.0.0.2:8080/8081")
    for text in (haproxy_config.render(two), nginx_config.render(two)):
        assert "10.0.0.1:8080" in text
        assert "10.0.0.2:8080" in text
        assert [line for line in text.splitlines() if "hosp.example:80" in line and "backup" in line]


def test_nginx_refuses_an_upstream_with_tls_that_has_no_name() -> None:
    with pytest.raises(ValueError, match="use a name"):
        nginx_config.render(described("inline", "https://10.0.0.1"))


def test_no_write_has_a_backend_that_asks_again_after_it_was_sent() -> None:
    blocks = haproxy_config.render(described("failover")).split("\nbackend ")
    writes = [block for block in blocks if block.startswith(("notes.create", "notes.replace", "notes.delete"))]
    assert len(writes) == 3
    assert all("retry-on conn-failure\n" in block and "disable-l7-retry" in block for block in writes)


@pytest.mark.parametrize(
    ("program", "mode"),
    [
        pytest.param("haproxy", "inline", marks=pytest.mark.haproxy),
        pytest.param("nginx", "failover", marks=pytest.mark.nginx),
    ],
)
@pytest.mark.slow
def test_parts_are_killed_in_turn_and_no_write_is_lost_or_applied_twice(
    program: str, mode: str, tmp_path: Path
) -> None:
    seen = play(program, mode, tmp_path)
    assert seen.twice == []
    assert seen.lost == []
    assert len(seen.acknowledged) > 50
    for phase in ("all well", "HOSP dead", "sidecar dead"):
        count = seen.phases[phase].seen
        done = count["reads", "done"] + count["writes", "done"]
        assert done >= 0.9 * sum(count.values()), (phase, count)
    assert seen.phases["all well"].seen.total() == sum(
        seen.phases["all well"].seen[kind, "done"] for kind in ("reads", "writes")
    )
    assert seen.phases["both back"].seen["writes", "done"] > 0
