"""nginx's configuration, for the open-source nginx 1.22 and later: a whole file for `nginx -c`.

Promises: a write is handed to a second server only when the connection to the first was never made. nginx keeps that
rule for POST and PATCH but takes PUT and DELETE for repeatable, so these have a location that never tries again.
nginx has no active checks without its commercial licence: a server that failed is left alone for a second.
"""

from __future__ import annotations

from typing import Final

from compose.door import Door

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
{mirror}    server {{
        listen {listen};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Connection close;
        proxy_connect_timeout 1s;
        proxy_read_timeout {wait:.0f}s;
        proxy_next_upstream_tries 2;

        location / {{
            error_page 418 = @write;
            error_page 419 = @replace;
            if ($request_method ~ ^(PUT|DELETE)$) {{
                return 419;
            }}
            if ($request_method !~ ^(GET|HEAD)$) {{
                return 418;
            }}
            proxy_next_upstream {read_again};
            proxy_pass http://api;{copied}
        }}
{copies}        # POST and PATCH: another server only when nothing was sent (nginx's rule without `non_idempotent`).
        location @write {{
            proxy_next_upstream error;
            proxy_pass http://api;
        }}
        # PUT and DELETE: nginx would send these again after they were sent.
        location @replace {{
            proxy_next_upstream off;
            proxy_pass http://api;
        }}
    }}
}}
"""

_MIRROR: Final = """\
    # The share of reads that is copied to a sidecar: it asks the upstream too, so this is load; it learns from them.
    split_clients $request_id $copied {{
        {share:g}% 1;
        * "";
    }}
    upstream sidecars {{
{sidecars}
    }}
"""
_COPIES: Final = """\
        # Reads only: a copied write would reach the upstream a second time.
        location = /.understudy/copy {
            internal;
            if ($copied = "") {
                return 204;
            }
            proxy_pass_request_body off;
            proxy_set_header Host $http_host;
            proxy_set_header Content-Length "";
            proxy_set_header Connection close;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_next_upstream off;
            proxy_pass http://sidecars$request_uri;
        }
"""


def render(door: Door, folder: str = "/var/lib/nginx", share: float = 10.0) -> str:
    """The whole file. `folder`: where nginx may write; `share`: per cent of reads copied, in failover.

    Raises ValueError for an upstream with TLS.
    """
    if door.upstream_tls:
        raise ValueError("nginx cannot mix servers with and without TLS in one upstream; use haproxy")
    sidecars = [s.serves for s in door.sidecars]
    inline = door.mode == "inline"
    first, backup = (sidecars, [door.upstream]) if inline else ([door.upstream], sidecars)
    lines = [f"        server {where} max_fails=1 fail_timeout=1s;" for where in first]
    lines += [f"        server {where} max_fails=0 backup;" for where in backup]
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
        servers="\n".join(lines),
        mirror=""
        if inline
        else _MIRROR.format(share=share, sidecars="\n".join(f"        server {w};" for w in sidecars)),
        copied="" if inline else "\n            mirror /.understudy/copy;",
        copies="" if inline else _COPIES,
        listen=door.listen,
        wait=door.wait + 5,
        read_again="error timeout" if inline else "error timeout http_500 http_502 http_503 http_504",
    )
