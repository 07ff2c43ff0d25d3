"""The files of what is handed out signed: in each form the file, and the manifest that proves it."""

from __future__ import annotations

from dash import html

from dashboard.data.signed_lines import FORMS
from dashboard.ui import components


def listed(address: str) -> components.Part:
    """`address`: of the route that hands them out, with the id."""
    rows = []
    for form, words in FORMS.items():
        links = []
        for part, name in (("file", "file"), ("manifest", "signed manifest")):
            where = f"{address}&form={form}&part={part}"
            links.append(html.A(name, href=where, className="button download", **{"aria-label": f"{words}: {name}"}))
        rows.append(html.Li([html.Span(words), html.Span(links, className="buttons")]))
    return html.Div(
        [
            html.Ul(rows, className="signed-files"),
            html.P(
                ["To prove a file later: ", html.Code("understudy dashboard verify FILE MANIFEST")], className="quiet"
            ),
        ]
    )
