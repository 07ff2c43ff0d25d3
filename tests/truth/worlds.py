# pure
"""The matrix as data: two APIs, each as its contract says and with each twist; four phases; what is asked in them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from compose.hosp.behaviours import TWISTS

PHASES = ("learn", "outage", "write", "return")
NO_PETCLINIC = {
    "private",
    "oldest-first",
    "language",
    "tenant",
    "uuid-ids",
    "cascades",
    "reused-ids",
    "trims-history",
    "text-404",
    "touches",
    "archived",
    "soft-delete",
    "put-creates",
    "siblings",
    "cut-texts",  # it has no long ones
    "excerpts",
    "no-suffix",  # it has none as it is
}
NO_HOSP = {"rounded"}


@dataclass(frozen=True)
class World:
    """An API (`hosp`, `petclinic`) with a twist, or none (empty)."""

    api: str
    twist: str = ""

    def cell(self, phase: str) -> str:
        return f"{self.api}/{self.twist or 'plain'}/{phase}"


WORLDS = [
    *(World("hosp", name) for name in ("", *(each.name for each in TWISTS if each.name not in NO_HOSP))),
    *(World("petclinic", name) for name in ("", *(each.name for each in TWISTS if each.name not in NO_PETCLINIC))),
]
CELLS = [world.cell(phase) for world in WORLDS for phase in PHASES]


@dataclass(frozen=True)
class Question:
    """`derived`: asked for the first time in the outage: only a derivation can answer it."""

    target: str
    derived: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """`mark`: a string of it that is found nowhere else, for counting what took effect."""

    method: str
    target: str
    body: dict[str, Any] | None = None
    mark: str = ""


def lists_of(world: World) -> list[str]:
    """All that is there. Somebody looks at it once after each kind of write: whose writes leave it alone is told so."""
    return ["/owners", "/pets"] if world.api == "petclinic" else ["/hospitals", "/staffs", "/patients", "/notes"]


def lessons(world: World, dice: random.Random) -> list[str]:
    """What others ask while all is well, so that the standby proves what it can: else it would answer too little to
    be caught lying."""
    numbers, absent = dice.sample(range(1, 60), 12), range(9000, 9006)
    kinds = ("owners", "pets") if world.api == "petclinic" else ("patients", "notes")
    asked = [f"/{kind}/{number}" for kind in kinds for number in (*numbers, *absent)]
    if world.api == "petclinic":
        asked += [
            f"/owners?lastName={name}" for name in ("Davis", "Black", "Franklin", "Coleman", "Estaban", "Unheard")
        ]
    else:
        asked += [f"/notes?patient_id={number}" for number in numbers]
        asked += [f"/hospitals/{number}" for number in range(1, 6)]
    return [*(f"/{kind}" for kind in kinds), *asked, *(f"/{kind}" for kind in kinds)]


def questions(world: World, dice: random.Random) -> list[Question]:
    if world.api == "petclinic":
        one, two = dice.sample(range(1, 60), 2)
        known = [
            "/owners",
            f"/owners/{one}",
            "/owners?lastName=Davis",
            "/pets",
            "/pets/4",
            "/owners?page=2",
            "/owners/36/pets/5",
        ]
        new = [
            "/owners?lastName=Dav",
            "/owners?lastName=Bla",
            f"/owners/{two}",
            f"/pets/{two}",
            "/owners/9999",
            "/owners/3/pets/4",
            "/pets/9999",
            "/owners?lastName=Nobody",
            f"/owners/{one}.json",
            f"/pets/{two}.json",
            f"/pets/{two}/",
            "/pets/9999.json",
        ]
    else:
        one, two, three = dice.sample(range(1, 400), 3)
        known = [
            "/hospitals",
            "/staffs",
            "/staffs/me",
            "/patients",
            "/notes",
            f"/patients/{one}",
            f"/notes/{one}",
            f"/notes?patient_id={one}",
            "/patients?page=2",
            "/notes/1999",
            f"/patients/{one}?fields=id,name",
            f"/notes?patient_id={one}&patient_id={two}",
        ]
        new = [
            f"/patients/{two}",
            f"/notes/{two}",
            f"/notes?patient_id={two}",
            "/notes?patient_id=1",
            f"/hospitals/{two % 6 + 1}",
            "/patients/9999",
            "/notes/9999",
            f"/notes?patient_id={three}",
            "/patients?page=3",
            "/notes?patient_id=9999",
            f"/notes?patient_id={two}&patient_id={one}",
            "/patients/17",
            "/patients/34",
            f"/patients/{one}.json",
            f"/notes/{two}.json",
            "/notes/9999.json",
            f"/notes.json?patient_id={two}",
        ]
    selects = (("X-Tenant", "a"), ("Accept-Language", "de"), ("Cookie", "theme=b"))
    selected = [Question(known[0], True, {name: value}) for name, value in selects]
    selected += [Question(new[2], True, {"Cookie": "theme=b"})]
    return [*(Question(target) for target in known), *(Question(target, True) for target in new), *selected]


def any_question(world: World, dice: random.Random) -> Question:
    """Any that a client may ask: what is there, what is not, each filter, and what no contract says. Whole lists are
    seldom, for they are long."""
    if world.api == "petclinic":
        owner, pet = dice.randint(1, 70), dice.randint(1, 100)
        name = dice.choice(("Davis", "Davison", "Franklin", "Black", "davies", "McTavish", "Nobody"))
        kinds = {
            f"/owners/{owner}": 30,
            f"/pets/{pet}": 30,
            f"/owners?lastName={name[: dice.randint(1, len(name))]}": 15,
            f"/pets/{pet}{dice.choice(('.json', '/'))}": 2,
            f"/owners?lastName={name}+": 1,
            f"/owners/{owner}/pets/{pet}": 5,
            f"/owners/{pet * 7 % 60 + 1}/pets/{pet}": 5,
            f"/owners?page={dice.randint(1, 4)}": 3,
            f"/owners?lastName={name}&lastName=Black": 2,
            f"/owners/{owner}?fields=id": 2,
            "/owners": 4,
            "/pets": 4,
        }
    else:
        patient, note, few = dice.randint(1, 420), dice.randint(1, 2100), dice.randint(1, 8)
        kinds = {
            f"/patients/{patient}": 25,
            f"/notes/{note}": 25,
            f"/notes?patient_id={patient}": 20,
            f"/hospitals/{few}": 5,
            f"/staffs/{few * 4}": 5,
            "/staffs/me": 3,
            "/hospitals": 2,
            "/staffs": 2,
            f"/patients/0{patient}": 1,
            f"/notes/{note}.json": 2,
            f"/notes.json?patient_id={patient}": 1,
            f"/notes?patient_id={patient}+": 0.5,
            f"/patients?page={few}": 1,
            f"/patients/{patient}?fields=id,name": 2,
            f"/notes?patient_id={patient}&patient_id={few}": 2,
            f"/notes?staff_id={few}": 1,
            "/notes?patient_id=": 0.2,
            "/patients": 0.4,
            "/notes": 0.2,
        }
    target = dice.choices(list(kinds), list(kinds.values()))[0]
    some = ({}, {"X-Tenant": "a"}, {"Accept-Language": "de"}, {"Cookie": f"theme={dice.choice('abc')}"})
    headers = dice.choices(some, (18, 1, 1, 1))[0]
    return Question(target, True, headers)


def changes(world: World, dice: random.Random) -> list[Change]:
    mark = f"{dice.randrange(10**9):09}"
    if world.api == "petclinic":
        return [
            Change(
                "POST", "/owners", {"firstName": "E", "lastName": f"N{mark}", "city": "X", "telephone": "1"}, f"N{mark}"
            ),
            Change("PUT", "/owners/5", {"firstName": f"P{mark}"}, f"P{mark}"),
            Change("PUT", "/pets/6", {"name": f"Q{mark}", "weight": 12.75}, f"Q{mark}"),
            Change("DELETE", "/owners/7"),
            Change("POST", "/owners", {"firstName": "Al", "lastName": f"  X{mark} Mixed"}, f"X{mark}"),
        ]
    return [
        Change("POST", "/notes", {"title": f"N{mark}", "body": "b", "patient_id": 3, "staff_id": 1}, f"N{mark}"),
        Change("PATCH", "/patients/5", {"name": f"P{mark}"}, f"P{mark}"),
        Change("PATCH", "/notes/1000", {"title": f" T{mark} A Long Title"}, f"T{mark}"),
        Change("PUT", "/patients/6", {"name": f"Q{mark}", "hospital_id": 2}, f"Q{mark}"),
        Change("DELETE", "/notes/1500"),
        Change("POST", "/patients", {"name": f"R{mark}", "hospital_id": 1, "birthdate": "2019-1-2"}, f"R{mark}"),
        Change("POST", "/notes", {"title": f"S{mark}", "patient_id": 3, "staff_id": 1}, f"S{mark}"),
    ]
