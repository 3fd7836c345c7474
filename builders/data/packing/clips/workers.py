"""Worker processes that encode videos, each with a deadline: one that takes longer, or dies, is replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from builders.child_processes import follow_parent, ignored_sigint
from builders.data.errors import PackError
from builders.data.packing.clips.encode import EncodedVideo, encode_video, too_late
from builders.data.packing.shard import PackSettings
from builders.data.packing.source import Source
from builders.video.clip import VideoUnavailableError

__all__ = ["encode_videos"]

Work = Callable[[Source, PackSettings], EncodedVideo]
#: Seconds beyond the deadline after which a worker is killed; it gives a video up by itself between two frames.
GRACE = 1.0
#: Number of videos that each worker may be ahead of the first one that is not finished.
AHEAD = 8
#: Number of workers in a row that may end before they are ready.
FAILURES = 3


def encode_videos(
    sources: Sequence[Source], settings: PackSettings, workers: int, work: Work = encode_video
) -> Generator[EncodedVideo, None, None]:
    """Yield the clips of videos, in their order. Close the generator to end the workers.

    Args:
        sources: Videos.
        settings: Settings of the pack, with those of clips.
        workers: Number of worker processes; 0 encodes in this process, where a video is given up between two frames.
        work: Function that encodes a video; the workers import it.

    Raises:
        PackError: PyAV is not installed, or workers cannot start.
    """
    if workers == 0:
        try:
            for source in sources:
                yield work(source, settings)
        except VideoUnavailableError as error:
            raise PackError(str(error)) from None
        return
    with contextlib.closing(_Pool(sources, settings, min(workers, len(sources)), work)) as pool:
        yield from pool.results()


class _Worker:
    """A worker process: the video that it encodes, and when it is killed."""

    def __init__(self, settings: PackSettings, work: Work) -> None:
        # Forked processes would inherit the threads of the libraries loaded here.
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, settings, work), daemon=True)
        # Ctrl-C reaches all processes. The workers inherit that they ignore it.
        with ignored_sigint():
            self.process.start()
        other.close()
        self.ready = False
        self.index: int | None = None
        self.end = float("inf")

    def give(self, index: int, source: Source, deadline: float) -> None:
        """Give the worker a video."""
        self.index, self.end = index, time.monotonic() + deadline + GRACE
        with contextlib.suppress(OSError):  # it has died, which is noticed when it is waited for
            self.connection.send(source)

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Pool:
    """Workers, and the results that are not yet due."""

    def __init__(self, sources: Sequence[Source], settings: PackSettings, count: int, work: Work) -> None:
        assert settings.clips is not None
        self.sources, self.settings, self.work = sources, settings, work
        self.deadline = settings.clips.deadline
        self.given = self.due = self.failures = 0
        self.done: dict[int, EncodedVideo] = {}
        self.workers: list[_Worker] = []
        try:
            for _ in range(count):
                self.workers.append(_Worker(settings, work))
        except BaseException:
            self.close()
            raise

    def results(self) -> Iterator[EncodedVideo]:
        """Yield the results in the order of the videos."""
        while self.due < len(self.sources):
            self._give()
            self._wait()
            while self.due in self.done:
                found = self.done.pop(self.due)
                self.due += 1
                self._give()
                yield found

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    def _give(self) -> None:
        for worker in self.workers:
            ahead = self.given - self.due >= AHEAD * len(self.workers)
            if worker.ready and worker.index is None and self.given < len(self.sources) and not ahead:
                worker.give(self.given, self.sources[self.given], self.deadline)
                self.given += 1

    def _wait(self) -> None:
        """Wait for a result, a death, or a deadline."""
        left = max(0.0, min(worker.end for worker in self.workers) - time.monotonic())
        found = wait([worker.connection for worker in self.workers], None if left == float("inf") else left)
        for number, worker in enumerate(self.workers):
            if worker.connection in found:
                self._receive(number, worker)
            elif time.monotonic() > worker.end:
                self._replace(number, too_late(self.deadline), "unread")

    def _receive(self, number: int, worker: _Worker) -> None:
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(number, "the decoder crashed", "broken")
            return
        if isinstance(message, str):
            raise PackError(message)
        if message is not None and worker.index is not None:
            self.done[worker.index] = message
        worker.ready, worker.index, worker.end, self.failures = True, None, float("inf"), 0

    def _replace(self, number: int, problem: str, state: Any) -> None:
        """Replace a worker, and report its video."""
        worker = self.workers[number]
        worker.kill()
        if not worker.ready:
            self.failures += 1
            if self.failures >= FAILURES:
                raise PackError("worker processes end before they start; run the same command with --workers 0")
        if worker.index is not None:
            origin = self.sources[worker.index].origin
            self.done[worker.index] = EncodedVideo(state, problem=f"{origin}: {problem}")
        self.workers[number] = _Worker(self.settings, self.work)


def _serve(connection: Connection, settings: PackSettings, work: Work) -> None:
    """Encode the videos that come in, until the connection is closed."""
    follow_parent()
    connection.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            source = connection.recv()
            try:
                found: Any = work(source, settings)
            except VideoUnavailableError as error:
                found = str(error)
            connection.send(found)
