"""What only stands on a page is one component for Dash, however many elements it is made of.

Dash tells every component of a page of each one that is mounted, and each of them looks through the page for its own:
with 1,000 components that is a million looks, for seconds in which a browser does nothing else. So whatever no callback
names is handed over as it is, and `assets/still.js` makes elements of it: text stays text, an address goes through the
same check as Dash's own links.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
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
    _base_nodes: Final[list[str]] = []
    _namespace = "understudy"
    _type = "Still"
    _prop_names: Final = ["parts"]
    _valid_wildcard_attributes: Final[list[str]] = []
    available_properties: Final = ["parts"]
    available_wildcard_properties: Final[list[str]] = []

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
        if not isinstance(children, list | tuple):
            return self._one(children) if isinstance(children, Component) else children
        found: list[Any] = []
        run: list[Any] = []
        for child in children:
            if self._is_still(child):
                run.append(child)
                continue
            found += self._together(run)
            run = []
            found.append(self._one(child))
        return found + self._together(run)

    def _one(self, child: Any) -> Any:
        if self._is_still(child):
            return Still([child])
        if not isinstance(child, Component) or getattr(child, "children", None) is None:
            return child
        made = copy.copy(child)
        made.children = self.within(child.children)
        return made

    def _together(self, run: list[Any]) -> list[Any]:
        """Text alone needs nobody to make elements of it."""
        return [Still(run)] if any(isinstance(each, Component) for each in run) else run

    def _is_still(self, part: Any) -> bool:
        if part is None or isinstance(part, str | int | float):
            return True
        if not isinstance(part, dcc.Link) and getattr(part, "_namespace", None) != html.Div._namespace:
            return False
        given = part.to_plotly_json()["props"]
        if _kind(given.get("id")) in self._idents or not all(_is_known(word) for word in given):
            return False
        inside = given.get("children")
        return all(self._is_still(each) for each in (inside if isinstance(inside, list | tuple) else [inside]))


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
