"""One alert as an e-mail."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

from arcweb.events.alerts.rules import measure
from arcweb.events.alerts.undelivered import Undelivered

#: Seconds for the whole conversation with the mail server; EMAIL_TIMEOUT bounds each of its answers.
DEADLINE = 15.0
WORDS = {"firing": "Firing", "ended": "All clear", "test": "Test"}


def send(delivery_id: str, message: Mapping[str, Any], to: list[str]) -> None:
    """Raises Undelivered with a sentence."""
    mail = compose(delivery_id, message, to)
    # A server that answers a byte at a time outlasts every timeout of a socket.
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(mail.send).result(timeout=DEADLINE)
    except Late:
        raise Undelivered(
            f"The mail server did not finish within {DEADLINE:g} s; it may or may not have taken it."
        ) from None
    except smtplib.SMTPAuthenticationError:
        raise Undelivered("The mail server refuses the login (ARC_EMAIL_USER, ARC_EMAIL_PASSWORD).") from None
    except smtplib.SMTPRecipientsRefused:
        raise Undelivered("The mail server refuses every address of ARC_ALERT_EMAILS.") from None
    except smtplib.SMTPResponseException as error:
        raise Undelivered(f"The mail server answered with status {error.smtp_code}.") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Undelivered(
            f"The mail server {settings.EMAIL_HOST}:{settings.EMAIL_PORT} cannot be used "
            f"({type(error).__name__}): see ARC_EMAIL_HOST, ARC_EMAIL_PORT and ARC_EMAIL_SECURITY."
        ) from None
    finally:
        pool.shutdown(wait=False)


def compose(delivery_id: str, message: Mapping[str, Any], to: list[str]) -> EmailMessage:
    """The same mail at every try: its Message-ID is the delivery's."""
    word = WORDS[message["status"]]
    subject = " ".join(f"{word}: {message['title']}".split())
    lines = [message["text"], ""]
    if message["status"] != "test":
        lines += [f"Since:     {message['since']}", f"Threshold: {message['fires']} {_limit(message)}"]
    lines += [f"Page:      {message['url']}", f"Delivery:  {delivery_id}"]
    return EmailMessage(
        f"[ARC Web] {subject}",
        "\n".join(lines) + "\n",
        to=to,
        headers={"Message-ID": f"<{delivery_id}@arcweb>", "Auto-Submitted": "auto-generated"},
    )


def _limit(message: Mapping[str, Any]) -> str:
    return measure(message["threshold"], message["unit"])
