"""Mails kept as files, one each, so that they outlive the catcher."""

import email
import email.policy
import os
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import TypedDict

ENVELOPE = "X-Envelope-To"
NAME = re.compile(r"^(\d{20})-(\d{6})\.eml$")


# Functional syntax, because `from` is a keyword.
Mail = TypedDict(
    "Mail",
    {
        "id": str,
        "to": list[str],
        "from": str,
        "subject": str,
        "text": str | None,
        "html": str | None,
        "headers": dict[str, str],
        "sent_at": str,
    },
)


@dataclass(slots=True)
class MailStore:
    """The mails in ``folder``, oldest first by name."""

    folder: Path
    _mails: dict[str, Mail] = field(default_factory=dict[str, Mail])
    _count: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            if NAME.match(path.name):
                self._mails[path.stem] = parse(path.stem, path.read_bytes())

    def add(self, content: bytes, recipients: list[str]) -> Mail:
        """Keep one mail; it is in its file when this returns."""
        self._count += 1
        identifier = f"{time.time_ns():020d}-{self._count % 1_000_000:06d}"
        envelope = f"{ENVELOPE}: {', '.join(recipients)}\r\n".encode()
        path = self.folder / f"{identifier}.eml"
        partial = path.with_suffix(".partial")
        partial.write_bytes(envelope + content)
        partial.replace(path)
        mail = parse(identifier, envelope + content)
        self._mails[identifier] = mail
        return mail

    def get(self, identifier: str) -> Mail | None:
        """Return one mail."""
        return self._mails.get(identifier)

    def newest_first(self) -> list[Mail]:
        """Return every mail."""
        return list(reversed(self._mails.values()))

    @property
    def tag(self) -> str:
        """An entity tag that changes whenever a mail comes or goes."""
        return f'"{len(self._mails)}-{next(reversed(self._mails), "")}"'

    def clear(self) -> None:
        """Delete every mail."""
        for identifier in list(self._mails):
            (self.folder / f"{identifier}.eml").unlink(missing_ok=True)
            del self._mails[identifier]


def read_mails(folder: Path) -> list[Mail]:
    """Return the mails another process keeps in ``folder``, newest first."""
    names = sorted((name for name in os.listdir(folder) if NAME.match(name)), reverse=True)  # noqa: PTH208  # names are all we need
    return [parse(name.removesuffix(".eml"), (folder / name).read_bytes()) for name in names]


def parse(identifier: str, content: bytes) -> Mail:
    """Turn a stored mail into what the JSON shows."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    headers = {name: _header(message, name) for name in message}
    recipients = headers.pop(ENVELOPE, "")
    sender = headers.get("From", "")
    return {
        "id": identifier,
        "to": [address.strip() for address in recipients.split(",") if address.strip()],
        "from": parseaddr(sender)[1] or sender,
        "subject": headers.get("Subject", ""),
        "text": _body(message, "plain"),
        "html": _body(message, "html"),
        "headers": headers,
        "sent_at": datetime.fromtimestamp(int(identifier[:20]) / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _header(message: EmailMessage, name: str) -> str:
    """Return a header; one that the parser stumbles over is shown as it came."""
    try:
        return str(message[name])
    except Exception:  # noqa: BLE001  # a catcher keeps what nobody else understands
        return next(str(value) for key, value in message.raw_items() if key == name)


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return None
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, UnicodeError):  # a charset nobody knows
        return bytes(part.get_payload(decode=True) or b"").decode(errors="replace")
