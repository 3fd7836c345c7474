"""Addresses as they may be shown and saved: without user, password, query and fragment.

Signed addresses carry a secret in their query (``?X-Amz-Signature=...``), others a password before the host.
"""

from __future__ import annotations

import re

__all__ = ["secrets_of", "shown_address", "without_secrets"]

#: Schemes whose rest is a path: it has no user and no query.
_PATHS = frozenset({"file", "local", "memory", "sqlite"})
#: Schemes that are recognised with a single slash too, to which a path shortens two.
_KNOWN = "https?|s3a?|gcs|gs|az|abfss?|adl|hf|s?ftp|github|webhdfs|hdfs|ssh|postgresql|mysql"
_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):(//+)(.*)", re.DOTALL)
_IN_TEXT = re.compile(
    rf"(?<![A-Za-z0-9+.-])(?:([A-Za-z][A-Za-z0-9+.-]+):(//+)|({_KNOWN}):(/))([^\s'\"<>|]+)", re.IGNORECASE
)
#: Users in front of empty hosts, one after the other.
_EMPTY_HOSTS = re.compile(r"(?:/+[^/?#@]*@)*")
_WORD = re.compile(r"[^\s'\"]+")
#: A key of a query whose value is a secret. Its length is bounded, so that the search takes linear time.
_SECRET = re.compile(
    r"(?:signature|sig|token|secret|password|passwd|credential|api_?key|access_?key\w{0,40}|x-amz-[a-z-]{1,60}|auth)=",
    re.IGNORECASE,
)


def shown_address(text: str) -> str:
    """Return an address without user, password, query and fragment; other texts as :func:`without_secrets` does."""
    found = _ADDRESS.fullmatch(text)
    if found is None or "::" in text:
        return without_secrets(text)
    scheme, slashes, rest = found.groups()
    return f"{scheme}:{slashes}{_stripped(scheme, rest)}"


def without_secrets(text: str) -> str:
    """Return a text with every address in it as :func:`shown_address` returns it."""

    def replaced(found: re.Match[str]) -> str:
        scheme, slashes, rest = found[1] or found[3], found[2] or found[4], found[5]
        # Punctuation behind an address belongs to the sentence.
        body = rest.rstrip("),.;:]}")
        return f"{scheme}:{slashes}{_stripped(scheme, body)}{rest[len(body) :]}"

    return _WORD.sub(_without_query, _IN_TEXT.sub(replaced, text))


def _without_query(found: re.Match[str]) -> str:
    """Return a word without its query if that holds a secret: a path without a scheme may have one too."""
    path, _, query = found[0].partition("?")
    return path if _SECRET.search(query) else found[0]


def secrets_of(address: str) -> tuple[str, ...]:
    """Return the parts of an address that are never shown, longest first, as they are written and unquoted."""
    from urllib.parse import unquote

    found = _ADDRESS.fullmatch(address)
    if found is None or found[1].lower() in _PATHS:
        return ()
    whole = found[3]
    start, end = _public_part(whole)
    user, query = whole[:start].removesuffix("@"), whole[end:].lstrip("?#")
    parts = {user, query, *user.split(":", 1), *re.split("[?#&]", query)}
    parts |= {part.partition("=")[2] for part in re.split("[?#&]", query)}
    return tuple(sorted({p for part in parts for p in (part, unquote(part)) if len(p) > 3}, key=len, reverse=True))


def _stripped(scheme: str, rest: str) -> str:
    if scheme.lower().partition("+")[0] in _PATHS:
        return rest
    start, end = _public_part(rest)
    # Passwords that are already replaced by stars are no secrets.
    return rest[:end] if rest[:start].endswith(":***@") else rest[start:end]


def _public_part(rest: str) -> tuple[int, int]:
    """Return start and end of what may be shown of an address, without its scheme."""
    host = re.match(r"[^/?#]*", rest)
    assert host is not None
    start = host[0].rfind("@") + 1
    # "user:pass/word@host": a password with a slash, a question mark or a hash that is not quoted.
    if not start and re.search(r"[^:\[\]]:(?!\d*$)[^:\]]*$", host[0]):
        start = rest.rfind("@") + 1
    # "u:p@/u:p@host": a host that is empty once the user is cut out.
    start = _EMPTY_HOSTS.match(rest, start).end() if start else start  # type: ignore[union-attr]
    cut = re.search(r"[?#]", rest[start:])
    return start, start + cut.start() if cut else len(rest)
