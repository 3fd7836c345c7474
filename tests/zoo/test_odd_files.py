"""Pipes, devices, folders, loops of links and impossible names where a file is expected: one message, at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.shards import samples, write_tar


@pytest.fixture(autouse=True)
def at_once():
    """Fail if a test hangs, as when a pipe is opened."""

    def stop(number, frame):
        raise AssertionError("hangs")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 30)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def make(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "long":
        return path.with_name("x" * 300 + path.suffix)
    elif kind == "null":
        return path.with_name("a\0" + path.name)
    elif kind == "home":
        return Path("~nosuchuser") / path.name
    return path


KINDS = ("pipe", "device", "loop", "dangling", "folder", "long", "null", "home")
COMMANDS = {
    "check": ("x.yaml", ["check"], []),
    "show": ("x.yaml", ["show"], []),
    "draw": ("x.yaml", ["draw"], []),
    "card": ("x.yaml", ["card"], []),
    "match": ("x.yaml", ["match"], ["flops"]),
    "track": ("x.yaml", ["track"], []),
    "compare": ("x.yaml", ["compare"], []),
    "train": ("x.yaml", ["train"], []),
    "train data": ("x.tar", ["train", "mdm-micro", "--data"], []),
    "train initialise": ("x.safetensors", ["train", "micro-test", "--set"], []),
    "study": ("x.yaml", ["study"], []),
    "sample": ("x.safetensors", ["sample"], []),
    "sample data": ("x.tar", ["sample", "mdm-nano", "--data"], []),
    "sample encoder": ("encoder/x", ["sample", "mdm-nano.text", "-p", "a", "--text-encoder"], []),
    "evaluate": ("x.safetensors", ["evaluate"], []),
    "evaluate reference": ("x.tar", ["evaluate", "mdm-nano", "--reference"], []),
    "convert": ("x.json", ["convert"], ["y.pth"]),
    "convert weights": ("y.pth", ["convert", "config.json"], []),
    "pack": ("x.csv", ["data", "pack"], ["out", "-q"]),
    "pack jsonl": ("x.jsonl", ["data", "pack"], ["out", "-q"]),
    "pack tar": ("x.tar", ["data", "pack"], ["out", "-q"]),
    "inspect": ("x.tar", ["data", "inspect"], []),
    "encode": ("x.tar", ["data", "encode"], ["out"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_odd_file_in_place_of(cli, command, kind):
    name, before, after = COMMANDS[command]
    Path("config.json").write_text("{}")
    Path("encoder").mkdir()
    path = str(make(kind, Path(name)))
    path = path if path.startswith("~") else f"./{path}"
    given = f"initialise={path}" if command == "train initialise" else path
    code, _, err = cli(*before, given, *after)
    assert code in (1, 2) and "Traceback" not in err
    assert "\0" not in err and len(err) < 3000


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_file_in_place_of_a_spec_or_table(cli, kind):
    for name, command in (("x.yaml", "check"), ("y.yaml", "train"), ("z.csv", "data pack")):
        path = str(make(kind, Path(name)))
        code, _, err = cli(
            *command.split(), path if path.startswith("~") else f"./{path}", *["out"][: command.count("p")]
        )
        assert code == 2 and "Traceback" not in err and "\0" not in err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "dangling", "folder"])
@pytest.mark.parametrize(
    "name", ["a.png", "b.txt", "metadata.jsonl", "metadata.csv", "dataset.yaml", ".pack.json", "s.tar"]
)
def test_an_odd_file_in_a_folder_of_data(cli, kind, name):
    from PIL import Image

    Path("data").mkdir()
    Image.new("RGB", (8, 8)).save("data/b.png")
    make(kind, Path("data") / name)
    for command in (["data", "pack", "data", "out", "-q"], ["data", "inspect", "data"]):
        code, _, err = cli(*command)
        assert code in (0, 1, 2) and "Traceback" not in err


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
@pytest.mark.parametrize("name", ["samples.json", "r16", "grid.png"])
def test_an_odd_file_in_a_folder_of_samples(cli, kind, name):
    Path("out").mkdir()
    make(kind, Path("out") / name)
    code, _, err = cli("sample", "mdm-nano", "-n", "1", "-c", "0", "--steps", "1", "-o", "out", "--no-nearest", "-q")
    assert code in (0, 2) and "Traceback" not in err


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
def test_odd_files_where_results_and_runs_are(cli, kind):
    for folder in ("results/measured", "runs/a"):
        Path(folder).mkdir(parents=True)
    make(kind, Path("results/measured/x.json"))
    for name in ("log.jsonl", "recipe.json", "ema.safetensors", "state.safetensors", "mlflow.json"):
        make(kind, Path("runs/a") / name)
    for command in (
        ["results"],
        ["compare", "mdm-micro"],
        ["sample", "runs/a"],
        ["card", "mdm-micro", "-o", "card.md"],
    ):
        code, _, err = cli(*command)
        assert code in (0, 2) and "Traceback" not in err


def test_a_table_that_lists_odd_files(cli):
    write_tar(Path("s.tar"), list(samples(1)))
    for kind in ("pipe", "device", "loop", "folder"):
        make(kind, Path(f"{kind}.png"))
    rows = [
        "pipe.png",
        "device.png",
        "loop.png",
        "folder.png",
        "/dev/stdin",
        "/dev/zero",
        "x" * 300 + ".png",
        "~a/b.png",
    ]
    Path("t.csv").write_text("path,caption\n" + "".join(f"{row},a\n" for row in rows))
    code, _, err = cli("data", "pack", "t.csv", "out", "-q")
    assert code == 2 and "Traceback" not in err
