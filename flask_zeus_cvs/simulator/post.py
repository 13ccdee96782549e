"""The postman: hands the sandbox's mails to a real mail server, one after the other, in a thread of its own."""

from __future__ import annotations

import logging
import math
import queue
import smtplib
import threading
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.simulator.mails import Mail
from flask_zeus_cvs.simulator.notices import is_loopback

SENDER = "sandbox@zeus-cvs.invalid"
#: Seconds for one conversation with the server.
PATIENCE = 10

logger = logging.getLogger("flask_zeus_cvs.simulator")


class Postman:
    """Delivers what is `put`; what the server does not take is logged and given up."""

    def __init__(self, server: str, *, allow_remote: bool) -> None:
        """Take ``host:port``. Raises `ConfigurationError` for another form, or a host that is not loopback."""
        host, _, port = server.rpartition(":")
        self._host = host.strip("[]")
        if not self._host or not port.isdecimal():
            raise ConfigurationError(f"{server!r} is no mail server: give host:port, as 127.0.0.1:1025")
        if not (allow_remote or is_loopback(self._host)):
            raise ConfigurationError(
                f"the sandbox does not mail through {self._host}: whatever address was typed would get its mail. "
                "Use a mail catcher on 127.0.0.1, or pass allow_remote=True (--allow-remote) if that is what you want."
            )
        self._port = int(port)
        self._queue: queue.SimpleQueue[Mail | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        #: When to give up what is left; on `time.monotonic`.
        self._ends = math.inf

    def start(self) -> None:
        self._ends = math.inf
        self._thread = threading.Thread(target=self._run, name="zeus-sandbox-post", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand over what is left, as much as `PATIENCE` allows, and end."""
        self._ends = time.monotonic() + PATIENCE
        self._queue.put(None)
        if self._thread:
            self._thread.join()
        self._queue = queue.SimpleQueue()

    def put(self, mail: Mail) -> None:
        self._queue.put(mail)

    def _run(self) -> None:
        while (mail := self._queue.get()) is not None and time.monotonic() < self._ends:
            try:
                with smtplib.SMTP(self._host, self._port, timeout=PATIENCE) as server:
                    _hand_over(server, mail)
            except (OSError, smtplib.SMTPException) as error:
                logger.warning("mail %s was not taken: %s", mail.number, type(error).__name__)


def _hand_over(server: smtplib.SMTP, mail: Mail) -> None:
    """Send to the very address: smtplib would take ``a,b@example.jp``, which ZEUS allows, for two others."""
    server.ehlo_or_helo_if_needed()
    for answer in (server.mail(SENDER), server.docmd("RCPT", f"TO:<{mail.to}>")):
        if answer[0] != 250:
            raise smtplib.SMTPResponseException(*answer)
    server.data(as_message(mail).as_bytes())


def as_message(mail: Mail) -> EmailMessage:
    """Write the mail as it goes to a server; it says in a header of its own that it is not from ZEUS."""
    local, _, domain = mail.to.rpartition("@")
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"] = SENDER
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = mail.subject
    message["Date"] = mail.at
    message["X-Zeus-CVS-Sandbox"] = "this is not ZEUS"
    message.set_content(mail.text)
    return message
