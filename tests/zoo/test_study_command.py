"""``zoo study``: everything is checked before the first entry is trained, and entries may be files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.shards import samples, write_tar

ENTRY = "name: {name}\nresolution: 16\n{rest}stages: {{r16: {{width: 32, depth: 1}}}}\n"
STUDY = """\
name: mini
data: {data}
entries: [{entries}]
budget: {{training_flops: 1e8}}
evaluation: {{samples: 4, num_inference_steps: 9}}
"""
FILES = {
    "plain": "",
    "two": "inputs: {classes: 2}\n",
    "seven": "inputs: {classes: 7}\n",
    "grey": "channels: 1\n",
    "reads": "inputs: {text: {width: 256, tokens: 8}}\n",
    "wide": "inputs: {text: {width: 512, tokens: 8}}\n",
    "typo": "chanels: 3\n",
    "moves": "frames: 4\nmiddle: [resnet]\n",
    "short": "process: {steps: 8}\n",
}


@pytest.fixture
def study(cli, monkeypatch):
    """Run a study of entries in ``studies/mine``; return code, errors, and the runs that it would train."""
    folder = Path("studies/mine")
    folder.mkdir(parents=True)
    for name, rest in FILES.items():
        (folder / f"{name}.yaml").write_text(ENTRY.format(name=name, rest=rest))
    (folder / "twin.yaml").write_text(ENTRY.format(name="plain", rest=""))
    write_tar(folder / "pets.tar", samples(4))
    write_tar(folder / "mute.tar", samples(4, caption=""))
    trained: list[tuple[str, Path, str]] = []
    measured: list[Path] = []
    monkeypatch.setattr("registry.weights.find_weights", Path)
    monkeypatch.setattr("builders.checkpoints.shipped.file_facts", lambda path: {})
    monkeypatch.setattr(
        "registry.evaluation.measure.measure", lambda run, *arguments, **options: measured.append(Path(run))
    )
    monkeypatch.setattr(
        "zoo.commands.study.run_recipe",
        lambda recipe, run, **options: trained.append((recipe.entry, run, recipe.data)) or run,
    )

    def call(entries: str, data: str = "./pets.tar", *options: str):
        (folder / "mini.yaml").write_text(STUDY.format(entries=entries, data=data))
        code, _, errors = cli("study", folder / "mini.yaml", "--no-track", "-q", *options)
        assert measured == [run for _, run, _ in trained]
        return code, errors, trained

    return call


def test_paths_are_relative_to_the_study(study):
    code, errors, trained = study("plain.yaml, ./two.yaml, flat-n32", "noto-emoji-64", "--set", "entries=[./x/y.yaml]")
    assert code == 2 and "x/y.yaml" in errors and not trained
    code, errors, trained = study("plain.yaml, ./two.yaml")
    assert (code, errors) == (0, "")
    mine = Path("studies/mine")
    assert trained == [
        (str(mine / "plain.yaml"), Path("runs/mini/plain"), str(mine / "pets.tar")),
        (str(mine / "two.yaml"), Path("runs/mini/two"), str(mine / "pets.tar")),
    ]


def test_names_of_entries_stay_names(study):
    assert study("flat-n32", "noto-emoji-64")[2] == [("flat-n32", Path("runs/mini/flat-n32"), "noto-emoji-64")]


@pytest.mark.parametrize(
    ("entries", "data", "words"),
    [
        ("plain.yaml, seven.yaml, flat-n32", "./pets.tar", ["seven: has 7 classes", "flat-n32: has 10 classes"]),
        ("plain.yaml, grey.yaml", "./pets.tar", ["grey: is for images of 1 channels"]),
        ("plain.yaml, wide.yaml", "./pets.tar", ["wide: the text encoder 'embedded' has states of width 256"]),
        ("plain.yaml, reads.yaml", "./mute.tar", ["reads: reads text, but no image of mute has a caption"]),
        (
            "plain.yaml, moves.yaml",
            "./pets.tar",
            ["moves: its level r16f4 reads clips of 4 frames, but the data pets has images, not clips"],
        ),
        ("plain.yaml, short.yaml", "./pets.tar", ["short: evaluation: "]),
        ("plain.yaml, absent.yaml", "./pets.tar", ["absent.yaml: error[missing-file]"]),
        ("plain.yaml, typo.yaml", "./pets.tar", ["typo.yaml:3:1: error[unknown-key]", "did you mean 'channels'"]),
        ("plain.yaml, flat-n23", "./pets.tar", ["mini.yaml:3:23: error[unknown-entry]", "did you mean 'flat-n32'"]),
        ("plain.yaml, twin.yaml", "./pets.tar", ["mini.yaml:3:23: error[conflict]", "two entries are called 'plain'"]),
        ("plain.yaml, plain.yaml", "./pets.tar", ["two entries are called 'plain'"]),
        ("plain.yaml", "./absent.tar", ["absent.tar"]),
        ("plain.yaml", "noto-emoij-64", ["did you mean 'noto-emoji-64'"]),
    ],
)
def test_all_entries_are_checked_before_the_first_is_trained(study, entries, data, words):
    code, errors, trained = study(entries, data)
    assert code == 2 and trained == [] and "Traceback" not in errors
    for word in words:
        assert word in errors


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("evaluation.features=inceptoin", "did you mean 'inception'"),
        ("evaluation.samples=1", "samples"),
        ("recipe.bach=3", "did you mean 'batch'"),
    ],
)
def test_settings_are_checked_before_the_first_is_trained(study, option, word):
    code, errors, trained = study("plain.yaml", "./pets.tar", "--set", option)
    assert code == 2 and word in errors and trained == []
