"""How HOSP behaves, as data: what a Rails scaffold application does, and twists, ways in which an API may differ.

A behaviour is on or off by its name. `PLAIN` has none: the kinder API that most tests were written against.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """`row`: of the list of Rails' ways in HOSP.md that it belongs to; 0 for a twist."""

    name: str
    says: str
    row: int = 0


RAILS = (
    Behaviour("format", "HTML unless Accept, .json or ?format=json ask for JSON; a list with */* is a browser's", 1),
    Behaviour("not-acceptable", "406 for xml and plain, after the write took effect", 1),
    Behaviour("error-documents", "errors by format: a short JSON document, or a page of 1.7 KB; 400 without a page", 2),
    Behaviour("access-denied", "401 is the text `HTTP Basic: Access denied.` whatever the format", 2),
    Behaviour("required-root", "400 for a body without the resource's fields; for a screening without images", 2),
    Behaviour("media-types", "JSON is read only where Content-Type says so", 2),
    Behaviour("routes", "404 for a method that a path does not have, OPTIONS included", 2),
    Behaviour("wrapped", "JSON bodies flat or below the resource's name", 3),
    Behaviour("forms", "forms and multipart, `patient[name]=…`", 3),
    Behaviour("method-override", "`_method` in a form, X-HTTP-Method-Override", 3),
    Behaviour("html-writes", "HTML writes: 302 with Location; an invalid form is a 200 page", 4),
    Behaviour("location", "JSON creates and updates carry Location, without .json", 4),
    Behaviour("casts", "dates, integers and strings are cast to their column's type", 5),
    Behaviour("lenient-ids", "ids in paths and filters are read up to the first letter; a blank filter is none", 5),
    Behaviour("must-exist", "an unknown or missing reference is 422 `must exist`", 6),
    Behaviour("presence", "a blank name or title is 422 `can't be blank`", 6),
    Behaviour("foreign-keys", "deleting a parent that has children is 500, every time", 6),
    Behaviour("unchanged", "a PATCH that changes nothing keeps updated_at", 7),
    Behaviour("escapes", "JSON is UTF-8, with < > & and U+2028 escaped", 8),
    Behaviour("etags", "ETag on 200 and 201, and 304", 9),
    Behaviour("chunked", "bodies are chunked; HEAD has no Content-Length", 9),
    Behaviour("vary", "Vary: Accept, X-Requested-With where Accept decided", 9),
    Behaviour("error-headers", "error documents carry no security headers and no Cache-Control", 9),
    Behaviour("session-cookie", "a session cookie on pages", 9),
    Behaviour("lenient-basic", "Basic with a tab, without padding, with foreign characters", 10),
)
TWISTS = (
    Behaviour("page-link", "lists are pages of 20; Link names the next"),
    Behaviour("page-total", "lists are pages of 20; X-Total-Count has the number"),
    Behaviour("page-has-more", "lists are {data, has_more} of 20"),
    Behaviour("page-envelope", "lists are {items, total, page} of 20"),
    Behaviour("page-206", "lists are 206 with Content-Range, 20 at a time"),
    Behaviour("page-silent", "lists are pages of 20, and nothing says so"),
    Behaviour("filter-prefix", "a filter takes values that begin so"),
    Behaviour("filter-substring", "a filter takes values that contain it"),
    Behaviour("filter-case", "a filter takes values whatever their case"),
    Behaviour("filter-ignored", "filters are ignored"),
    Behaviour("oldest-first", "lists come in rising order"),
    Behaviour("short-lists", "lists show id and name or title only"),
    Behaviour("cut-texts", "lists show the first 40 characters of a text, and nothing says so"),
    Behaviour("excerpts", "lists show the beginning of a text, up to 40 characters, and dots"),
    Behaviour("embedded", "records carry a copy of the record that they refer to"),
    Behaviour("copies", "records show the name of the record that they refer to"),
    Behaviour("counts", "records show how many refer to them"),
    Behaviour("cascades", "deleting a parent deletes its children, and theirs"),
    Behaviour("private", "callers see only the records that name them"),
    Behaviour("tenant", "X-Tenant selects the records; Vary says so"),
    Behaviour("language", "Accept-Language selects the text; Vary says so"),
    Behaviour("fields", "?fields= selects fields"),
    Behaviour("stale", "reads are up to 100 s old; Age says so"),
    Behaviour("text-404", "404 is text/plain"),
    Behaviour("delete-500", "DELETE always answers 500, and does nothing"),
    Behaviour("delete-applied-500", "DELETE takes effect and answers 500"),
    Behaviour("lower-case", "strings are stored in lower case"),
    Behaviour("trimmed", "strings are stored without spaces around them"),
    Behaviour("truncated", "strings are stored up to 12 characters"),
    Behaviour("rounded", "numbers are stored without their fraction"),
    Behaviour("required", "a field that the contract does not require is required: 422"),
    Behaviour("put-replaces", "PUT sets what is not sent to null"),
    Behaviour("null-absent", "a field that is null is left out"),
    Behaviour("ignores-field", "one field of the contract is not stored"),
    Behaviour("create-empty", "a create answers 201 without a body"),
    Behaviour("reused-ids", "the id of a deleted record is given again"),
    Behaviour("big-ids", "new ids begin at 2,000,000,001"),
    Behaviour("uuid-ids", "ids are UUIDs"),
    Behaviour("bom", "JSON begins with a byte order mark"),
    Behaviour("trims-history", "a create deletes the oldest record"),
    Behaviour("touches", "a write to a record sets updated_at of those that it refers to"),
    Behaviour("siblings", "a write to a record changes the one before it, of the same parent"),
    Behaviour("lagging", "reads are as they were up to 1.5 s ago, and nothing says so"),
    Behaviour("archived", "lists leave out every 17th record, which can be read"),
    Behaviour("soft-delete", "a deleted record is in no list, but can be read"),
    Behaviour("put-creates", "PUT of a record that is not there creates it"),
    Behaviour("accepted", "writes are answered 202 without a body"),
    Behaviour("computed", "records show a count that rises every half second"),
    Behaviour("cookie-silent", "a cookie selects the text, and nothing says so"),
    Behaviour("no-suffix", "a path that ends in .json is none"),
    Behaviour("language-silent", "Accept-Language selects the text, and nothing says so"),
)
RAILS_NAMES = frozenset(behaviour.name for behaviour in RAILS)
TWIST_NAMES = frozenset(behaviour.name for behaviour in TWISTS)
PLAIN: frozenset[str] = frozenset()


def chosen(rails: bool = True, twists: Iterable[str] = (), without: Iterable[str] = ()) -> frozenset[str]:
    """The names that are on. Raises ValueError for a name that is none."""
    twists, without = frozenset(twists), frozenset(without)
    for name in sorted((twists - TWIST_NAMES) | (without - RAILS_NAMES)):
        raise ValueError(f"no behaviour {name}")
    return ((RAILS_NAMES if rails else PLAIN) - without) | twists
