"""Believable records from a seed: hospitals, staff with passwords, patients, notes. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]
TOWNS = ("Ashford", "Bramley", "Colwyn", "Dunmore", "Elmstead", "Farnham")
FIRST = (
    "Amara",
    "Ben",
    "Chloe",
    "Dev",
    "Elin",
    "Femi",
    "Grace",
    "Hugo",
    "Isla",
    "Jonas",
    "Kira",
    "Liam",
    "Maya",
    "Noor",
)
LAST = ("Holt", "Ames", "Okafor", "Silva", "Brandt", "Moreau", "Kowal", "Singh", "Lund", "Price", "Vega", "Walsh")
PETS = ("Rex", "Mia", "Luna", "Oscar", "Bella", "Simba", "Coco", "Max", "Nala", "Poppy", "Teddy", "Ziggy")
KINDS = ("terrier", "tabby", "collie", "rabbit", "spaniel", "parrot", "ferret", "lurcher")
TITLES = ("Round", "Vaccination", "Post-op check", "X-ray", "Blood results", "Phone call", "Discharge", "Dental")
BODIES = (
    "Eating well, temperature 38.4.",
    "Wound clean and dry; sutures out in ten days.",
    "Owner reports limping on the left hind leg.",
    "Given 0.2 ml meloxicam. Recheck on Friday.",
    "No abnormality seen.",
    "Weight 12.3 kg, up 0.4 since last visit.",
)


@dataclass
class Data:
    """All records by resource and id, and the staff's passwords by name."""

    tables: dict[str, dict[int, Row]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)


def generate(seed: int, hospitals: int = 6, staff: int = 30, patients: int = 400, notes: int = 2000) -> Data:
    """The same records for the same seed."""
    dice = random.Random(seed)
    data = Data({name: {} for name in ("hospitals", "staffs", "patients", "notes")})
    start = datetime(2025, 11, 1, tzinfo=UTC)

    def add(table: str, **fields: Any) -> None:
        ident = len(data.tables[table]) + 1
        made = stamp(start + timedelta(seconds=dice.randrange(365 * 86_400)))
        data.tables[table][ident] = {"id": ident, **fields, "created_at": made, "updated_at": made}

    for number in range(hospitals):
        add("hospitals", name=f"{TOWNS[number % len(TOWNS)]} Veterinary Hospital")
    names = [f"Dr {first} {last}" for first in FIRST for last in LAST]
    for name in dice.sample(names, staff):
        add("staffs", name=name, hospital_id=dice.randint(1, hospitals))
        data.passwords[name] = f"{name.split()[-1].lower()}-{dice.randrange(10**6):06}"
    for _ in range(patients):
        born = (start - timedelta(days=dice.randrange(5000))).date().isoformat()
        name = f"{dice.choice(PETS)} the {dice.choice(KINDS)}"
        add("patients", name=name, hospital_id=dice.randint(1, hospitals), birthdate=born)
    for _ in range(notes):
        who = {"patient_id": dice.randint(1, patients), "staff_id": dice.randint(1, staff)}
        add("notes", title=dice.choice(TITLES), body=dice.choice(BODIES), **who)
    return data


def stamp(at: datetime) -> str:
    """As Rails writes times: ISO 8601, milliseconds, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
