# pure
"""A value of an OpenAPI document and the key it stands under, so that whatever does not fit is told by that key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.contract.model import ContractError

REFERENCES: Final = 16
"""How many `$ref` may lead to one another."""


@dataclass(frozen=True)
class Part:
    """`value` stands under `key` of `document`, whose name is `name`. Members are given with their `$ref` followed.

    What is asked for and absent is empty (no members, no text, false); what is there and of another kind raises
    ContractError. `reference` is the `$ref` that led here.
    """

    name: str
    document: Mapping[str, Any]
    value: Any
    key: str = ""
    reference: str | None = None

    def error(self, expected: str) -> ContractError:
        return ContractError(self.name, self.key or "the document", expected, self.value)

    def has(self, name: str) -> bool:
        return name in self.mapping().value

    def member(self, name: str) -> Part:
        """A mapping under that name; an empty one where there is none."""
        return self._under(name, {}).mapping()

    def members(self, name: str) -> dict[str, Part]:
        """The members of the mapping under that name, each whatever it is."""
        return self.member(name).children()

    def children(self) -> dict[str, Part]:
        return {str(name): self._child(str(name), value) for name, value in self.mapping().value.items()}

    def elements(self, name: str) -> list[Part]:
        """The elements of the list under that name."""
        listed = self._under(name, [])
        if not isinstance(listed.value, list):
            raise listed.error("a list")
        return [
            Part(self.name, self.document, value, f"{listed.key}[{number}]").followed()
            for number, value in enumerate(listed.value)
        ]

    def schema(self, name: str = "schema") -> Part:
        """A schema under that name. `true` and `false` are schemas too, and say nothing of members."""
        found = self._under(name, {})
        return Part(self.name, self.document, {}, found.key) if isinstance(found.value, bool) else found.mapping()

    def text(self, name: str) -> str | None:
        """The text under that name, if any; a number that YAML made of one counts."""
        return self._under(name, None).word() if self.has(name) else None

    def needed(self, name: str, expected: str) -> str:
        """The text under that name, which must be there."""
        text = self.text(name)
        if text is None:
            raise ContractError(self.name, self._key(name), expected)
        return text

    def flag(self, name: str) -> bool:
        found = self._under(name, False)
        if not isinstance(found.value, bool):
            raise found.error("true or false")
        return found.value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(each.word() for each in self.elements(name))

    def table(self, name: str) -> dict[str, str]:
        return {key: each.word() for key, each in self.members(name).items()}

    def word(self) -> str:
        if isinstance(self.value, bool) or not isinstance(self.value, (str, int, float)):
            raise self.error("text")
        return str(self.value)

    def mapping(self) -> Part:
        if not isinstance(self.value, dict):
            raise self.error("a mapping")
        return self

    def followed(self) -> Part:
        """Where the local references end that it begins."""
        part = self
        for _ in range(REFERENCES):
            if not isinstance(part.value, dict) or "$ref" not in part.value:
                return part
            reference, target = part.value["$ref"], self.document
            if not isinstance(reference, str) or not reference.startswith("#/"):
                raise ContractError(self.name, f"{self.key}.$ref", "a reference within the document, #/…", reference)
            for step in reference.removeprefix("#/").split("/"):
                name = step.replace("~1", "/").replace("~0", "~")
                if not isinstance(target, dict) or name not in target:
                    raise ContractError(self.name, f"{self.key}.$ref", f"that there is {reference}")
                target = target[name]
            part = Part(self.name, self.document, target, self.key, part.reference or reference)
        raise ContractError(self.name, f"{self.key}.$ref", "references that end", "a circle")

    def _under(self, name: str, empty: Any) -> Part:
        return self._child(name, self.mapping().value.get(name, empty))

    def _child(self, name: str, value: Any) -> Part:
        return Part(self.name, self.document, value, self._key(name)).followed()

    def _key(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name
