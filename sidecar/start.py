"""What is done before anything serves: settings that cannot be used are refused, tables and keys are made."""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
from hashlib import sha256

import orjson
from sqlalchemy.exc import SQLAlchemyError

from sidecar import __version__, clock
from sidecar.access.policy_file import load as load_policies
from sidecar.background.sharing import Sharing
from sidecar.contract import Contract
from sidecar.contract.document import read, text_of
from sidecar.events.store.factory import refuse_other_products
from sidecar.journal.head import public_half
from sidecar.journal.keys import SigningKey, refuse_lost, write_public
from sidecar.journal.paths import PUBLIC_KEY, STATEMENTS
from sidecar.journal.reserve import remove_left
from sidecar.settings import Settings
from sidecar.standby import high_water
from sidecar.standby.absence import under_way_for
from sidecar.standby.knowledge import latest_stamp
from sidecar.standby.outbox.orphans import refuse_orphans
from sidecar.standby.outbox.seal_key import refuse_another, remember
from sidecar.standby.outbox.sealing import Seal
from sidecar.standby.rekey import lock_up
from sidecar.standby.standby import Standby
from sidecar.storage.database import SCHEMA, create_all, open_engine, or_away
from sidecar.storage.encryption import open_vault
from sidecar.storage.instance import instance_of
from sidecar.storage.nodes import register
from sidecar.storage.shared_clock import synchronise
from sidecar.telemetry.tracing import refuse_without_extra

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Refuses, without changing anything, a contract, policies or a database that cannot be used, and a contract that
    has no place for writes that are pending."""
    contract = _usable(settings)
    if settings.database or (settings.data / "understudy.db").exists():
        engine = open_engine(settings)
        refuse_orphans(engine, contract)
        with engine.execution_options(writes=False).connect() as connection, connection.begin():
            refuse_another(connection, settings.seal_key_file, settings.node_name)
        engine.dispose()


def _usable(settings: Settings) -> Contract:
    """The contract, where the settings can be used at all. Raises."""
    contract = Contract.load(settings.contract)
    load_policies(contract, settings.contract)
    refuse_other_products(settings)
    refuse_without_extra(settings)
    refuse_lost(settings.sign_key_file, settings.data / STATEMENTS)
    if settings.database or (settings.data / "understudy.db").exists():
        engine = open_engine(settings)
        with or_away(settings), engine.execution_options(writes=False).connect():
            pass
        SCHEMA.refuse_later(engine)
        engine.dispose()
    return contract


def prepare(settings: Settings) -> None:
    """Once, before any process is forked: refuses a contract that cannot be used, and makes the tables. Raises
    DatabaseAway while the database's server cannot be reached."""
    _usable(settings)
    remove_left(settings.data)
    key = SigningKey(settings.sign_key_file)
    write_public(key, settings.data / PUBLIC_KEY)
    try:
        write_public(key, public_half(key.path))
    except OSError as error:  # a key that is mounted read-only: whoever verifies has to read the key itself
        fields = {"event.action": "no_public_key"}
        log.warning("%s: %s", public_half(key.path), error.strerror, extra={"fields": fields})
    mark = high_water.kept(settings).above(high_water.asked_of_store(settings))
    engine = open_engine(settings)
    with or_away(settings):
        create_all(engine)
        with engine.begin() as connection:
            refuse_another(connection, settings.seal_key_file, settings.node_name)
            Seal(settings.seal_key_file)
            remember(connection, settings.seal_key_file)
            went_back = high_water.bring_forward(connection, mark)
        if went_back is not None:
            high_water.say(settings, went_back)
        lock_up(engine, open_vault(settings))
        latest = latest_stamp(engine, under_way_for(settings))
        clock.not_before(latest)
        if settings.database:
            clock.share(settings.data / "database.clock")
            synchronise(engine, latest)
            register(engine, settings.node_name, instance_of(settings.data), _about(settings))
            with closing(Sharing(settings)) as sharing, suppress(SQLAlchemyError):  # it is tried again each second
                sharing.step()
    engine.dispose()


def _about(settings: Settings) -> dict[str, str]:
    """What other nodes, and people, are told of this one."""
    host, port = settings.control_advertise or settings.control_listen
    contract = orjson.dumps(
        read(settings.contract, text_of(settings.contract)), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )
    control = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return {"version": __version__, "contract": sha256(contract).hexdigest(), "control": control}


def note_absence(settings: Settings) -> None:
    """Before the gateway starts: when it was away for longer than BYPASS_AFTER, traffic may have passed it by."""
    alive = settings.data / "alive"
    away = time.time() - alive.stat().st_mtime if alive.exists() else None
    if away is None or not -1 <= away <= settings.bypass_after:
        engine = open_engine(settings)
        standby = Standby(Contract.load(settings.contract), engine, settings)
        if away is None:
            standby.mark_gap("first start")
        else:
            standby.mark_gap(f"away for {away:.0f} s", under_way=True)
        standby.close()
        engine.dispose()
