"""Exit codes of the command line."""

from __future__ import annotations

#: An error of the user, an interruption (128 + SIGINT), a closed pipe (128 + SIGPIPE).
USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
