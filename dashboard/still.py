"""What only stands on a page is one component for Dash, however many elements it is made of.

Dash tells every component of a page of each one that is mounted, and each of them looks through the page for its own:
with 1,000 components that is a million looks, for seconds in which a browser does nothing else. So whatever no callback
names is handed over as it is, and `assets/still.js` makes elements of it: text stays text, an address goes through the
same check as Dash's own links.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from dash import dcc, html
from dash.dependencies import DashDependency
from dash.development.base_component import Component

WORDS: Final = frozenset(
    {
        "children", "className", "colSpan", "dateTime", "disabled", "hidden", "href", "htmlFor", "id", "label", "lang",
        "max", "open", "role", "rowSpan", "scope", "tabIndex", "title", "type", "value",
    }
)  # fmt: skip
"""What an element that only stands there may have, and what begins with data- or aria-."""


class Still(Component):  # type: ignore[misc]
    """Elements that no callback reads or changes. `parts`: as Dash would have been given them."""

    _children_props: Final[list[str]] = []
    _namespace = "understudy"
    _type = "Still"
    _prop_names: Final = ["parts"]
    _valid_wildcard_attributes: Final[list[str]] = []

    def __init__(self, parts: list[Any]) -> None:
        super().__init__(parts=parts)


class Named:
    """What callbacks name, and so what of a page is still."""

    def __init__(self) -> None:
        self._idents: set[Any] = set()

    def add(self, dependencies: Iterable[Any]) -> None:
        """A callback's inputs, outputs and states, in lists or not."""
        for each in dependencies:
            if isinstance(each, DashDependency):
                self._idents.add(_kind(each.component_id))
            elif isinstance(each, dict):
                self.add(each.values())
            elif isinstance(each, list | tuple):
                self.add(each)

    def still(self, value: Any) -> Any:
        """What a callback returns: the same, of which each value stands where it stood."""
        if isinstance(value, list | tuple):
            return [self.still(each) for each in value]
        return self.within(value) if isinstance(value, Component) else value

    def within(self, children: Any) -> Any:
        """A component's children: what is still and stands side by side is one."""
        return _together(children, self._looked(children))

    def _looked(self, children: Any) -> list[tuple[Any, bool]]:
        return [self._look(each) for each in (children if isinstance(children, list | tuple) else [children])]

    def _look(self, part: Any) -> tuple[Any, bool]:
        """A part, and whether it is still; one that is not has what is still within it put together."""
        if not isinstance(part, Component):
            return part, part is None or isinstance(part, str | int | float)
        children = getattr(part, "children", None)
        inside = self._looked(children)
        if all(still for _, still in inside) and self._only_stands(part):
            return part, True
        if children is not None:
            part = copy.copy(part)
            part.children = _together(children, inside)
        return part, False

    def _only_stands(self, part: Component) -> bool:
        """Whether it would be still without its children."""
        given = part.to_plotly_json()
        known = given["namespace"] == html.Div._namespace or isinstance(part, dcc.Link)
        named = _kind(given["props"].get("id")) in self._idents
        return known and not named and all(_is_known(word) for word in given["props"])


def _together(children: Any, looked: list[tuple[Any, bool]]) -> Any:
    """In the shape that the children had: several, or one alone."""
    found: list[Any] = []
    for still, run in groupby(looked, key=lambda each: each[1]):
        parts = [part for part, _ in run]
        # text alone needs nobody to make elements of it
        found += [Still(parts)] if still and any(isinstance(part, Component) for part in parts) else parts
    return found if isinstance(children, list | tuple) else found[0]


def words_of(shown: Any) -> str:
    """The text of what a browser shows, as Dash gives it back."""
    if isinstance(shown, list):
        return "".join(words_of(each) for each in shown)
    if not isinstance(shown, dict):
        return "" if shown is None else str(shown)
    return words_of(shown["props"].get("parts", shown["props"].get("children")))


def _kind(ident: Any) -> Any:
    """An id that is a pattern's stands for all with the same keys."""
    return frozenset(ident) if isinstance(ident, dict) else ident


def _is_known(word: str) -> bool:
    return word in WORDS or word.startswith(("data-", "aria-"))
