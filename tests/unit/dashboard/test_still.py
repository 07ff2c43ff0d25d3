"""What of a page no callback names is one component for Dash, and says what it said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dash import ALL, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from plotly.utils import PlotlyJSONEncoder

from dashboard.still import Named, Still, words_of


@pytest.fixture
def named() -> Named:
    named = Named()
    named.add([Output("list", "children"), [Input({"tick": ALL}, "n_intervals")], {"state": State("kept", "data")}])
    return named


def as_told(value: Any) -> Any:
    """As a browser gets it, and gives it back."""
    return json.loads(json.dumps(value, cls=PlotlyJSONEncoder))


def kinds(value: Any) -> Any:
    """Only which components there are."""
    if isinstance(value, list):
        return [kinds(each) for each in value]
    if isinstance(value, Still):
        return len(value.parts)
    if isinstance(value, Component):
        return {value._type: kinds(getattr(value, "children", None))}
    return value


def test_what_no_callback_names_is_one_component(named: Named) -> None:
    page = html.Section([html.H2("Title", id="title"), html.P(["so ", html.Strong("many"), dcc.Link("x", href="/x")])])
    assert kinds(named.still(page)) == 1
    assert as_told(named.still(page)) == {
        "type": "Still", "namespace": "understudy", "props": {"parts": [as_told(page)]},
    }  # fmt: skip


def test_what_a_callback_names_stays_and_what_stands_beside_it_is_put_together(named: Named) -> None:
    page = html.Div([html.P("1"), " and ", html.P("2"), html.Ul(html.Li("3"), id="list"), "4", html.P("5")])
    assert kinds(named.still(page)) == {"Div": [3, {"Ul": 1}, 2]}
    assert kinds(named.still(html.Div(["a", html.Button("b", id={"tick": "c"})]))) == {"Div": ["a", {"Button": "b"}]}
    assert kinds(named.still(html.Div(html.Button("b", id={"tick": "c", "other": "d"})))) == 1


@pytest.mark.parametrize(
    "part",
    [dcc.Input(value="x"), dcc.Graph(figure={}), html.Form([], action="/x"), html.Img(src="/x"), html.P(n_clicks=0)],
)
def test_what_does_something_stays(named: Named, part: Component) -> None:
    kept = named.still(html.Div([part]))
    assert as_told(kept) == as_told(html.Div([part]))


def test_values_of_a_callback_stand_where_they_stood(named: Named) -> None:
    figure = {"data": [{"x": [1]}]}
    given = (no_update, None, "words", figure, [html.P("1"), html.P("2")], 3)
    kept = named.still(given)
    assert kept[:4] == [no_update, None, "words", figure]
    assert kinds(kept[4:]) == [[1, 1], 3]


def test_it_is_done_once_and_what_was_given_is_not_changed(named: Named) -> None:
    page = html.Div([html.P("1"), html.P("2"), html.Ul(id="list")])
    before = as_told(page)
    once = named.within(page)
    assert as_told(page) == before
    assert as_told(named.within(once)) == as_told(named.still(once)) == as_told(once)


def test_what_is_renewed_is_the_same_if_it_says_the_same(named: Named) -> None:
    """A part's children as a page first has them, and as its renewal makes them."""
    for part in (html.P("as of 12:00; renewed"), [html.P("1"), html.Ul(id="list"), html.P("2")], "text", None):
        first = named.still(html.Div(part, id="list"))
        assert as_told(named.within(part)) == as_told(getattr(first, "children", None))


def test_the_words_of_what_is_shown(named: Named) -> None:
    shown = as_told(named.still(html.Div([html.P(["as of ", html.Strong(12)]), html.Ul("; so", id="list"), None])))
    assert words_of(shown) == "as of 12; so"
