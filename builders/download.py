"""Downloads over HTTP: resumable, without a limit on the total time, checked before they are renamed.

Passwords and signatures of addresses appear in no message and no file name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from builders.files import file_lock, write_text
from specs.addresses import secrets_of, without_secrets

if TYPE_CHECKING:
    import requests

__all__ = ["DownloadError", "download", "explained", "reporting"]

#: Timeouts in seconds: for a connection, and for each read.
CONNECT, READ = 20, 60
#: Number of attempts without a new byte, and seconds between them.
ATTEMPTS, PAUSE = 4, 1.0
CHUNK = 2**16
#: Bytes of the disk that are left free.
RESERVE = 2**28

#: Called with the name of a file, the number of bytes so far, and the size or None.
Report = Callable[[str, int, "int | None"], object]
#: Called with the path of a file, and whether it is complete.
Check = Callable[[Path, bool], object]
_reports: list[Report] = []


class DownloadError(ValueError):
    """A file cannot be downloaded; the message says why."""


@contextlib.contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Report the progress of all downloads of a block.

    Args:
        report: Called with the name of a file, the number of bytes so far, and the size in bytes or None.
    """
    _reports.append(report)
    try:
        yield
    finally:
        _reports.remove(report)


def download(address: str, path: Path, check: Check, *, name: str = "") -> None:
    """Download a file. A partial file, ``.NAME.part``, is resumed, also by a later process.

    Args:
        address: Address with ``http:`` or ``https:``.
        path: Path of the file.
        check: Called with the path of the partial file after its first bytes, and when it is complete, and whether it
            is; raises a ValueError if the file is not what is expected. It is then removed.
        name: Name of the file in reports of progress.

    Raises:
        DownloadError: The server does not answer or refuses, or the disk is full.
        OSError: The folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with file_lock(path.with_name(f".{path.name}.lock")):
        if path.is_file():  # by another process
            return
        transfer = _Transfer(address, part, check, name)
        transfer.run()
        os.replace(part, path)
        transfer.validator_path.unlink(missing_ok=True)
    path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


def explained(error: BaseException, address: str) -> str:
    """Return the first line of an error of a download, without any part of the address that is secret."""
    text = str(error.__cause__ or error).strip()
    for secret in secrets_of(address):
        text = text.replace(secret, "***")
    return without_secrets(text).partition("\n")[0][:300]


class _Transfer:
    """A download into a partial file.

    Args:
        address: Address of the file.
        part: Path of the partial file.
        check: See :func:`download`.
        name: Name in reports.
    """

    def __init__(self, address: str, part: Path, check: Check, name: str) -> None:
        self.address, self.part, self.check, self.name = address, part, check, name
        self.validator_path = part.with_suffix(".etag")
        self.size: int | None = None
        self.checked = False

    def run(self) -> None:
        """Download until the file is complete.

        Raises:
            DownloadError: See :func:`download`.
        """
        import requests

        left = ATTEMPTS
        while True:
            before = self._done()
            try:
                if self._request():
                    break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                left = ATTEMPTS if self._done() > before else left - 1
                if not left or not self._done():
                    raise DownloadError(self._reason(error)) from None
                time.sleep(PAUSE)
            except (requests.RequestException, UnicodeError) as error:
                raise DownloadError(explained(error, self.address)) from None
        self._check(complete=True)

    def _done(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _reason(self, error: Exception) -> str:
        if "timed out" in str(error).lower():
            return f"the server sent nothing for {READ} s; to resume, run the same command again"
        if self._done():
            return "the connection broke off; to resume, run the same command again"
        return f"no connection: {explained(error, self.address)}"

    def _request(self) -> bool:
        """Make one request and write its content; return whether the file is complete."""
        import requests

        done, validator = self._done(), self._validator()
        headers = {"Accept-Encoding": "identity", "User-Agent": "matryoshka-zoo"}
        if done and validator:
            headers |= {"Range": f"bytes={done}-", "If-Range": validator}
        with requests.get(self.address, headers=headers, stream=True, timeout=(CONNECT, READ)) as response:
            found = response.headers.get("Content-Range", f"bytes {done}-")
            if response.status_code == 416 or (response.status_code == 206 and not found.startswith(f"bytes {done}-")):
                # The partial file is not a part of what is there now.
                self.part.unlink(missing_ok=True)
                return False
            self._refuse(response)
            resumed = response.status_code == 206
            length = response.headers.get("Content-Length", "")
            start = done if resumed else 0
            self.size = start + int(length) if length.isdecimal() else None
            self._check_space((self.size or 0) - start)
            write_text(self.validator_path, json.dumps({"validator": _validator_of(response)}))
            with self.part.open("ab" if resumed else "wb") as file:
                self._copy(response, file, start)
        return self.size is None or self._done() >= self.size

    def _copy(self, response: requests.Response, file: BinaryIO, done: int) -> None:
        since = done
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            file.flush()
            done += len(chunk)
            if not self.checked:
                self._check(complete=False)
            if done - since >= RESERVE // 8:
                since = done
                self._check_space(0)
            for report in _reports:
                report(self.name, done, self.size)

    def _check(self, complete: bool) -> None:
        try:
            self.check(self.part, complete)
        except ValueError:
            self.part.unlink(missing_ok=True)
            self.validator_path.unlink(missing_ok=True)
            raise
        self.checked = True

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if free < needed + min(RESERVE, needed or RESERVE):
            what = f"{needed / 2**20:,.0f} MiB are needed, " if needed else ""
            raise DownloadError(f"the disk is full: {what}{free / 2**20:,.0f} MiB are free in {self.part.parent}")

    def _refuse(self, response: requests.Response) -> None:
        """Raise if a response is not the file."""
        if response.status_code in (401, 403, 407):
            raise DownloadError(
                f"the server refuses access ({response.status_code} {response.reason}). User, password and signature "
                "of an address are not saved: give the whole address again, with a signature that is still valid"
            )
        if response.status_code not in (200, 206):
            raise DownloadError(f"the server answers {response.status_code} {response.reason}")

    def _validator(self) -> str:
        """Return the ETag or date of the partial file; empty if it is unknown."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return str(json.loads(self.validator_path.read_text("utf-8")).get("validator") or "")
        return ""


def _validator_of(response: Any) -> str:
    """Return what a resumed request is compared by: a strong ETag, or the date of the last change."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))
