"""HAProxy's configuration, for 2.6 and later.

Promises: a write is handed to a second server only when the connection to the first was never made, so that nothing
was sent. A read may be asked again. Every request has a server connection of its own (`http-server-close`): a kept
connection that the other side closes meanwhile would cut a write short of its answer.
"""

from __future__ import annotations

from typing import Final

from compose.door import Door, Route

_READS: Final = "{ method GET HEAD }"
_HEAD: Final = """\
# Written by `understudy lb haproxy --mode {mode}`. Write it again when contract or addresses change.
global
    maxconn 4000
    stats socket {socket} mode 600 level admin
    hard-stop-after 60s

defaults
    mode http
    option http-server-close
    option redispatch 1
    retries 2
    timeout connect 1s
    timeout client 75s
    timeout server {wait:.0f}s
    timeout http-request 10s
    timeout check 2s

frontend door
    bind {listen}
    option forwardfor
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
"""
_INLINE: Final = """\
    default_backend api

# Everything to the sidecars; to the upstream directly when none of them is well. A refused connection moves on at
# once (observe layer4). After a bypass the standby's knowledge is in doubt: run sidecars with
# UNDERSTUDY_BYPASS_AFTER=0s behind this configuration.
backend api
    balance roundrobin
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless {reads}
    option httpchk
    http-check send meth GET uri /healthz
{sidecars}
{upstream}
"""
_FAILOVER: Final = """\
# Each endpoint goes to the upstream. What fails there is given to a sidecar whose standby is ready for that endpoint:
# reads on any failure, writes only when nothing was sent. One request in ten passes through a sidecar all the same,
# which forwards it and learns from it: credentials too. A write that was sent and failed is told to the user as it is.
# What passes a sidecar by it does not know: here the standby's answers may be older than the last write, and say so
# (Age, Cache-Status). Who cannot bear that uses the inline mode.
"""


def render(door: Door, socket: str = "/run/haproxy/admin.sock") -> str:
    """The whole file. `socket`: where the runtime API listens (weights at run time)."""
    head = _HEAD.format(mode=door.mode, socket=socket, wait=door.wait + 5, listen=door.listen)
    return head + (_inline(door) if door.mode == "inline" else _failover(door))


def _inline(door: Door) -> str:
    watched = "check inter 500ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down"
    sidecars = [
        f"    server {s.name} {s.serves} {watched} addr {s.control_host} port {s.control_port}" for s in door.sidecars
    ]
    return _INLINE.format(sidecars="\n".join(sidecars), upstream=_upstream(door, "backup"), reads=_READS)


def _failover(door: Door) -> str:
    uses = [
        f"    use_backend {route.id} if {{ method {route.method}{' HEAD' if route.method == 'GET' else ''} }}"
        f" {{ path -m reg {route.pattern} }}"
        for route in door.routes
    ]
    blocks = [_endpoint(door, route) for route in door.routes]
    other = f"backend other\n    retry-on conn-failure\n{_upstream(door)}\n"
    return "\n".join([*uses, "    default_backend other", "", _FAILOVER + _health(door), *blocks, other])


def _health(door: Door) -> str:
    """One check of the upstream for all endpoints: it is a small machine."""
    return (
        "backend upstream_health\n    option httpchk\n    http-check send meth GET uri / hdr Host "
        f"{door.upstream_host}\n{_upstream(door, 'check inter 1s fall 2 rise 1')}\n"
    )


def _endpoint(door: Door, route: Route) -> str:
    again = "conn-failure empty-response response-timeout 500 502 503 504"
    lines = [
        f"backend {route.id}",
        "    balance roundrobin",
        f"    retry-on {again if route.method == 'GET' else 'conn-failure'}",
        "    option httpchk",
        f"    http-check send meth GET uri /ready/{route.id}",
        _upstream(door, "track upstream_health/upstream weight 9"),
    ]
    if route.method != "GET":
        lines.insert(3, "    http-request disable-l7-retry")
    lines += [
        f"    server {s.name} {s.serves} check inter 1s fall 1 rise 1 weight 1 addr {s.control_host}"
        f" port {s.control_port}"
        for s in door.sidecars
    ]
    return "\n".join(lines) + "\n"


def _upstream(door: Door, options: str = "") -> str:
    tls = f" ssl verify required ca-file @system-ca sni str({door.upstream_host})" if door.upstream_tls else ""
    return f"    server upstream {door.upstream}{tls} {options}".rstrip()
