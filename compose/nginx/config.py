"""nginx's configuration, for the open-source nginx 1.22 and later: a whole file for `nginx -c`.

Promises: a write is handed to a second server only when the connection to the first was never made. nginx keeps that
rule for POST and PATCH but takes PUT and DELETE for repeatable, so these have a location that never tries again.
nginx has no active checks without its commercial licence: a server that failed is left alone for a second.

In the failover mode every request that goes to the upstream is copied to a sidecar (`mirror`), marked as a copy: the
sidecar writes it down, and puts in doubt what a copied write may have changed; it never sends a copy on. A copy has no
answer, so knowledge comes from elsewhere: one request in ten passes through a sidecar, and backfill asks for the rest.
"""

from __future__ import annotations

from typing import Final

from compose.balancer import Door
from compose.tls.https import CHALLENGES, Https

_FILE: Final = """\
# Written by `understudy lb nginx --mode {mode}`. Write it again when addresses change.
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 8192;
worker_shutdown_timeout 60s;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    server_tokens off;
    merge_slashes off;
    client_max_body_size {body};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ignore_invalid_headers off;
    underscores_in_headers off;

    # {said}
    upstream api {{
{servers}
    }}
{ways}{hsts}    server {{
        listen {listen};
{https}        proxy_http_version 1.1;
        proxy_set_header Host {host};
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Understudy-Copy "";
        proxy_set_header X-Understudy-Target "";
        proxy_set_header X-Understudy-Copied {copied};
        proxy_set_header Connection close;
        proxy_connect_timeout 1s;
        proxy_read_timeout {wait:.0f}s;
        proxy_next_upstream_tries 2;
{mirror}
{acme}        location / {{
            error_page 418 = @write;
            error_page 419 = @replace;
{redirect}            if ($request_method ~ ^(PUT|DELETE)$) {{
                return 419;
            }}
            if ($request_method !~ ^(GET|HEAD)$) {{
                return 418;
            }}
            proxy_next_upstream {read_again};
            proxy_pass http://{way};
        }}
        # POST and PATCH: another server only when nothing was sent (nginx's rule without `non_idempotent`).
        location @write {{
            proxy_next_upstream error;
            proxy_pass http://{way};
        }}
        # PUT and DELETE: nginx would send these again after they were sent.
        location @replace {{
            proxy_next_upstream off;
            proxy_pass http://{way};
        }}
{copies}    }}
}}
"""
_WAYS: Final = """\
    # One request in ten passes through a sidecar, which forwards it and learns from it: credentials too.
    upstream through {{
{through}
    }}
    upstream sidecars {{
{sidecars}
    }}
    split_clients $request_id $way {{
        {share:g}% through;
        * api;
    }}
    map $way $copied {{
        api $request_id;
        default "";
    }}
"""
_COPIES: Final = """\
        # What goes to the upstream, once more, as a copy that is written down and never sent on. A sidecar answers it
        # at once; one that does not holds up the client's next request for a second at the most.
        location = /.understudy/copy {
            internal;
            if ($way = through) {
                return 204;
            }
            proxy_set_header Host $http_host;
            proxy_set_header Connection close;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Understudy-Copied "";
            proxy_set_header X-Understudy-Copy $request_id;
            proxy_set_header X-Understudy-Target $request_uri;
            proxy_next_upstream off;
            proxy_read_timeout 1s;
            proxy_pass http://sidecars/.understudy/copy;
        }
"""


def render(door: Door, folder: str = "/var/lib/nginx", share: float = 10.0) -> str:
    """The whole file. `folder`: where nginx may write; `share`: per cent that passes through a sidecar, in failover.

    Raises ValueError for an upstream with TLS.
    """
    if door.upstream_tls:
        raise ValueError("nginx cannot mix servers with and without TLS in one upstream; use haproxy")
    sidecars = [s.serves for s in door.sidecars]
    inline = door.mode == "inline"
    through = _servers(sidecars, [door.upstream])
    return _FILE.format(
        mode=door.mode,
        folder=folder,
        body=door.max_body,
        said=(
            "All to the sidecars; to the upstream directly while none answers. Run sidecars with "
            "UNDERSTUDY_BYPASS_AFTER=0s."
            if inline
            else "All to the upstream; what fails there to a sidecar, whose answers may be older than the last write."
        ),
        servers=through if inline else _servers([door.upstream], sidecars),
        ways="" if inline else _WAYS.format(through=through, sidecars=_servers(sidecars, []), share=share),
        way="api" if inline else "$way",
        copied='""' if inline else "$copied",
        mirror="" if inline else "        mirror /.understudy/copy;\n",
        copies="" if inline else _COPIES,
        listen=door.listen,
        host=door.host or "$http_host",
        wait=door.wait + 5,
        read_again="error timeout" if inline else "error timeout http_500 http_502 http_503 http_504",
        hsts="" if door.https is None else _hsts(door.https),
        https="" if door.https is None else _https(door.https),
        redirect="" if door.https is None else _redirect(door.https),
        acme=_acme(door),
    )


def _servers(first: list[str], backup: list[str]) -> str:
    lines = [f"        server {where} max_fails=1 fail_timeout=1s;" for where in first]
    return "\n".join([*lines, *(f"        server {where} max_fails=0 backup;" for where in backup)])


def _hsts(https: Https) -> str:
    """The field's value by scheme: nginx leaves out a field whose value is empty."""
    if not https.hsts:
        return ""
    return f'    map $https $hsts {{\n        on "max-age={https.hsts}";\n        default "";\n    }}\n'


def _https(https: Https) -> str:
    profile = https.profile
    lines = [
        f"# TLS: Mozilla's profile `{profile.name}`, version 5.7.",
        f"listen {https.listen} ssl http2;",
        f"ssl_certificate {https.certificate};",
        f"ssl_certificate_key {https.key};",
        f"ssl_protocols {' '.join(profile.protocols)};",
        f"ssl_ecdh_curve {':'.join(profile.curves)};",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_timeout 1d;",
        "ssl_session_cache shared:door:10m;",
        "ssl_session_tickets off;",
        *([f"ssl_ciphers {':'.join(profile.ciphers)};"] if profile.ciphers else []),
        *(["ssl_stapling on;", f"ssl_stapling_file {https.response};"] if https.staple else []),
        *(["add_header Strict-Transport-Security $hsts always;"] if https.hsts else []),
    ]
    return "".join(f"        {line}\n" for line in lines)


def _redirect(https: Https) -> str:
    """`if` returns only: nothing else is safe in it. A redirected POST keeps its body by 308."""
    if https.redirect == "off":
        return ""
    matched, status = ("^http:", 308) if https.redirect == "all" else ("^http:(GET|HEAD)$", 301)
    return (
        f'            set $asked "$scheme:$request_method";\n            if ($asked ~ {matched}) {{\n'
        f"                return {status} https://$host{https.port}$request_uri;\n            }}\n"
    )


def _acme(door: Door) -> str:
    if door.acme is None:
        return ""
    return (
        f"        location ^~ {CHALLENGES} {{\n            mirror off;\n"
        f"            proxy_pass http://{door.acme};\n        }}\n"
    )
