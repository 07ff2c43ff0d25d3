"""The standby: what the gateway tells it, and what it answers. One per process; all share the database.

Promises: an intent is on disk before `begin_write` returns, and what a write did before `end_write` returns. Answers
are given from one consistent look at what is known. Learning from reads happens later, in a thread, and may be dropped
under load; nothing is ever believed that a write may have overtaken.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from sidecar import clock
from sidecar.clock import stamp
from sidecar.contract import Action, Contract, Endpoint, Match
from sidecar.exchange import Outcome
from sidecar.http.determining import manner, spelling
from sidecar.http.messages import Headers, Request, Response
from sidecar.settings import Settings
from sidecar.standby import evidence, knowledge, literals, pure_calls, queries, seeking
from sidecar.standby.absence import Absence, under_way_for
from sidecar.standby.answer import Answer, DontKnow, format_wanted
from sidecar.standby.comparing import Comparer, compare_format, compare_manner
from sidecar.standby.departures import Departures
from sidecar.standby.derivations import by_format, by_manner
from sidecar.standby.gate import Gate
from sidecar.standby.known_callers import Callers, Standing
from sidecar.standby.mirrored_writes import Passing
from sidecar.standby.numbers import bump
from sidecar.standby.observations import (
    ListSeen,
    Observation,
    RecordMissing,
    RecordSeen,
    observations,
)
from sidecar.standby.outbox.entries import Outbox
from sidecar.standby.outbox.other_lives import refuse_other_lives
from sidecar.standby.outbox.overlay_response import Newer, over_answer
from sidecar.standby.outbox.revoked import park_those_of
from sidecar.standby.outbox.rewrite import Rewritten, rewritten
from sidecar.standby.outbox.sealing import Seal, SealError
from sidecar.standby.outbox.snapshot import Snapshot
from sidecar.standby.outbox.watermark import Watermark
from sidecar.standby.parity import Compared, Parity
from sidecar.standby.reader import Library
from sidecar.standby.sampling import Sampler
from sidecar.standby.tables import DOUBT, KNOWN, collections, records
from sidecar.standby.writes.intents import Intents, Write
from sidecar.storage.heartbeat import Heartbeat, Steady
from sidecar.storage.remembered import recalling, writing
from sidecar.timeunits import SECOND
from sidecar.upstream.refusals import Refusals

log = logging.getLogger(__name__)
AGAIN: Final = SECOND
"""ns in which the same answer to the same question is learned from once."""
SAID_AGAIN: Final = 30 * SECOND
"""The same of one that is the same in every word, and was believed: all that it could say is that all is as it was."""
RECENT: Final = 4096
COUNT_AGAIN: Final = 600.0
"""Seconds after which the highest ids are counted anew: a program of the release before keeps no maximum."""
UNCERTAIN: Final = SECOND
"""ns by which the shared clock may be wrong for anything to be learned."""
STEADY: Final = Steady()
QUEUE: Final = 2000
"""Exchanges waiting to be learned from; beyond it reads are not learned from, which loses nothing that is true."""
QUEUE_BYTES: Final = 32 << 20
"""The same of their bodies, of those too that are being learned from; a larger one is taken where it is alone."""
BATCH: Final = 100
"""Exchanges that are learned from in one transaction: to commit costs more than to learn."""
BATCH_BYTES: Final = 1 << 20
"""Of bodies, after which such a batch is full: what is read from them takes several times as much."""
HELD: Final = 0.01
"""Seconds after which such a transaction ends early: users' writes wait for it."""

REFUSALS: Final = 8
"""Refused credentials waiting to be looked up, each of which may cost a scrypt: guesses must not crowd out learning."""


@dataclass(slots=True)
class _Taken:
    """The last answer to a question that was taken to be learned from, at the stamp `t0`. `content` and `words` are
    digests: of its body, and of all else of it, each with what we knew to have happened before."""

    content: tuple[int, int]
    t0: int
    words: int
    waiting: bool = True
    """It will be learned."""
    believed: bool = False
    """It is learned, and no write was under way."""

    def says_the_same(self, now: _Taken) -> bool:
        return (self.waiting or self.believed) and (self.content, self.words) == (now.content, now.words)


@dataclass(frozen=True, slots=True)
class _Lesson:
    """An answer to learn from, to a question of the stamp `t0`. `compare`: parity is kept of it."""

    match: Match
    request: Request
    response: Response
    user: str | None
    t0: int
    compare: bool
    taken: _Taken

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.request.body) + len(self.response.body)


class Standby:
    """The façade. Thread-safe."""

    def __init__(
        self, contract: Contract, engine: Engine, settings: Settings, heartbeat: Heartbeat = STEADY
    ) -> None:  # fmt: skip
        """`heartbeat` tells whether a shared database is away."""
        self._contract = contract
        self._engine = engine
        self._reader = engine.execution_options(writes=False)
        refuse_other_lives(engine)
        self._settings = settings
        self._callers = Callers(engine, settings.credentials_for)
        self._departures = Departures(contract, self._callers)
        self._refusals = threading.BoundedSemaphore(REFUSALS)
        self._shared = settings.data / "outbox.version" if settings.database is None else None
        self.mark = Watermark(settings.high_water_mark_file)
        self.outbox = Outbox(
            contract, engine, self._shared, go_on=settings.database_lost == "pass", mark=self.mark
        )  # fmt: skip
        self.seal = cache(lambda: Seal(settings.seal_key_file))
        self._patience = int(settings.upstream_timeout * 1e9), int(settings.late_effect * 1e9)
        self.intents = Intents(
            contract, engine, self._callers, self.outbox, self.seal, f"{settings.node_name}/{os.getpid()}",
            Gate(contract, proof=settings.proof, serve_unproven=settings.unproven == "serve"),
            upstream_timeout=self._patience[0], late_effect=self._patience[1],
            serve_unverified=settings.unverified == "serve",
        )  # fmt: skip
        self._passing = Passing(contract, engine, sum(self._patience))
        self._library = Library(
            contract, serve_unverified=settings.unverified == "serve", proof=settings.proof,
            serve_unproven=settings.unproven == "serve",
        )  # fmt: skip
        self._comparer = Comparer(contract, settings.proof)
        self._settled: frozenset[str] = frozenset()
        """Endpoints of which all that was compared is proven, or refuted and being proven anew no more than sampled."""
        self.parity = Parity(engine)
        self._sampler = Sampler(settings.parity_sample)
        self._ready: frozenset[str] = frozenset()
        self._verified_since = 0
        self._expired = 0.0
        self._counted = -COUNT_AGAIN
        self._heartbeat = heartbeat
        passed_by = partial(self.mark_gap, "the database was away", under_way=True)
        self._absence = Absence(heartbeat, Refusals(settings.upstream), settings.bypass_after, passed_by)
        self._why_away = self._absence.why_away
        self._is_waited_for = settings.database is not None and settings.database_lost == "refuse"
        self._was_away = False
        self._generation = 0
        self._happened = 0
        """Tells apart what all processes know of that may change answers."""
        self._recent: dict[tuple[str, str | None, str], _Taken] = {}
        self._work: queue.Queue[_Lesson | Callable[[], None] | None] = queue.Queue(QUEUE)
        self._held = 0
        """Bytes of what was taken to be learned from and is not yet."""
        self._holding = threading.Lock()
        self._ahead: list[Callable[[], None] | None] = []
        """The learner's own: taken from the queue behind a batch, and not done yet."""
        self._thread = threading.Thread(target=self._learner, name="learner", daemon=True)
        self._thread.start()
        if settings.database:
            self._absence.start()

    # Writes -------------------------------------------------------------------------------------------------------

    def begin_write(self, match: Match, request: Request, user: str | None, *, wait: bool = False) -> Write | None:
        """Puts the intent on disk and the record in doubt. None, where the caller can `wait`: another write to the
        record is under way, and nothing was kept of this one. Raises SQLAlchemyError."""
        self._generation += 1
        return self.intents.begin(match, request, user, wait=wait)

    def is_under_way(self, match: Match) -> bool:
        """Whether a write to the record is, as far as can be told."""
        try:
            return self.intents.is_under_way(match)
        except SQLAlchemyError:
            return False

    def is_being_written(self, kind: str) -> bool:
        """Whether a write to any record of the resource is under way, as far as can be told."""
        try:
            with self._reader.connect() as connection, connection.begin():
                return queries.being_written(connection, kind)
        except SQLAlchemyError:
            return False

    def refusal(self, match: Match, request: Request, user: str) -> Answer | DontKnow | None:
        """Of a write that has not begun and must not be sent: what is said instead of taking it. None: it will be
        taken, most likely: `accept` it, and see."""
        if match.endpoint is not None and match.endpoint.resource in self._ready:
            return None
        try:
            return self.intents.refusal(match, request, user)
        except SQLAlchemyError:
            return None  # whoever accepts it finds out

    def would_take(self, match: Match, request: Request, user: str) -> bool:
        """Whether the outbox would take a write now, or refuse it as the upstream would."""
        try:
            return not isinstance(self.intents.refusal(match, request, user), DontKnow)
        except SQLAlchemyError:
            return False

    def plan(self, match: Match, request: Request) -> Write:
        """A write that must not be sent: nothing of it is kept before it is `accept`ed."""
        return self.intents.plan(match, request)

    def passed(self, key: str, match: Match, request: Request, user: str | None) -> None:
        """A copy tells of a write that went past us to the upstream: what it may have changed is in doubt."""
        self._generation += 1
        try:
            self._passing.passed(key, match, request, user)
        except SQLAlchemyError:
            self.mark_gap("a copied write could not be kept", later=True, under_way=True)

    def withdrawn(self, key: str) -> None:
        """The copied request of this key has come to us itself: the upstream never got it. Raises SQLAlchemyError."""
        self._generation += 1
        self._passing.withdrawn(key)

    def end_write(self, write: Write, response: Response | None, outcome: Outcome, user: str | None) -> None:
        """Keeps what became of a write, whether its user still waits or it was accepted meanwhile. Raises
        SQLAlchemyError: then it may be called again."""
        self._generation += 1
        with write.lock:
            if write.accepted:
                self.intents.late(write, response, outcome)
            elif write.begun and not write.kept:
                write.ended = True
                self.intents.end(write, response, outcome, user)
                write.kept = True

    def accept(
        self, write: Write, request: Request, request_id: str, headers: Headers, user: str, password: str, *,
        sent: bool, answered: bool, under_way: bool, again: bool = False,
    ) -> Answer | DontKnow | None:  # fmt: skip
        """Takes a write over (Intents.accept) from a caller whom the upstream has accepted, and who is known also
        after a restart. None: its answer has come after all. Where the database fails, it may be called `again`."""
        self._generation += 1
        with write.lock:
            if write.ended and under_way:
                return None
            try:
                self._callers.keep(user, password)
                answer = self.intents.accept(
                    write, request, request_id, headers, user, sent=sent, answered=answered, under_way=under_way,
                    again=again,
                )  # fmt: skip
            except (SQLAlchemyError, SealError) as error:
                if not again:
                    log.exception("a write could not be accepted", extra={"fields": {"event.action": "accept_failed"}})
                return DontKnow("database" if isinstance(error, SQLAlchemyError) else "seal_key")
            write.accepted = isinstance(answer, Answer)
            return answer

    # Learning -----------------------------------------------------------------------------------------------------

    def learn(self, match: Match, request: Request, response: Response, user: str | None, t0: int) -> None:
        """Queues a read's answer to be learned from. t0 is a stamp before the call."""
        if clock.error() > UNCERTAIN:
            return  # nobody can say what was before what
        content = hash((response.status, response.body, request.body)), self._generation
        question = request.target, user, manner(request)
        found = self._recent.get(question)
        since = t0 - found.t0 if found is not None and found.content == content else -1
        if 0 <= since < AGAIN and request.spool is None:
            return
        words = 0 if match.endpoint is None else literals.words(match.endpoint, request, response)
        taken = _Taken(content, t0, hash((words, self._happened)))
        compare = self._sampler.picks(t0, request.target)
        counts = found is not None and found.t0 >= self._verified_since
        if 0 <= since < SAID_AGAIN and not compare and found is not None and counts and found.says_the_same(taken):
            return
        if request.spool is None:
            if len(self._recent) >= RECENT:
                self._recent.clear()
            self._recent[question] = taken
        lesson = _Lesson(match, request, response, user, t0, compare, taken)
        if self._hold(lesson.size):
            if self._later(lesson):
                return
            self._let_go(lesson.size)
        taken.waiting = False

    def _hold(self, size: int) -> bool:
        """Whether there is room for so much."""
        with self._holding:
            if self._held and self._held + size > QUEUE_BYTES:
                return False
            self._held += size
            return True

    def _let_go(self, size: int) -> None:
        with self._holding:
            self._held -= size

    def accepted(self, user: str, password: str, began: int | None = None) -> None:
        """The upstream has accepted these credentials, in an answer asked for at the stamp `began`, or now."""
        if self._callers.is_new(user, password, began) and not self._later(
            lambda: self._callers.remember(user, password)
        ):
            self._callers.put_off(user, password)

    def is_known(self, user: str, password: str) -> bool:
        """Whether the upstream is known, by this process, to have accepted these credentials; from memory."""
        return self._callers.is_known(user, password)

    def needs_proof(self, user: str, password: str) -> bool:
        """Whether it is worth while to find out if an answer proves these credentials; from memory."""
        return self._callers.needs_proof(user, password)

    def rejected(self, user: str, password: str) -> None:
        """The upstream answered 401 to these credentials."""
        if self._callers.is_known(user, password):
            self._callers.reject(user, password)
        elif self._refusals.acquire(blocking=False) and not self._later(lambda: self._reject(user, password)):
            self._refusals.release()

    def _reject(self, user: str, password: str) -> None:
        try:
            self._callers.reject(user, password)
        finally:
            self._refusals.release()

    def flush(self, timeout: float = 5.0) -> None:
        """Waits until all that is queued has been learned."""
        done = threading.Event()
        self._work.put(done.set)
        if not done.wait(timeout):
            raise TimeoutError("the standby is still learning")

    def may_be_back(self) -> bool:
        """Whether who has just failed at a shared database had better try again: nobody knows yet that it is away. Not
        where requests go on without it."""
        return self._is_waited_for and self._why_away() is None

    def database_failed(self, what: str) -> None:
        """Says so, in the exception's handler; not for each request where the whole database is away."""
        if self._why_away() is None:
            log.exception(what, extra={"fields": {"event.action": "database_failed"}})

    def _later(self, work: _Lesson | Callable[[], None]) -> bool:
        """False: there is no room in the queue."""
        try:
            self._work.put_nowait(work)
        except queue.Full:
            return False
        return True

    def _learner(self) -> None:
        while (work := self._ahead.pop() if self._ahead else self._work.get()) is not None:
            if isinstance(work, _Lesson):
                self._learn_together(self._batch(work))
            else:
                self._try(work)
            del work  # an idle thread holds no bodies

    def _learn_together(self, lessons: Sequence[_Lesson]) -> None:
        try:
            self._learn(lessons)
        finally:
            for lesson in lessons:
                lesson.taken.waiting = False
            self._let_go(sum(lesson.size for lesson in lessons))

    def _batch(self, first: _Lesson) -> list[_Lesson]:
        """What waits and can be learned in one transaction; the other work that follows it is done next. Nobody waits
        for more to come: a write that begins meanwhile makes worthless what was seen before it."""
        lessons, size = [first], first.size
        while len(lessons) < BATCH and size < BATCH_BYTES and not self._work.empty():
            work = self._work.get()
            if not isinstance(work, _Lesson):
                self._ahead.append(work)
                break
            lessons.append(work)
            size += work.size
        return lessons

    def _learn(self, lessons: Sequence[_Lesson]) -> None:
        """In few transactions; where one fails, from each in its own: what cannot be learned takes nothing with it.
        Parity is kept before: it has its own transaction, and who holds the lock for writing would wait for itself."""
        compare = [lesson for lesson in lessons if lesson.compare]
        if compare:
            self._try(partial(self._compare, compare))
        # A long list takes long to read: not while others wait for the lock.
        read = [(lesson, seen) for lesson in lessons if (seen := self._read(lesson)) is not None]
        while read:
            read = read[self._learn_some(read) :]

    def _read(self, lesson: _Lesson) -> Sequence[Observation] | None:
        """What the answer shows; None: it cannot be told, for a reason that nobody foresaw."""
        try:
            return observations(self._contract, lesson.match, lesson.request, lesson.response)
        except Exception:
            log.exception("learning failed", extra={"fields": {"event.action": "learn_failed"}})
            return None

    def _try(self, work: Callable[[], None]) -> None:
        """What failed is logged."""
        try:
            work()
        except Exception:
            log.exception("learning failed", extra={"fields": {"event.action": "learn_failed"}})

    def _learn_some(self, lessons: Sequence[tuple[_Lesson, Sequence[Observation]]]) -> int:
        """From as many as can be learned from in HELD, in one transaction; returns how many these were."""
        tried, believed = 0, []
        try:
            with writing(self._engine) as connection:
                until = time.monotonic() + HELD
                for lesson, seen in lessons:
                    tried += 1
                    if self._learn_one(connection, lesson, seen):
                        believed.append(lesson)
                    if time.monotonic() >= until:
                        break
            for lesson in believed:
                lesson.taken.believed = True
        except Exception:
            if tried <= 1:
                log.exception("learning failed", extra={"fields": {"event.action": "learn_failed"}})
            else:
                for alone in lessons[:tried]:
                    self._learn_some([alone])
        return max(1, tried)

    def _learn_one(self, connection: Connection, lesson: _Lesson, seen: Sequence[Observation]) -> bool:
        """Whether it shows records, and is believed: no write was under way."""
        match, request, response, user, t0 = lesson.match, lesson.request, lesson.response, lesson.user, lesson.t0
        endpoint = match.endpoint
        if pure_calls.is_pure_call(match):
            if user is not None:
                pure_calls.remember(connection, match, request, response, user, t0, self._contract.secrets)
            return False
        if endpoint is None:
            return False
        user = "" if endpoint.public else user
        shown = [each for each in seen if isinstance(each, ListSeen | RecordSeen)]
        told = [*shown, *(each for each in seen if isinstance(each, RecordMissing))]
        if told and not self._is_in_our_manner(connection, told, manner(request), t0):
            self._keep_words(connection, endpoint, request, response, user, t0)
            return False
        with self._departures.watch(connection, endpoint.resource or ""):
            for of, comparison in compare_format(connection, endpoint, request, response, seen, t0):
                evidence.note(connection, of, [comparison], self._settings.proof)
            if not self._means_the_same(connection, endpoint, request):
                self._keep_words(connection, endpoint, request, response, user, t0)
                return False
            settled = not lesson.compare and endpoint.id in self._settled
            if not settled or self._comparer.is_news(connection, endpoint, seen, user):
                self._note_evidence(connection, match, response, seen, user, t0)
            if any(knowledge.lags(connection, self._contract, each, t0) for each in shown):
                self._generation += 1
                return False
            for observation in seen:
                self._see(connection, endpoint, observation, user, t0)
            if user is not None and shown:
                literals.forget_refusal(connection, match, request, user)
            elif user is not None:
                literals.note_refusal(connection, match, request, response.status, user, t0)
            return self._keep_words(connection, endpoint, request, response, user, t0) and bool(shown)

    def _means_the_same(self, connection: Connection, endpoint: Endpoint, request: Request) -> bool:
        """Whether the path is spelled as the contract has it, or so that it was seen to mean the same: else nothing is
        learned."""
        if not spelling(request.path, endpoint.template):
            return True
        wanted = by_format(format_wanted(request, endpoint.template) or "")
        return evidence.standing(connection, endpoint.id, wanted).holds(1, ())

    def _is_in_our_manner(
        self, connection: Connection, told: Sequence[ListSeen | RecordSeen | RecordMissing], wanted: str, t0: int
    ) -> bool:  # fmt: skip
        """Whether what is told to who asks in this manner is what others are told: else nothing is learned."""
        kind, proof = told[0].type, self._settings.proof
        if knowledge.in_manner(connection, kind, wanted):
            knowledge.learn_manner(connection, kind, wanted)
            return True
        if not evidence.standing(connection, kind, by_manner(wanted)).holds(proof, ()):
            for each in told:
                if isinstance(each, RecordMissing):
                    continue  # it agrees with much, and tells no more
                resource = self._contract.resources[kind]
                for of, comparison in compare_manner(connection, resource, wanted, each, t0, proof):
                    evidence.note(connection, of, [comparison], proof)
        return evidence.standing(connection, kind, by_manner(wanted)).holds(proof, ())

    def _keep_words(
        self, connection: Connection, endpoint: Endpoint, request: Request, response: Response, user: str | None,
        t0: int,
    ) -> bool:  # fmt: skip
        """Keeps the upstream's own words, where no write was under way while they were said: whether that was so."""
        if not endpoint.safe or (user is None and not endpoint.public):
            return False
        if endpoint.resource is not None and not knowledge.clean(connection, endpoint.resource, None, t0):
            return False
        caller = "" if endpoint.public else str(user)
        literals.remember(connection, endpoint, request, response, caller, t0, self._contract.secrets)
        return True

    def _note_evidence(
        self, connection: Connection, match: Match, response: Response, seen: Sequence[Observation],
        user: str | None, t0: int,
    ) -> None:  # fmt: skip
        assert match.endpoint is not None
        caller = "" if match.endpoint.public else user
        view = self.outbox.snapshot()  # before what is known is read: what is settled meanwhile, it has still
        for of, comparison in self._comparer.compare(connection, match, response, seen, caller, t0, view):
            for derivation in evidence.note(connection, of, [comparison], self._settings.proof):
                fields = {"event.action": "derivation_refuted", "endpoint": of, "derivation": derivation}
                said = comparison.difference
                log.warning("the upstream answers otherwise than was derived: %s", said, extra={"fields": fields})

    def _see(self, connection: Connection, endpoint: Endpoint, seen: Observation, user: str | None, t0: int) -> None:
        if isinstance(seen, RecordMissing):
            self._generation += 1  # it may put in doubt what others were shown
        if knowledge.see(connection, self._contract, endpoint, seen, user, t0):
            fields = {"event.action": "visibility_tightened", "resource": endpoint.resource}
            log.warning(
                "the upstream does not show everyone the same: from now on neither do we", extra={"fields": fields}
            )

    def _compare(self, lessons: Sequence[_Lesson]) -> None:
        """Parity: what we would have said before we learned these answers."""
        compared: list[Compared] = []
        with self._reader.connect() as transaction, transaction.begin():
            connection, view = recalling(transaction), self.outbox.snapshot()
            for lesson in lessons:
                self._try(partial(self._compare_one, connection, lesson, view, compared))
        if compared:
            self.parity.keep(compared)

    def _compare_one(self, connection: Connection, lesson: _Lesson, view: Snapshot, compared: list[Compared]) -> None:
        match, request, endpoint = lesson.match, lesson.request, lesson.match.endpoint
        if endpoint is None or endpoint.resource is None or request.method != "GET" or pure_calls.is_pure_call(match):
            return
        if not knowledge.clean(connection, endpoint.resource, match.record_id, lesson.t0):
            return
        if view.touches(endpoint.resource):
            return  # what users see is ahead of what the upstream says
        ours = self._library.answer(connection, match, request, "" if endpoint.public else lesson.user, view)
        compared.append(Compared(endpoint.id, ours, lesson.response, self._contract.resources[endpoint.resource]))

    # Answers ------------------------------------------------------------------------------------------------------

    def answer(self, match: Match, request: Request, user: str | None) -> Answer | DontKnow:
        """What is known to be true for this caller, whose credentials have been checked."""
        if self._why_away() is not None:
            return DontKnow("database")
        if self.outbox.gap() > self._verified_since and self._settings.unverified != "serve":
            return DontKnow("unverified")
        try:
            with self._reader.connect() as transaction, transaction.begin():
                connection = recalling(transaction)
                view = self.outbox.view(connection)
                if pure_calls.is_pure_call(match) and user is not None:
                    return pure_calls.recall(
                        connection, match, request, user, serve_unverified=self._settings.unverified == "serve"
                    )
                return self._library.answer(connection, match, request, user, view)
        except SQLAlchemyError:
            self.database_failed("the standby's database failed")
            return DontKnow("database")

    def rewritten(self, match: Match, request: Request) -> Rewritten:
        """The request with provisional ids of settled records replaced."""
        return rewritten(self._contract, match, request, self.outbox.real)

    def is_waiting(self, kind: str | None) -> bool:
        """Whether writes to the resource are not settled, as far as this process knows."""
        if kind is None:
            return False
        try:
            seen: Snapshot | None = self.outbox.snapshot()
        except SQLAlchemyError:
            seen = self.outbox.last_seen()
        return seen is None or seen.waits(kind)

    def owns(self, kind: str | None) -> bool:
        """Whether the resource was promoted: the upstream is not asked about it."""
        return kind is not None and kind in self.outbox.owned()

    def owns_lately(self, kind: str | None) -> bool:
        """The same from memory: `overlay` looks again."""
        return kind is not None and kind in self.outbox.owned_lately()

    def overlay(
        self, match: Match, request: Request, response: Response, user: str | None, t0: int
    ) -> Response | DontKnow | None:
        """The upstream's answer to a read that began at t0, with pending writes laid over it; None: as it is.
        DontKnow: they cannot be laid over this one. Raises SQLAlchemyError."""
        endpoint = match.endpoint
        if endpoint is None or endpoint.resource is None or not endpoint.safe:
            return None
        if endpoint.action not in (Action.LIST, Action.READ) or response.status not in (200, 404):
            return None
        try:
            view = self.outbox.snapshot()
        except SQLAlchemyError:
            seen = self.outbox.last_seen()
            if seen is None or seen.touches(endpoint.resource):
                raise
            return None
        if endpoint.resource in self.outbox.owned_at(view.version):
            return DontKnow("promoted", "the upstream is no longer asked about it")
        if not view.touches(endpoint.resource):
            return None
        with self._reader.connect() as connection, connection.begin():
            newer = self._newer(connection, endpoint.resource, view, t0)
            private = self._private(connection, endpoint.resource)
        return over_answer(
            self._contract.resources[endpoint.resource], endpoint, match, request, response, view, newer,
            user if private else None,
        )  # fmt: skip

    def _newer(self, connection: Connection, kind: str, view: Snapshot, t0: int) -> Newer:
        """Records whose writes were settled while the upstream was being asked, as they are known since."""
        ids = [ident for ident, settled in view.recent.get(kind, ()) if settled > t0]
        query = select(records).where(records.c.type == kind, records.c.id.in_(ids), records.c.stamp > t0)
        rows = connection.execute(query).all() if ids else []
        return {row.id: orjson.loads(row.body) if row.state == KNOWN else None for row in rows if row.state != DOUBT}

    def likely(self, match: Match) -> bool:
        """A guess, from memory, whether the standby could answer."""
        endpoint = match.endpoint
        return endpoint is not None and (endpoint.public or endpoint.resource in self._ready) and endpoint.safe

    def check(self, user: str, password: str) -> Standing:
        """Who the caller is to us."""
        try:
            return self._callers.check(user, password)
        except SQLAlchemyError:
            self.database_failed("the standby's database failed")
            return Standing.UNKNOWN

    def is_revoked(self, user: str) -> bool:
        return self._callers.is_revoked(user)

    def revoke(self, user: str) -> None:
        """Refuses the user from now on, and parks what waits of theirs."""
        self._callers.revoke(user)
        try:
            with self._engine.begin() as connection:
                park_those_of(connection, user)
        except SQLAlchemyError:  # replay looks again before it sends anything
            self.database_failed("what waits of a revoked person could not be parked yet")
        self.outbox.touch()

    def restore(self, user: str) -> None:
        self._callers.restore(user)

    # State --------------------------------------------------------------------------------------------------------

    def refresh(self, look: bool = True) -> None:
        """Looks at what other processes know; called every quarter of a second. Raises SQLAlchemyError. `look`: whether
        that may have changed since the last call."""
        if self._why_away() is not None:
            self._was_away = True
            return  # which was said, and is not said again four times a second
        if look or self._was_away or self.outbox.gap() > self._verified_since:
            self._refresh()
            self._was_away = False

    def _refresh(self) -> None:
        if self.outbox.gap() > self._verified_since:
            self._keep_gap(self.outbox.gap())
        with self._reader.connect() as connection, connection.begin():
            self._callers.refresh(connection)
            self._verified_since = queries.number(connection, queries.VERIFIED_SINCE)
            rows = connection.execute(select(collections)).all()
            self._settled = evidence.settled(connection, self._contract, self._settings.proof)
            self._happened = hash((self._verified_since, *queries.every_touched(connection)))
        self.outbox.owned()  # a request finds it in memory
        if self._shared is None:
            self.outbox.snapshot()  # so that what was last seen is never old, should the database go away
        since = self.intents.verified_since = self._verified_since
        self._ready = frozenset(row.type for row in rows if row.complete and row.stamp >= since)
        if time.monotonic() - self._expired > 5:
            self._expired = time.monotonic()
            self.outbox.expire()
            with self._reader.connect() as connection, connection.begin():
                anew = time.monotonic() - self._counted > COUNT_AGAIN
                found = knowledge.count_highest(connection) if anew else knowledge.highest(connection)
            self.intents.floors = found
            with self._engine.begin() as connection:
                for kind, ident in found.items() if anew else ():
                    knowledge.raise_highest(connection, kind, ident)
                    self._counted = time.monotonic()
                knowledge.expire(connection, stamp(), *self._patience)
            self._callers.expire()

    def verified_since(self) -> int:
        """The stamp before which nothing that is known is verified; it may be one that is yet to come."""
        return self._verified_since

    def may_verify(self) -> bool:
        """Whether what is seen from now on is verified by it."""
        return self._verified_since <= clock.earliest()

    def doubtful(self) -> set[str]:
        """Resources that are incomplete or in doubt, and that a look at the upstream could clear up now."""
        with self._reader.connect() as connection, connection.begin():
            shared = {name for name in self._contract.resources if not self._private(connection, name)}
            return (shared - self._ready) | knowledge.doubtful(connection, stamp())

    def questions(self) -> list[str]:
        """Targets that, asked of the upstream, would prove or refute something that is neither yet."""
        with self._reader.connect() as connection, connection.begin():
            return seeking.questions(connection, self._contract, self._settings.proof)

    def _private(self, connection: Connection, kind: str) -> bool:
        return knowledge.is_private(connection, self._contract, kind)

    def mark_gap(self, reason: str, *, later: bool = False, under_way: bool = False) -> None:
        """Changes may have passed us by: what is known counts as unverified until it is seen again. `under_way`: some
        may pass still, or take effect yet; so does what is seen before they must have. `later`: the database has just
        been waited for in vain, and is told when it can be written again."""
        level = (
            logging.WARNING if self._heartbeat.why_away() is None else logging.DEBUG
        )  # that it is away was said, once
        lasts = under_way_for(self._settings) if under_way else 0
        fields = {"event.action": "gap", "understudy.gap.seconds": lasts / SECOND}
        log.log(level, "what the standby knows is unverified: %s", reason, extra={"fields": fields})
        self._generation += 1
        at = self.intents.verified_since = max(stamp() + lasts, self.outbox.gap(), self._verified_since)
        try:
            if not later:
                self._keep_gap(at)
        except SQLAlchemyError:
            later = True
        if later:
            self.outbox.note_gap(at)  # `refresh` will keep it, when the database can be written again

    def _keep_gap(self, at: int) -> None:
        with self._engine.begin() as connection:
            at = max(at, queries.number(connection, queries.VERIFIED_SINCE))  # another process may know of a later one
            bump(connection, queries.VERIFIED_SINCE, at)
        self._verified_since = self.intents.verified_since = at

    def completeness(self) -> dict[str, dict[str, Any]]:
        """Per resource: known, in_doubt, complete, verified, and ratio (0 to 1, or None: nobody can say)."""
        with self._reader.connect() as connection, connection.begin():
            since = queries.number(connection, queries.VERIFIED_SINCE)
            lists = {row.type: row for row in connection.execute(select(collections))}
            query = select(records.c.type, records.c.state, func.count().label("n")).group_by(
                records.c.type, records.c.state
            )
            counts = {(row.type, row.state): row.n for row in connection.execute(query)}
            unsettled = {
                name: knowledge.unsettled(connection, name, membership=True) for name in self._contract.resources
            }
        state = {}
        for name in self._contract.resources:
            known, doubt, row = counts.get((name, KNOWN), 0), counts.get((name, DOUBT), 0), lists.get(name)
            complete = row is not None and row.complete and not unsettled[name]
            verified = row is not None and row.stamp >= since
            ratio = (known / (known + doubt) if known + doubt else 1.0) if complete and verified else None
            state[name] = {
                "known": known,
                "in_doubt": doubt,
                "complete": complete,
                "verified": verified,
                "private": bool(row is not None and row.private),
                "ratio": ratio,
            }
        return state

    def ready(self, endpoint_id: str) -> tuple[bool, str]:
        """Whether the standby can answer for the endpoint, and why not."""
        endpoint = self._contract.endpoints[endpoint_id]
        if endpoint.public and endpoint.safe and (endpoint.resource is None or endpoint.action is Action.CALL):
            seen = self._library.has_page(self._reader, endpoint_id)
            return seen, "ready" if seen else "the page has not been seen yet"
        if endpoint.resource is None or endpoint.action is Action.CALL:
            return False, "only the upstream can answer this"
        if self.owns(endpoint.resource) or endpoint.action is Action.CREATE:
            return True, "ready"
        row = self.completeness()[endpoint.resource]
        if row["private"] or self._contract.resources[endpoint.resource].visibility == "caller":
            return False, "each caller sees something else"
        if not row["complete"]:
            return False, f"not all {endpoint.resource} are known"
        if not row["verified"]:
            return False, "what is known is unverified"
        if row["in_doubt"]:
            return False, f"{row['in_doubt']} {endpoint.resource} are in doubt"
        unproven = self.unproven(endpoint_id)
        return (True, "ready") if unproven is None else (False, unproven)

    def unproven(self, endpoint_id: str) -> str | None:
        """What is not yet proven of what its answers stand on; None: nothing, or it is served all the same."""
        endpoint = self._contract.endpoints[endpoint_id]
        if not endpoint.safe or endpoint.action not in (Action.LIST, Action.READ) or self._settings.unproven == "serve":
            return None
        with self._reader.connect() as connection, connection.begin():
            return self._library.missing_proof(connection, endpoint)

    def evidence(self) -> dict[str, dict[str, Any]]:
        """For people: per endpoint, and per resource for what callers share, each derivation with its evidence."""
        with self._reader.connect() as connection, connection.begin():
            found = evidence.every(connection)
            known = {name: queries.ids(connection, name) for name in self._contract.resources}
        told = {}
        for endpoint in self._contract.endpoints.values():
            if endpoint.safe and endpoint.action in (Action.LIST, Action.READ):
                ids = known[str(endpoint.resource)]
                rows = evidence.told(self._contract, endpoint, found, self._settings.proof, ids)
                able, reason = self.ready(endpoint.id)
                shared = evidence.of_resource(self._contract, found, str(endpoint.resource), self._settings.proof)
                told[endpoint.id] = {"ready": able, "reason": reason, "derivations": {**rows, **shared}}
        return told

    def close(self) -> None:
        """Learns what is queued, then ends."""
        if self._settings.database:
            self._absence.close()
        self._work.put(None)
        self._thread.join(10)
