"""Drives a real sidecar through the four phases of one world; the API itself, asked in this process, is the truth."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from compose.hosp.behaviours import chosen
from compose.hosp.messages import Asked
from compose.hosp.rendering import render
from compose.hosp.server import Simulator
from tests.support.stack import Got, Kept, Sidecar
from tests.support.upstream import basic
from tests.truth.judge import Judged, difference, read, value_of, write
from tests.truth.petclinic import Petclinic, records
from tests.truth.worlds import Change, Question, World, any_question, changes, lessons, lists_of, questions

CONTRACT = Path(__file__).with_name("petclinic.yaml")
HOST = "api.test"
LEARNED = 2.0
"""Seconds without any news after which all that was asked is learned and compared, and backfill has sought what tells
rivals apart."""
LEARNED_BY = 60.0
"""Seconds after which that is not waited for any longer. On a busy machine it takes many: an outage that begins before
finds little proven, is answered honestly, and tries nothing."""
BUSY = 20
"""Times as long as that answer itself has taken: it tells how busy the machine is."""
ROUNDS = 6
"""Times that something is written and looked at before the outage: what lists say after a write is to be proven too."""
AT_ONCE = 4
"""Clients who ask the random questions of an outage."""
LOOKED_AGAIN = 0.5
"""How often somebody looks after the last writes and before the outage. Else what was written says nothing of what else
it changed, and most is honestly not known."""
DRAINED = 270.0
"""Seconds in which the outbox of a healthy API is to be empty, or a person told of what it refuses: a write that fails
twelve times, each shown to have had no effect, is parked after three and a half minutes."""


class Drive:
    """One world, from a cold start to the API's return."""

    def __init__(
        self, world: World, folder: Path, seed: int, environ: Mapping[str, str] = {}, more: int = 0
    ) -> None:  # fmt: skip
        """`more`: so many random questions in the outage, beside those that every world is asked."""
        self.world, self.folder, self.environ, self.more = world, folder, environ, more
        self.dice = random.Random(f"{seed} {world.api} {world.twist}")
        on = chosen(rails=world.api == "hosp", twists=[world.twist] if world.twist else [])
        self.simulator = Simulator("calm", seed=7, behaviours=on)
        if world.api == "petclinic":
            self.simulator.hosp = Petclinic(records(), on)
        self.user = self.simulator.users[0] if world.api == "hosp" else None

    def run(self) -> Iterator[Judged]:
        """Every answer, judged."""
        settings = {"contract": "hosp" if self.user else str(CONTRACT)}
        if self.user:
            settings["backfill_credentials"] = ":".join(self.user)
        with (
            self.simulator,
            Sidecar(self.simulator.url, self.folder, self.environ, evidence=None, **settings) as self.sidecar,
        ):
            asked, written = questions(self.world, self.dice), changes(self.world, self.dice)
            known = [question for question in asked if not question.derived]
            for _ in range(2):
                yield from self._reads("learn", known)
            for target in lessons(self.world, self.dice):
                self.ask("GET", target)
            for change in self._while_well():
                self.ask(change.method, change.target, change.body)
            for target in lists_of(self.world):
                self.ask("GET", target)
            self._await_evidence()
            for target in lists_of(self.world):  # what has changed meanwhile, no write did
                self.ask("GET", target)
            beside, lists = self._related(), sorted({change.target for change in written if change.method == "POST"})
            for question in beside:
                self.ask("GET", question.target)
            for _ in range(ROUNDS):
                for change in self._while_well():
                    self.ask(change.method, change.target, change.body)
                for target in lists:
                    self.ask("GET", target)
            for change in self._while_well():
                self.ask(change.method, change.target, change.body)
            if self.dice.random() < LOOKED_AGAIN:
                for target in self._looked_at_again(beside):
                    self.ask("GET", target)
            self.simulator.set_profile("outage")
            yield from self._reads("outage", [*asked, *beside])
            yield from self._reads("outage", (any_question(self.world, self.dice) for _ in range(self.more)), AT_ONCE)
            told = []
            for change in written:
                answer = self.ask(change.method, change.target, change.body)
                told.append(answer)
                yield from self._own_view(change, answer)
            self.simulator.set_profile("calm")
            yield from self._ends(written, told)
            if not self.sidecar.plane("GET", "/outbox").json()["pending"]:  # else its author sees what is blocked
                yield from self._reads("return", known)

    def _await_evidence(self) -> None:
        """Until no more evidence comes: by what the sidecar says, not by what a quiet machine would take."""
        until, said, still, slow = time.monotonic() + LEARNED_BY, b"", time.monotonic(), 0.0
        while time.monotonic() < min(until, still + max(LEARNED, slow * BUSY)):
            time.sleep(0.2)
            asked = time.monotonic()
            now = self.sidecar.plane("GET", "/evidence").body
            slow = max(slow, time.monotonic() - asked)
            if now != said:
                said, still = now, time.monotonic()

    def _while_well(self) -> list[Change]:
        """Writes that the API takes before the outage: what else they change there, no answer to them says."""
        if self.user is None:
            return [Change("PUT", "/owners/9", {"lastName": "Written"}), Change("PUT", "/pets/11", {"ownerId": 9})]
        note = {"title": "Written", "patient_id": 9, "staff_id": 1}
        deleted = [Change("DELETE", f"/hospitals/{self._another()}")] if self.world.twist == "cascades" else []
        return [Change("PATCH", "/patients/9", {"name": "Written"}), Change("POST", "/notes", note), *deleted]

    def _looked_at_again(self, beside: Iterable[Question]) -> list[str]:
        """Whole lists, which say again all that was learned, and what the writes may have changed."""
        kinds = ("/patients", "/notes") if self.user else ("/owners", "/pets")
        return [*kinds, *(question.target for question in beside)]

    def _another(self) -> int:
        """A hospital that our user is not of."""
        mine = next(row for row in self.simulator.hosp.data.tables["staffs"].values() if row["name"] == self.user[0])
        return 1 if mine["hospital_id"] != 1 else 2

    def _related(self) -> list[Question]:
        """Records that those writes may change beside their own."""
        tables = self.simulator.hosp.data.tables
        if self.user is None:
            pets = [ident for ident, pet in tables["pets"].items() if pet["ownerId"] == 9]
            return [Question(f"/pets/{ident}", True) for ident in (*pets, 11)] + [Question("/owners/9", True)]
        notes = [ident for ident, note in tables["notes"].items() if note["patient_id"] == 9][:3]
        patients = [i for i, patient in tables["patients"].items() if patient["hospital_id"] == self._another()][:3]
        theirs = [ident for ident, note in tables["notes"].items() if note["patient_id"] in patients][:3]
        targets = [f"/patients/{i}" for i in (9, *patients)] + [f"/notes/{i}" for i in (*notes, *theirs)]
        return [Question(target, True) for target in [*targets, "/notes?patient_id=9"]]

    def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Got:
        return self.sidecar.ask(method, target, self._fields(headers), body)

    def _fields(self, headers: dict[str, str] | None) -> dict[str, str]:
        sent = {"Accept": "application/json", "Host": HOST, **(headers or {})}
        return sent | ({"Authorization": basic(*self.user)} if self.user else {})

    def truth(self, question: Question) -> tuple[int, Any]:
        """What the API says now, whether it can be reached or not."""
        asked = self._asked("GET", question.target, question.headers)
        is_down = self.simulator.profile.down
        reply = self.simulator.hosp.answer(asked) if is_down else self.simulator.answer(asked)
        rendered = render(asked, reply, self.simulator.hosp.on)
        return rendered.status, value_of(rendered.headers.get("Content-Type", ""), rendered.body)

    def _to_the_same(self, change: Change) -> int:
        """The status of the API's own answer to a change, when all has been judged by what took effect before."""
        body = b"" if change.body is None else json.dumps(change.body).encode()
        asked = self._asked(change.method, change.target, {"Content-Type": "application/json"}, body)
        return int(self.simulator.answer(asked).status)

    def _asked(self, method: str, target: str, fields: Mapping[str, str], body: bytes = b"") -> Asked:
        headers = {"accept": "application/json", **{name.lower(): value for name, value in fields.items()}}
        if self.user:
            headers["authorization"] = basic(*self.user)
        return Asked(method, target, headers, body, f"http://{HOST}")

    def _reads(self, phase: str, asked: Iterable[Question], at_once: int = 1) -> Iterator[Judged]:
        """Each after the other, or some at once, where nothing that they ask for changes meanwhile."""
        with ExitStack() as stack:
            free: SimpleQueue[Kept] = SimpleQueue()
            for _ in range(at_once):
                free.put(stack.enter_context(closing(Kept(self.sidecar.port))))
            threads = stack.enter_context(ThreadPoolExecutor(at_once))
            yield from threads.map(partial(self._read, phase, free), asked)

    def _read(self, phase: str, free: SimpleQueue[Kept], question: Question) -> Judged:
        status, value = self.truth(question)
        client = free.get()
        try:
            got = client.get(question.target, self._fields(question.headers))
        finally:
            free.put(client)
        told = value_of(got["Content-Type"], got.body)
        verdict = read(got.status, told, status, value)
        if verdict == "lie":  # it may have changed while it was asked
            verdict = read(got.status, told, *self.truth(question))
        what = f"GET {question.target} {question.headers or ''}: {status}, answered {got.status} "
        own = got.status != 503 and "hit" in got["Cache-Status"]
        return Judged(self.world.cell(phase), verdict, what + difference(value, told), own)

    def _own_view(self, change: Change, answer: Got) -> Iterator[Judged]:
        """What was acknowledged is shown to its author, or honestly not at all."""
        if answer.status >= 300 or change.method == "DELETE":
            return
        shown = value_of(answer["Content-Type"], answer.body)
        target = (
            f"{change.target}/{shown['id']}" if change.method == "POST" and isinstance(shown, dict) else change.target
        )
        got = self.ask("GET", target)
        seen = change.mark.casefold() in got.body.decode(errors="replace").casefold()
        verdict = "honest" if got.status == 503 else "true" if got.status == 200 and seen else "hidden"
        yield Judged(
            self.world.cell("write"), verdict, f"{change.method} {change.target} {answer.status}; {got.status}"
        )

    def _ends(self, written: list[Change], told: list[Got]) -> Iterator[Judged]:
        until, outbox = time.monotonic() + DRAINED, {}
        while time.monotonic() < until:
            outbox = self.sidecar.plane("GET", "/outbox").json()
            if not outbox["pending"]:
                break
            time.sleep(0.2)
        for change, answer in zip(written, told, strict=True):
            number = answer["X-Request-Id"]
            parked = any(entry["request_id"] == number for entry in outbox["parked"])
            waits = not parked and any(entry["request_id"] == number for entry in outbox["entries"])
            times = sum(_took_effect(entry, change) for entry in self.simulator.hosp.applied)
            refused = self._to_the_same(change) if 400 <= answer.status < 500 else None
            verdict = write(answer.status, times, parked, waits, refused)
            what = f"{change.method} {change.target} told {answer.status}, took effect {times} times, parked {parked}"
            yield Judged(self.world.cell("write"), verdict, what)


def _took_effect(entry: dict[str, Any], change: Change) -> bool:
    if change.method == "DELETE":
        return bool(entry["method"] == "DELETE" and entry["path"] == change.target)
    return entry["method"] == change.method and change.mark[:12].casefold() in json.dumps(entry["body"]).casefold()
