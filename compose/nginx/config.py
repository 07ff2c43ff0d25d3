"""nginx's configuration, for the open-source nginx 1.22 and later: a whole file for `nginx -c`.

Promises: a write is handed to a second server only when the connection to the first was never made. nginx keeps that
rule for POST and PATCH but takes PUT and DELETE for repeatable, so these go on to a location of their own, which tries
once more only where no connection was made.
nginx has no active checks without its commercial licence: a server that failed is left alone for a second.

In the failover mode every request that goes to the upstream is copied to a sidecar (`mirror`), marked as a copy: the
sidecar writes it down, and puts in doubt what a copied write may have changed; it never sends a copy on. A copy has no
answer, so knowledge comes from elsewhere: one request in ten passes through a sidecar, and backfill asks for the rest.
"""

from __future__ import annotations

from typing import Final

from compose.balancer import AFTER, PROBLEMS, Door
from compose.tls.https import CHALLENGES, Https
from sidecar.settings.networks import is_address

AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
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
    # One JSON object a line. Without queries, which may hold what is nobody's business.
    map $request_uri $asked_path {{
        "~^(?<before_query>[^?]*)" $before_query;
    }}
    log_format json escape=json '{log}';
    access_log {folder}/access.log json;
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
{ways}{hsts}{inner}    server {{
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
{acme}        recursive_error_pages on;
        location / {{
            error_page 418 = @write;
            error_page 419 = @replace;
            error_page 502 504 = @failed;
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
            error_page 502 504 = @failed;
            proxy_next_upstream error;
            proxy_pass http://{way};
        }}
        # PUT and DELETE: nginx would send these again after they were sent. So it is left to @again, which looks.
        location @replace {{
            error_page 502 504 = @again;
            proxy_next_upstream off;
            proxy_pass http://{way};
        }}
        location @again {{
            error_page 420 502 504 = @failed;
            mirror off;
            if ($upstream_connect_time !~ "^[-, :]*$") {{
                return 420;
            }}
            proxy_next_upstream off;
            proxy_pass http://{way};
        }}
        # No server answered: nginx's own words. What the sidecars or the upstream say goes to the client as it is.
{failed}{copies}    }}
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
_INNER: Final = """\
    # The upstream speaks TLS, the sidecars do not: one group holds both by way of this server, for nginx alone. {said}
    server {{
        listen unix:{folder}/upstream.sock;
        access_log off;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection close;
        proxy_connect_timeout 1s;
        proxy_read_timeout {wait:.0f}s;
        proxy_next_upstream off;
        proxy_ssl_server_name on;
        proxy_ssl_name {name};
        proxy_ssl_verify on;
        proxy_ssl_verify_depth 4;
        proxy_ssl_trusted_certificate {ca};
        recursive_error_pages on;
        location / {{
            error_page 502 504 = @unsent;
            proxy_pass https://{upstream};
        }}
{unsent}{failed}    }}
"""
_UNSENT: Final = """\
        location @unsent {{
            error_page 420 502 504 = @failed;
            if ($upstream_connect_time !~ "^[-, :]*$") {{
                return 420;
            }}
            proxy_pass {next};
        }}
"""
_LOG: Final = (
    '{"@timestamp":"$time_iso8601","client.ip":"$remote_addr","http.request.method":"$request_method",'
    '"url.path":"$asked_path","http.request.id":"$sent_http_x_request_id","http.response.status_code":$status,'
    '"duration_s":$request_time,"server":"$upstream_addr","upstream_status":"$upstream_status","bytes":$bytes_sent}'
)


def render(door: Door, folder: str = "/var/lib/nginx", share: float = 10.0, ca: str = AUTHORITIES) -> str:
    """The whole file. `folder`: where nginx may write; `share`: per cent that passes through a sidecar, in failover;
    `ca`: whom to trust where the upstream speaks TLS.

    Raises ValueError for an upstream with TLS that has no name.
    """
    upstream = f"unix:{folder}/upstream.sock" if door.upstream_tls else door.upstream
    sidecars = [s.serves for s in door.sidecars]
    inline = door.mode == "inline"
    through = _servers(sidecars, [upstream])
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
        servers=through if inline else _servers([upstream], sidecars),
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
        log=_LOG,
        failed=_failed(door),
        inner=_inner(door, folder, ca) if door.upstream_tls else "",
    )


def _inner(door: Door, folder: str, ca: str) -> str:
    """What cannot be sent is tried at the upstream's next address, and in failover by a sidecar."""
    if is_address(door.upstream_name.strip("[]")):
        raise ValueError("UNDERSTUDY_UPSTREAM: nginx finds names in certificates, no addresses; use a name, or haproxy")
    inline = door.mode == "inline"
    said = "" if inline else "What could not be sent, it gives to a sidecar itself: the other servers do not see why."
    return _INNER.format(
        said=said, folder=folder, wait=door.wait + 5, name=door.upstream_name, ca=ca, upstream=door.upstream,
        unsent=_UNSENT.format(next=f"https://{door.upstream}" if inline else "http://sidecars"),
        failed=_failed(door, hsts=False),
    )  # fmt: skip


def _failed(door: Door, hsts: bool = True) -> str:
    """503 where nothing was sent; else that nobody knows. `add_header` hides those of the server: HSTS is repeated."""
    strict = hsts and door.https is not None and door.https.hsts
    lines = ["location @failed {", "    default_type application/problem+json;"]
    if strict:
        lines.append("    add_header Strict-Transport-Security $hsts always;")
    for variable, pattern, status in (("connect_time", "^[-, :]*$", 503), ("status", "504$", 504)):
        lines.append(f'    if ($upstream_{variable} ~ "{pattern}") {{')
        if strict:
            lines.append("        add_header Strict-Transport-Security $hsts always;")
        lines += [f"        add_header Retry-After {AFTER} always;", f"        return {status} '{PROBLEMS[status]}';"]
        lines.append("    }")
    lines += [f"    return 502 '{PROBLEMS[502]}';", "}"]
    return "".join(f"        {line}\n" for line in lines)


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
