"""Exit codes of the command line."""

from __future__ import annotations

#: Exit codes: a mistake of the user's, an interruption (128 + SIGINT), a reader that went away (128 + SIGPIPE).
USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
