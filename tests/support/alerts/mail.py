"""A real SMTP server on loopback (aiosmtpd), with STARTTLS and a password, that misbehaves when told to."""

from __future__ import annotations

import email
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from compose.tls import authority
from tests.support.stack import free_port

USER = ("understudy", "s3cret-of-the-mail-server")


@dataclass
class Mailbox:
    """Mails that were taken. `answers`: what is answered to DATA next; 250 when it is empty."""

    port: int
    trusted: ssl.SSLContext
    answers: list[str] = field(default_factory=list)
    refuses: frozenset[str] = frozenset()
    got: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(self, _s: SMTP, _: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        if address in self.refuses:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer == "closed":
            assert server.transport is not None
            server.transport.close()
            return "451 closed"
        if answer.startswith("250"):
            self.got.append(email.message_from_bytes(bytes(envelope.content or b""), policy=policy.default))  # type: ignore[arg-type]
            self.encrypted.append(session.ssl is not None)
        return answer


@contextmanager
def mailbox(folder: Path, starttls: bool = True, implicit: bool = False) -> Iterator[Mailbox]:
    authority.write(folder, ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    mine = Mailbox(free_port(), ssl.create_default_context(cafile=str(folder / "ca.pem")))

    def login(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        right = isinstance(given, LoginPassword) and (given.login.decode(), given.password.decode()) == USER
        return AuthResult(success=right, handled=right)

    given: dict[str, Any] = {"tls_context": context, "require_starttls": True, "authenticator": login}
    if implicit:
        given = {"ssl_context": context}
    controller = Controller(mine, hostname="127.0.0.1", port=mine.port, **given if starttls else {})
    controller.start()
    try:
        yield mine
    finally:
        controller.stop()
