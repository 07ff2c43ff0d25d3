"""What a page is: where, called what, for whom, and how it is drawn; and what it answers while it is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.ui.components import Part


@dataclass(frozen=True)
class Page:
    """`draw` gets a visit that the guard let in. `wire` registers the page's callbacks, each with its role."""

    path: str
    title: str
    role: Role
    draw: Callable[[Parts, Visit], Part]
    wire: Callable[[Callbacks, Parts], None] | None = None
    in_menu: bool = True
