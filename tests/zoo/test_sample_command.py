"""``zoo sample``: samples, files and refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from builders.checkpoints.tensor_file import write_tensors
from builders.checkpoints.weights import save_weights
from builders.data.errors import DataError
from builders.data.packing.sources import find_sources
from builders.sampling import folder as sample_folder
from builders.sampling import generation
from builders.sampling.folder import SampleFolder
from builders.sampling.plan import Plan
from registry.evaluation.image_sets import open_images
from registry.weights import find_weights
from specs.schemas.sampling import SamplerSettings
from tests.helpers.images import read_image
from zoo.cli import run as run_zoo
from zoo.commands.sample import sample


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of mdm-micro that says it was trained on the emoji, and a newer state beside it."""
    model = zoo.build("mdm-micro")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    path = tmp_path / "weights.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"data": "noto-emoji-64"})
    write_tensors(tmp_path / "state.safetensors", model.state_dict(), {"kind": "state"})
    os.utime(path, (0, 0))
    return path


def run(checkpoint, **options):
    return sample(str(checkpoint), **({"steps": 2, "device": "cpu"} | options))


def assert_alike(one, two, count):
    """Two folders of samples hold the same images, up to rounding."""
    files = list(one.glob("*/*.png"))
    assert len(files) == count
    for file in files:
        first, second = (np.asarray(read_image(p / file.relative_to(one))).astype(int) for p in (one, two))
        assert np.abs(first - second).max() <= 1


def test_grid(checkpoint, tmp_path):
    path = run(checkpoint, output=tmp_path / "grid.png", count=1)
    assert path == tmp_path / "grid.png" and read_image(path).width > 300
    # The same seed, the same picture; a folder finds its newest weights.
    again = run(tmp_path, count=1, output=tmp_path / "again.png")
    assert again.read_bytes() == path.read_bytes()


def test_folder_of_images(checkpoint, tmp_path):
    drawn = {"classes": ["flags", "food"], "count": 2, "seed": 5, "sampler": "ddpm", "guidance": 1.0}
    path = run(checkpoint, output=tmp_path / "out", **drawn)
    assert path == tmp_path / "out" / "grid.png"
    names = ["000005-flags.png", "000006-flags.png", "000007-food-drink.png", "000008-food-drink.png"]
    for label, side in (("r16", 16), ("r8", 8)):
        assert sorted(file.name for file in (tmp_path / "out" / label).glob("*.png")) == names
        assert read_image(tmp_path / "out" / label / names[0]).size == (side, side)
    records = [json.loads(line) for line in (tmp_path / "out" / "r16" / "metadata.jsonl").read_text().splitlines()]
    assert records[2] == {"file_name": names[2], "seed": 7, "category": "Food & Drink"}
    # What is said of the samples is what packing reads, and a level's folder is one of images to measure.
    sources = find_sources(tmp_path / "out" / "r8" / "metadata.jsonl")
    assert [source.category for source in sources] == ["Flags"] * 2 + ["Food & Drink"] * 2
    assert len(open_images(str(tmp_path / "out" / "r16")).images) == 4


def test_a_folder_resumes(checkpoint, tmp_path, monkeypatch, capsys):
    options = {"classes": ["flags"], "count": 5, "output": tmp_path / "out"}
    whole = run(checkpoint, **{**options, "output": tmp_path / "whole"})
    monkeypatch.setattr(generation, "BATCH_PIXELS", 2 * 16**2)
    write, calls = SampleFolder.write, []

    def interrupted(self, rows, levels):
        calls.append(list(rows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, rows, levels)

    monkeypatch.setattr(SampleFolder, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, **options)
    assert "2 of 5 samples are saved" in capsys.readouterr().err
    calls.clear()

    def counted(self, rows, levels):
        calls.append(list(rows))
        write(self, rows, levels)

    monkeypatch.setattr(SampleFolder, "write", counted)
    (tmp_path / "out" / "r8" / "000001-flags.png").unlink()  # one level of a sample is not all of it
    run(checkpoint, **options)
    assert calls == [[1, 2], [3, 4]] and "1 of 5 samples exist already" in capsys.readouterr().err
    assert_alike(whole.parent, options["output"], 10)
    calls.clear()
    run(checkpoint, **options)
    assert calls == []


@pytest.mark.parametrize("classes", [["flags"], ["flags", "food"]])
def test_a_folder_gets_more_samples(classes, checkpoint, tmp_path, capsys):
    """Those that are there stay; with one class, the folder is that of all samples drawn at once."""
    out = tmp_path / "out"
    run(checkpoint, classes=classes[:1], count=2, output=out)
    before = {path.name: path.read_bytes() for path in (out / "r16").glob("*.png")}
    run(checkpoint, classes=classes, count=3, output=out)
    assert f"2 of {3 * len(classes)} samples exist already" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in (out / "r16").glob("*.png")}
    assert len(after) == 3 * len(classes) and before.items() <= after.items()
    settings = (out / "samples.json").read_text()
    run(checkpoint, classes=classes, count=3, output=out)
    assert (out / "samples.json").read_text() == settings
    if len(classes) == 1:
        run(checkpoint, classes=classes, count=3, output=tmp_path / "whole")
        assert_alike(tmp_path / "whole", out, 6)
    with pytest.raises(ValueError, match=r"other settings \(samples \d, not 2\)"):
        run(checkpoint, classes=classes[:1], count=2, output=out)
    with pytest.raises(ValueError, match="classes, prompts or seeds|samples"):
        run(checkpoint, classes=classes, count=4, seed=7, output=out)


def test_a_folder_of_something_else_is_refused(checkpoint, tmp_path):
    options = {"classes": ["flags"], "count": 1, "output": tmp_path / "out"}
    run(checkpoint, **options)
    with pytest.raises(ValueError, match=r"holds samples with other settings \(num_inference_steps 2, not 3\)"):
        run(checkpoint, **options, steps=3)
    with pytest.raises(ValueError, match="classes, prompts or seeds"):
        run(checkpoint, **{**options, "classes": ["food"]})
    with pytest.raises(ValueError, match="holds other files; choose a folder that is new or empty"):
        run(checkpoint, **{**options, "output": tmp_path})


def test_a_folder_resumes_however_early_it_was_interrupted(checkpoint, tmp_path, monkeypatch):
    """Also while it was being created."""
    options = {"classes": ["flags"], "count": 2, "output": tmp_path / "out"}
    real, written = sample_folder.write_text, []

    def interrupted(path, text):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        real(path, text)

    monkeypatch.setattr(sample_folder, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, **options)
    monkeypatch.setattr(sample_folder, "write_text", real)
    run(checkpoint, **options)
    assert len(list((tmp_path / "out").glob("r*/*.png"))) == 4
    (tmp_path / "out" / "samples.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"samples\.json: cannot be read"):
        run(checkpoint, **options)


def test_previews_of_a_folder_are_of_its_first_samples(checkpoint, tmp_path):
    options = {"classes": ["flags"], "count": 3, "output": tmp_path / "out"}
    run(checkpoint, **options)
    run(checkpoint, **options, previews=tmp_path / "p.png")
    whole = read_image(tmp_path / "p.png")
    (tmp_path / "out" / "r8" / "000002-flags.png").unlink()
    run(checkpoint, **options, previews=tmp_path / "q.png")
    assert np.array_equal(np.asarray(whole), np.asarray(read_image(tmp_path / "q.png"))) and whole.height > 6 * 96


def test_all_levels_together_are_no_set_of_images(checkpoint, tmp_path):
    run(checkpoint, classes=["flags"], count=2, output=tmp_path / "out")
    for read in (open_images, find_sources):
        with pytest.raises(DataError, match=r"out: holds samples at several resolutions; give .* such as .*/r8"):
            read(str(tmp_path / "out"))
    assert [source.category for source in find_sources(tmp_path / "out" / "r16")] == ["Flags", "Flags"]


def test_names_of_files_are_not_too_long():
    for prompt in ("\U00020000" * 300, "word " * 100):
        plan = Plan((7,), (prompt,), prompts=(prompt,))
        (name,) = SampleFolder.names_of(plan)
        assert name.startswith("000007-") and len(f".{name}.xxxxxxxx.part".encode()) < 255


def test_batches_do_not_change_samples(checkpoint, tmp_path, monkeypatch):
    whole = run(checkpoint, output=tmp_path / "whole", classes=["flags"], count=3)
    monkeypatch.setattr(generation, "BATCH_PIXELS", 2 * 16**2)
    parts = run(checkpoint, output=tmp_path / "parts", classes=["flags"], count=3)
    assert_alike(whole.parent, parts.parent, 6)


def test_previews(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "BATCH_PIXELS", 2 * 16**2)
    run(
        checkpoint,
        output=tmp_path / "grid.png",
        classes=["flags"],
        count=5,
        sampler="dpm++",
        steps=12,
        previews=tmp_path / "p.png",
    )
    picture = read_image(tmp_path / "p.png")
    # Eight moments across; four samples of two levels down.
    assert picture.width == 2 * 16 + 8 * 104 - 8 and picture.height > 8 * 96


def test_every_setting_reaches_the_sampler(checkpoint, tmp_path, monkeypatch):
    real, seen = generation.sample, []

    def listening(model, context, process, settings, **given):
        seen.extend((settings, given["seeds"]))
        return real(model, context, process, settings, **given)

    monkeypatch.setattr(generation, "sample", listening)
    words = "--sampler ddim --steps 3 --guidance 4 --guidance-interval 0.1 0.6 --eta 0.5 --dynamic-threshold 0.9"
    words += " --spacing logsnr"
    files = ["-o", str(tmp_path / "grid.png"), "--device", "cpu", "--precision", "bfloat16"]
    assert run_zoo(["sample", str(checkpoint), "-c", "flags", "-n", "1", "-q", *files, *words.split()]) == 0
    settings, seeds = seen
    expected = SamplerSettings("ddim", 3, 4.0, (0.1, 0.6), 0.5, True, 0.9, "bfloat16", "logsnr")
    assert settings.model_dump() == expected.model_dump()
    assert seeds == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["flag"]}, "did you mean 'Flags'"),
        ({"count": 0}, "--count"),
        ({"steps": 1001}, "from 1 to 1,000"),
        ({"sampler": "euler"}, "--sampler euler: must be 'ddim'"),
        ({"spacing": "even"}, "--spacing even: must be 'index' or 'logsnr'"),
        ({"steps": 0}, "--steps 0: must be at least 1"),
        ({"count": 41}, "410 samples are too many for a grid"),
        ({"output": Path("x.gif")}, "a grid is written as .png; any other name is a folder"),
        ({"previews": Path("x.gif")}, "a picture is written as .png"),
        ({"prompts": ["x"]}, "does not read text: remove --prompt"),
        ({"device": "nonsense"}, "--device nonsense"),
    ],
)
def test_refusals(checkpoint, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(checkpoint, **{"output": tmp_path / "grid.png", **options})
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize("which", ["output", "previews"])
def test_an_unwritable_folder_is_reported_before_the_work(checkpoint, tmp_path, monkeypatch, which):
    def never(*args, **kwargs):
        raise AssertionError("drew")

    def refused(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("builders.sampling.generation.draw", never)
    if which == "output":
        monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
        match = "no file can be written here .Read-only file system.*"
    else:
        (tmp_path / "file").write_text("")
        match = "file"
    places = {"output": tmp_path / "grid.png", "previews": tmp_path / "file" / "previews.png"}
    with pytest.raises(OSError, match=match):
        run(checkpoint, **{"output": tmp_path / "grid.png", which: places[which]})


def test_missing_weights(tmp_path):
    with pytest.raises(ValueError, match=r"x\.safetensors: no such checkpoint"):
        find_weights("x.safetensors")
    with pytest.raises(ValueError, match="no weights"):
        find_weights(str(tmp_path))
    with pytest.raises(ValueError, match="mdm-s1024 has no pretrained weights"):
        find_weights("mdm-s1024")
    with pytest.raises(LookupError, match="mdm-nan"):
        find_weights("mdm-nan")


def test_shares_of_classes():
    assert generation.class_shares([1, 1, 2], 8) == (0, 0, 1, 1, 2, 2, 2, 2)
    assert generation.class_shares([5, 0, 1], 4) == (0, 0, 0, 2)
    assert len(generation.class_shares([3, 7, 11, 13], 100)) == 100


def test_prompts(tmp_path):
    pytest.importorskip("wordllama")
    options = {"steps": 3, "guidance": 1.0, "count": 2, "device": "cpu", "nearest": False}
    path = sample("mdm-nano.text", prompts=["a red apple"], output=tmp_path / "a", **options)
    names = ["000000-a-red-apple.png", "000001-a-red-apple.png"]
    assert sorted(file.name for file in (path.parent / "r64").glob("*.png")) == names
    assert '"caption": "a red apple"' in (path.parent / "r64" / "metadata.jsonl").read_text()
    other = sample("mdm-nano.text", prompts=["a blue whale"], output=tmp_path / "b", **options)
    whale = other.parent / "r64" / "000000-a-blue-whale.png"
    assert whale.read_bytes() != (path.parent / "r64" / names[0]).read_bytes()
    with pytest.raises(ValueError, match=r"mdm-nano\.text reads text: add --prompt"):
        sample("mdm-nano.text", output=tmp_path / "c.png", device="cpu")


def test_defaults_fit_the_process_and_the_training(tmp_path, cli):
    entry = zoo.get("mdm-micro", ["process.steps=3"])
    model, path = entry.build(), tmp_path / "weights.safetensors"
    recipe = {"data": "noto-emoji-64", "drop": {"classes": 0.0}}
    save_weights(path, model.graph, model.state_dict(), {"recipe": recipe, "classes": ["a", "2", *"bcdefghi"]})
    options = ("sample", path, "-n", 1, "-q", "--no-nearest", "--device", "cpu", "-o")
    code, out, errors = cli(*options, tmp_path / "a", "-c", 2)
    assert out.startswith(f"1 sample of every level (r16, r8) is in {tmp_path / 'a'}\nwrote ")
    assert code == 0 and errors.startswith("note: no guidance by default, because it was not trained")
    facts = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert (facts["num_inference_steps"], facts["guidance_scale"]) == (3, 1.0)
    assert '"category": "2"' in (tmp_path / "a" / "r8" / "metadata.jsonl").read_text()
    code, _, errors = cli(*options, tmp_path / "b", "-c", 2, "--guidance", 2)
    assert code == 0 and "warning: guidance 2 uses a prediction that is not trained" in errors
    for command in (options, ("evaluate", path, "-o")):
        code, _, errors = cli(*command, tmp_path / "c", "--steps", 4)
        assert code == 2 and "must be from 1 to 3, not 4: the process has 3 steps (option --steps)" in errors


def test_weights_of_other_kinds_and_with_nan_are_refused(tmp_path, cli):
    model, path = zoo.build("mdm-micro"), tmp_path / "weights.safetensors"
    tensors = dict(model.state_dict())
    name = list(tensors)[-1]
    tensors[name] = tensors[name] * float("nan")
    save_weights(path, model.graph, tensors)
    (tmp_path / "net.pt").write_bytes(b"\x1f\x8b")
    for command in ("sample", "evaluate"):
        code, _, errors = cli(command, path, *(("--reference", "noto-emoji-64") if command == "evaluate" else ()))
        assert code == 2 and f"{name} holds NaN or infinity" in errors
        code, _, errors = cli(command, tmp_path / "net.pt")
        assert code == 2 and "this is a file compressed by gzip; decompress it" in errors
