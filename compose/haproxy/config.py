"""HAProxy's configuration, for 2.6 and later.

Promises: a write is handed to a second server only when the connection to the first was never made, so that nothing
was sent. A read may be asked again. Every request has a server connection of its own (`http-server-close`): a kept
connection that the other side closes meanwhile would cut a write short of its answer. Each endpoint is a backend of
its own name, so that the share of its requests that goes to the sidecars can be set while HAProxy runs (`runtime`).
"""

from __future__ import annotations

from typing import Final

from compose.balancer import AFTER, PROBLEMS, WAITING_HELPS, Door, Route, Sidecar
from compose.tls.https import CHALLENGES, Https

DIRECT: Final = "direct"
"""The server of the inline mode that takes what is to pass the sidecars by: nothing, until somebody gives it weight."""
UPSTREAM: Final = "upstream"
_READS: Final = "{ method GET HEAD }"
_HEAD: Final = """\
# Written by `understudy lb haproxy --mode {mode}`. Write it again when contract or addresses change.
global
    maxconn 4000
    log stdout format raw local0 info
    stats socket {socket} mode 600 level admin expose-fd listeners
    hard-stop-after 60s
{tls}
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
{errors}
frontend door
    bind {listen}
    # One JSON object a line. Without queries, which may hold what is nobody's business.
    log global
    option dontlognull
    http-request set-var(txn.path) path
    http-request set-var(txn.method) method
    http-after-response set-var(txn.id) res.hdr(x-request-id)
    log-format '{log}'
    # A length beyond 64 bits is taken for what is left of it: where such a request ends, nobody knows.
    http-request reject if {{ req.fhdr(content-length),length gt 18 }}
    option forwardfor
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request del-header X-Understudy-Copy
    http-request del-header X-Understudy-Target
    http-request del-header X-Understudy-Copied
{https}"""
_LOG: Final = (
    '{"@timestamp":"%[date,ltime(%Y-%m-%dT%H:%M:%S%z)]","client.ip":"%ci","http.request.method":'
    '"%[var(txn.method),json(utf8s)]","url.path":"%[var(txn.path),json(utf8s)]","http.request.id":'
    '"%[var(txn.id),json(utf8s)]","http.response.status_code":%ST,"duration_ms":%Ta,"backend":"%b","server":"%s",'
    '"ended":"%ts","retries":"%rc","bytes":%B}'
)
_INLINE: Final = """\
    default_backend api

# Everything to the sidecars; to the upstream directly when none of them is well. A refused connection moves on at
# once (observe layer4). After a bypass the standby's knowledge is in doubt: run sidecars with
# UNDERSTUDY_BYPASS_AFTER=0s behind this configuration. `direct` takes the share of an endpoint that is to pass the
# sidecars by (`understudy route ENDPOINT --to 25% --at haproxy`): what passes by, the standby does not know.
"""
_FAILOVER: Final = """\
# Each endpoint goes to the upstream. What fails there is given to a sidecar whose standby is ready for that endpoint:
# reads on any failure, writes only when nothing was sent. One request in ten passes through a sidecar all the same,
# which forwards it and learns from it: credentials too. A write that was sent and failed is told to the user as it is.
# What passes a sidecar by it does not know: here the standby's answers may be older than the last write, and say so
# (Age, Cache-Status). Who cannot bear that uses the inline mode.
"""


def render(door: Door, socket: str = "/run/haproxy/admin.sock") -> str:
    """The whole file. `socket`: where the runtime API listens (weights and certificates at run time)."""
    tls = "" if door.https is None else _tls(door.https)
    https = ("" if door.https is None else _https(door.https)) + _host(door) + _acme(door)
    head = _HEAD.format(
        mode=door.mode, socket=socket, wait=door.wait + 5, listen=door.listen, tls=tls, https=https,
        errors=_errors(), log=_LOG,
    )  # fmt: skip
    body = _inline(door) if door.mode == "inline" else _failover(door)
    return head + _uses(door) + body + (f"\nbackend acme\n    server acme {door.acme}\n" if door.acme else "")


def _errors() -> str:
    """What HAProxy itself says where no server answers."""
    said = "    http-error status {} content-type application/problem+json string '{}'{}\n"
    return "".join(
        said.format(status, body, f" hdr Retry-After {AFTER}" if status in WAITING_HELPS else "")
        for status, body in PROBLEMS.items()
    )


def _tls(https: Https) -> str:
    """Mozilla's profile; a client chooses among the ciphers, for it knows whether it has AES in hardware."""
    profile = https.profile
    lines = [
        f"# TLS: Mozilla's profile `{profile.name}`, version 5.7.",
        f"ssl-default-bind-options ssl-min-ver {profile.protocols[0]} no-tls-tickets prefer-client-ciphers",
        f"ssl-default-bind-curves {':'.join(profile.curves)}",
        f"ssl-default-bind-ciphersuites {':'.join(profile.suites)}",
    ]
    if profile.ciphers:
        lines.append(f"ssl-default-bind-ciphers {':'.join(profile.ciphers)}")
    return "".join(f"    {line}\n" for line in lines)


def _https(https: Https) -> str:
    """The bind, HSTS and redirects. The key lies in the certificate's file."""
    lines = [f"bind {https.listen} ssl crt {https.certificate} alpn h2,http/1.1"]
    if https.hsts:
        lines.append(
            f"http-after-response set-header Strict-Transport-Security max-age={https.hsts} if {{ ssl_fc }}"
        )  # fmt: skip
    moved = f"location 'https://%[req.hdr(host),regsub(:[0-9]*$,)]{https.port}%[pathq]'"
    spared = f"unless {{ ssl_fc }} || {{ path_beg {CHALLENGES} }}"
    if https.redirect == "all":
        lines.append(f"http-request redirect {moved} code 308 {spared}")
    if https.redirect == "get":
        lines.append("acl safe method GET HEAD")
        lines.append(f"http-request redirect {moved} code 301 {spared} || !safe")
    return "".join(f"    {line}\n" for line in lines)


def _host(door: Door) -> str:
    """After what asks for the client's own Host."""
    return "" if door.host is None else f"    http-request set-header Host {door.host}\n"


def _acme(door: Door) -> str:
    return f"    use_backend acme if {{ path_beg {CHALLENGES} }}\n" if door.acme else ""


def _uses(door: Door) -> str:
    return "".join(
        f"    use_backend {route.id} if {{ method {route.method}{' HEAD' if route.method == 'GET' else ''} }}"
        f" {{ path -m reg {route.pattern} }}\n"
        for route in door.routes
    )


def _inline(door: Door) -> str:
    watched = (
        "check inter 500ms fastinter 100ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down weight 100"
    )
    checked = [
        f"server {s.name} {s.serves} {watched} addr {s.control_host} port {s.control_port}{_agent(s, '')}"
        for s in door.sidecars
    ]
    tracked = [f"server {s.name} {s.serves} track api/{s.name} weight 100" for s in door.sidecars]
    check = ["option httpchk", "http-check send meth GET uri /healthz"]
    blocks = [_inline_backend(door, "api", [*check, *checked])]
    blocks += [_inline_backend(door, route.id, tracked) for route in door.routes]
    return _INLINE + "\n".join(blocks)


def _inline_backend(door: Door, name: str, servers: list[str]) -> str:
    lines = [
        "balance roundrobin",
        "retry-on conn-failure empty-response",
        f"http-request disable-l7-retry unless {_READS}",
        *servers,
        _upstream(door, DIRECT, "weight 0"),
        _upstream(door, UPSTREAM, "backup"),
    ]
    return f"backend {name}\n" + "".join(f"    {line}\n" for line in lines)


def _failover(door: Door) -> str:
    blocks = [_endpoint(door, route) for route in door.routes]
    other = f"backend other\n    retry-on conn-failure\n    {_upstream(door, UPSTREAM)}\n"
    return "\n".join(["    default_backend other", "", _FAILOVER + _health(door), *blocks, other])


def _health(door: Door) -> str:
    """One check of the upstream for all endpoints: it is a small machine."""
    return (
        "backend upstream_health\n    option httpchk\n    http-check send meth GET uri / hdr Host "
        f"{door.upstream_host}\n    {_upstream(door, UPSTREAM, 'check inter 1s fall 2 rise 1')}\n"
    )


def _endpoint(door: Door, route: Route) -> str:
    again = "conn-failure empty-response response-timeout 500 502 503 504"
    lines = ["balance roundrobin", f"retry-on {again if route.method == 'GET' else 'conn-failure'}"]
    if route.method != "GET":
        lines.append("http-request disable-l7-retry")
    lines += ["option httpchk", f"http-check send meth GET uri /ready/{route.id}"]
    lines.append(_upstream(door, UPSTREAM, "track upstream_health/upstream weight 90"))
    lines += [
        f"server {s.name} {s.serves} check inter 1s fall 1 rise 1 weight 10 addr {s.control_host}"
        f" port {s.control_port}{_agent(s, route.id)}"
        for s in door.sidecars
    ]
    return f"backend {route.id}\n" + "".join(f"    {line}\n" for line in lines)


def _agent(sidecar: Sidecar, asked: str) -> str:
    """What the sidecar itself says of an endpoint, or of itself: up, down, or drain before it is restarted."""
    if sidecar.agent is None:
        return ""
    where = f"agent-addr {sidecar.control_host} agent-port {sidecar.agent}"
    return f' agent-check agent-inter 1s {where} agent-send "{asked}\\n"'


def _upstream(door: Door, name: str, options: str = "") -> str:
    tls = f" ssl verify required ca-file @system-ca sni str({door.upstream_name})" if door.upstream_tls else ""
    return f"server {name} {door.upstream}{tls} {options}".rstrip()
