"""Mail by SMTP. With STARTTLS (RFC 3207) nothing is sent, and no password, before the connection is encrypted."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any, Final

from alerts.delivery.queue import Answer, Delivery, Told
from alerts.message import headline, paragraphs, severity
from sidecar.timeunits import SECOND

TIMEOUT: Final = 10.0
LONGEST: Final = 200


class Email:
    """A group is one thread: every message of it refers to the same id. `context`: what certificates are believed;
    None: those that this machine believes (SSL_CERT_FILE)."""

    name = "email"

    def __init__(
        self, server: tuple[str, int], sender: str, to: tuple[str, ...], dashboard: str, *,
        credentials: tuple[str, str] | None = None, tls: str = "starttls", context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._server = server
        self._sender = sender
        self._to = to
        self._dashboard = dashboard
        self._credentials = credentials
        self._tls = tls
        self._context = context or ssl.create_default_context()

    def send(self, delivery: Delivery) -> Answer:
        mail = compose(delivery.content, delivery.key, delivery.line, self._sender, self._to, self._dashboard)
        try:
            server = self._connected()
            try:
                refused = self._over(server, mail)
            finally:
                _goodbye(server)
        except smtplib.SMTPDataError as error:  # what was said is wrong, not who says it to whom
            return Answer(Told.REFUSED if error.smtp_code >= 500 else Told.RETRY, f"DATA {error.smtp_code}")
        except smtplib.SMTPResponseException as error:
            return Answer(Told.RETRY, f"{type(error).__name__} {error.smtp_code}")
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Answer(Told.RETRY, type(error).__name__)
        said = f"taken, but for {len(refused)} of {len(self._to)} recipients" if refused else "taken"
        return Answer(Told.DONE, said)

    def _connected(self) -> smtplib.SMTP:
        if self._tls == "implicit":
            return smtplib.SMTP_SSL(*self._server, timeout=TIMEOUT, context=self._context)
        return smtplib.SMTP(*self._server, timeout=TIMEOUT)

    def _over(self, server: smtplib.SMTP, mail: EmailMessage) -> Collection[str]:
        """The recipients whom the server does not take; it takes the mail for the others."""
        if self._tls == "starttls":
            server.starttls(context=self._context)
        if self._credentials is not None:
            server.login(*self._credentials)
        return server.send_message(mail)


def _goodbye(server: smtplib.SMTP) -> None:
    """Whatever comes of it: the mail was taken before, or was not."""
    with suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def compose(
    content: Mapping[str, Any], key: str, line: str, sender: str, to: tuple[str, ...], dashboard: str
) -> EmailMessage:
    mail = EmailMessage()
    domain = parseaddr(sender)[1].rpartition("@")[2] or "understudy"
    thread = f"<{_digest(line)}@{domain}>"
    mail["Subject"] = " ".join(headline(content).split())[:LONGEST]
    moment = max(max(alert["sent_at"], alert["resolved_at"]) for alert in content["alerts"])
    mail["Date"] = format_datetime(datetime.fromtimestamp(moment // SECOND, UTC))
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Message-ID"] = f"<{_digest(key)}@{domain}>"
    mail["In-Reply-To"] = mail["References"] = thread
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail["Importance"] = "high" if severity(content) == "page" and content["status"] != "resolved" else "normal"
    mail.set_content("\n\n".join(paragraphs(content, dashboard)))
    return mail


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
