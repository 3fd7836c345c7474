"""What several test files share."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from zoo.cli import run

# On a busy machine, examples take long.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
#: For ``make mutants``: the same examples for each mutant, and the first that fails is enough.
settings.register_profile("mutants", derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))


@pytest.fixture(autouse=True)
def decoded_emoji(request: pytest.FixtureRequest) -> Iterator[None]:
    """Decode the packaged emoji once, except in tests of loading, and in those that import no torch."""
    if "builders.data.dataset" not in sys.modules or "builders/data" in request.path.as_posix():
        yield
        return
    from tests.helpers.emoji_cache import emoji_cache

    with emoji_cache():
        yield


@pytest.fixture(scope="module")
def light_measures() -> Iterator[None]:
    """Draw no samples and measure few held-out images in the trainings of a module, which asks for it by a mark."""
    from tests.helpers.light_measures import light_measures

    with light_measures():
        yield


@pytest.fixture(autouse=True, scope="session")
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache indexes of shards and features of images outside the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        if "ZOO_CACHE" not in os.environ:
            patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the width of tables and the meaning of signals from no terminal or shell that the tests run in.

    pytest's workers have COLUMNS=80; a shell starts jobs in the background without SIGINT, and nohup without SIGHUP.
    """
    monkeypatch.delenv("COLUMNS", raising=False)
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """The command line in this process and in an empty folder: arguments to exit code, output and errors."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments: object) -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # the command line prints those of the zoo
            code = run([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def pytest_collection_finish() -> None:
    """Leave what the test modules imported out of garbage collection, which every phase of a training starts."""
    gc.collect()
    gc.freeze()
