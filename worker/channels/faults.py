"""Why a message did not arrive: a code for log and audit trail, and words for whoever set the channel up.

Never what the other side said, which may quote an address.
"""

import smtplib
import socket
import ssl
import urllib.error

CODES: tuple[tuple[type[BaseException], str], ...] = (  # the first that fits
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "no_tls"),
    (smtplib.SMTPNotSupportedError, "not_offered"),
    (smtplib.SMTPServerDisconnected, "hung_up"),
    (socket.gaierror, "unknown_host"),
    (ConnectionRefusedError, "connection_refused"),
    (TimeoutError, "no_answer"),
)
WORDS: dict[str, str] = {
    "certificate": "its certificate is not trusted here; SSL_CERT_FILE names an authority of your own",
    "no_tls": "it does not speak TLS at this port",
    "not_offered": "it offers no STARTTLS or no log-in: see XRAYQ_SMTP_SECURITY and XRAYQ_SMTP_USER",
    "hung_up": "it ended the connection",
    "unknown_host": "no host of this name",
    "connection_refused": "nothing listens there",
    "no_answer": "it does not answer",
}
ANSWERED = {"smtp": "the mail server answered", "http": "the server answered"}


def code_of(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, smtplib.SMTPRecipientsRefused):
        return f"smtp_{next(iter(cause.recipients.values()))[0]}"
    if isinstance(cause, smtplib.SMTPResponseException):
        return f"smtp_{cause.smtp_code}"
    return next((code for kind, code in CODES if isinstance(cause, kind)), type(cause).__name__)


def in_words(code: str) -> str:
    """What the code means; the code itself where it says enough."""
    protocol, _, status = code.partition("_")
    return f"{ANSWERED[protocol]} {status}" if protocol in ANSWERED else WORDS.get(code, code)
