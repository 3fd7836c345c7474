"""``zoo sample`` and ``zoo.sample`` of entries of clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from builders.sampling import clip_files, generation
from builders.sampling.clip_files import ClipFormat
from builders.sampling.folder import SampleFolder
from builders.video.clip import VideoUnavailableError
from builders.video.pyav import decode_clip
from specs.blocks.size import Size
from tests.helpers.clip_models import clip_checkpoint, clip_model
from tests.helpers.images import read_image
from zoo.commands.sample import sample

LABELS, GRIDS = ("r16f4", "r8f4", "r8"), ("png", "webp")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights whose classes have names, and which name no data: nothing is rendered for the nearest clips."""
    names = ["left", "right", *"cdefghi"]
    return clip_checkpoint(tmp_path_factory.mktemp("clips") / "weights.safetensors", data="", classes=names)


def run(checkpoint, **options):
    return sample(str(checkpoint), **({"steps": 2, "device": "cpu", "quiet": True, "classes": ["left"]} | options))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_an_mp4_per_level_of_clips_and_a_png_per_level_of_images(checkpoint, cli):
    options = ("-c", "left", "-c", "right", "-n", 1, "--steps", 2, "--frame-rate", 5, "--seed", 7, "-q")
    code, out, errors = cli("sample", checkpoint, *options, "--device", "cpu")
    said = (
        "2 samples of every level (r16f4, r8f4, r8) are in samples\nwrote samples/grid.png\nwrote samples/grid.webp\n"
    )
    assert (code, out, errors) == (0, said, "")

    folder = Path("samples")
    assert files(folder) == [
        "grid.png",
        "grid.webp",
        *(f"{label}/{name}" for label, name in [("r16f4", "000007-left.mp4"), ("r16f4", "000008-right.mp4")]),
        "r16f4/metadata.jsonl",
        "r8/000007-left.png",
        "r8/000008-right.png",
        "r8/metadata.jsonl",
        "r8f4/000007-left.mp4",
        "r8f4/000008-right.mp4",
        "r8f4/metadata.jsonl",
        "samples.json",
    ]
    record = {"file_name": "000008-right.mp4", "seed": 8, "category": "right"}
    assert json.loads((folder / "r8f4" / "metadata.jsonl").read_text().splitlines()[1]) == record
    for label in LABELS[:2]:
        found = decode_clip((folder / label / "000007-left.mp4").read_bytes(), label)
        assert found.frames.shape == (4, 128, 128, 3) and found.rate == 5
    facts = json.loads((folder / "samples.json").read_text())
    assert (facts["clips"], facts["frame_rate"]) == ("mp4", 5.0)
    with Image.open(folder / "grid.webp") as picture:
        assert picture.n_frames == 4
        picture.load()
        assert picture.info["duration"] == 200


def test_a_grid_shows_the_frames_that_are_asked_for(checkpoint, tmp_path):
    widths = []
    for index, frames in enumerate([None, "all", "2"]):
        path = run(checkpoint, output=tmp_path / f"{index}.png", count=1, frames=frames)
        assert path.with_suffix(".webp").is_file()
        widths.append(read_image(path).width)
    assert widths[0] == widths[1] == 2 * 16 + 64 + 2 * 16 + 2 * (4 * 67 - 3)
    assert widths[2] == 2 * 16 + 64 + 2 * 16 + 2 * (2 * 67 - 3)


def test_lossless_files_are_the_samples(checkpoint, tmp_path):
    """The same samples as from Python, and as in a network that is sampled alone."""
    run(checkpoint, output=tmp_path / "out", count=2, lossless=True)
    drawn = zoo.sample(checkpoint, ["left"], n=2, num_inference_steps=2, device="cpu")
    assert list(drawn) == list(LABELS)
    for label, side in zip(LABELS[:2], (16, 8), strict=True):
        for row, frames in enumerate(drawn[label]):
            written = ClipFormat("webp").read(tmp_path / "out" / label / f"00000{row}-left.webp", Size(side, 4))
            assert len(frames) == 4 and (np.stack([np.asarray(frame) for frame in frames]) == written).all()
    for row, image in enumerate(drawn["r8"]):
        assert (np.asarray(image) == np.asarray(read_image(tmp_path / "out" / "r8" / f"00000{row}-left.png"))).all()
    assert drawn["r16f4"][0].save(tmp_path / "clip.mp4").stat().st_size > 1000


def test_a_folder_of_clips_resumes_and_gets_more(checkpoint, tmp_path, monkeypatch, capsys):
    options = {"classes": ["left", "right"], "count": 3, "output": tmp_path / "out", "quiet": False, "steps": 1}
    whole = run(checkpoint, **{**options, "output": tmp_path / "whole"}).parent
    monkeypatch.setattr(generation, "BATCH_PIXELS", 3 * 4 * 16**2)
    write, calls = SampleFolder.write, []

    def killed(self, rows, levels):
        calls.append(list(rows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, rows, levels)

    monkeypatch.setattr(SampleFolder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, **options)
    assert calls == [[0, 1, 2], [3, 4, 5]] and "3 of 6 samples are saved" in capsys.readouterr().err
    monkeypatch.setattr(
        SampleFolder, "write", lambda self, rows, levels: calls.append(rows) or write(self, rows, levels)
    )
    (tmp_path / "out" / "r8f4" / "000002-left.mp4").unlink()
    run(checkpoint, **options)
    assert calls[2:] == [[2, 3, 4], [5]] and "2 of 6 samples exist already" in capsys.readouterr().err
    assert files(tmp_path / "out") == files(whole)
    for path in whole.glob("r*/*.mp4"):
        one, two = (
            decode_clip(each.read_bytes(), "x").frames for each in (path, tmp_path / "out" / path.relative_to(whole))
        )
        assert np.abs(one.astype(int) - two).max() <= 2
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("r*/*.mp4")}
    run(checkpoint, **{**options, "count": 4})
    assert "6 of 8 samples exist already" in capsys.readouterr().err
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list((tmp_path / "out").glob("r*/*.mp4"))) == 16


def test_a_folder_has_clips_of_one_kind(checkpoint, tmp_path):
    run(checkpoint, output=tmp_path / "out", count=1)
    changes = {r"\(frame_rate 8.0, not 4.0\)": {"frame_rate": 4.0}, r"\(clips mp4, not webp\)": {"lossless": True}}
    for message, change in changes.items():
        with pytest.raises(ValueError, match=rf"holds samples with other settings {message}"):
            run(checkpoint, output=tmp_path / "out", count=1, **change)


def test_without_pyav_a_message_says_what_is_written(checkpoint, tmp_path, monkeypatch, capsys):
    def missing(*_, **__):
        raise VideoUnavailableError("videos need PyAV")

    monkeypatch.setattr(clip_files, "encode_mp4", missing)
    run(checkpoint, output=tmp_path / "out", count=1)
    assert capsys.readouterr().err == "note: videos need PyAV; clips are written as animated WebP\n"
    assert [path.name for path in (tmp_path / "out" / "r16f4").glob("*left*")] == ["000000-left.webp"]


def test_previews_show_frames(checkpoint, tmp_path):
    run(checkpoint, output=tmp_path / "grid.png", count=1, steps=2, previews=tmp_path / "p.png")
    # Two steps across; an image and three frames of two levels down.
    assert read_image(tmp_path / "p.png").size == (2 * 16 + 2 * 104 - 8, 2 * 16 + 18 + 18 + 7 * 104)


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("options", [("--frame-rate", 4), ("--frames", "all"), ("--lossless",)])
def test_options_of_clips_are_refused_for_images(image, options, checkpoint, cli, monkeypatch):
    """Before anything is loaded."""
    monkeypatch.setattr("registry.weights.load_weights", lambda *_: pytest.fail("loaded"))
    if image:
        code, _, errors = cli("sample", "mdm-nano", *options)
        assert code == 2 and f"mdm-nano draws images, not clips: remove {options[0]}" in errors
    elif options == ("--lossless",):
        code, _, errors = cli("sample", checkpoint, *options, "-o", "a.png")
        assert code == 2 and "--lossless is for files of clips, and a.png is a grid: name a folder" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frame-rate", 0), "--frame-rate must be above 0 and at most 1000, not 0"),
        (("--frame-rate", "nan"), "--frame-rate must be above 0 and at most 1000, not nan"),
        (("--frames", 0), "--frames 0: write a number of frames, or all"),
        (("--frames", "some"), "--frames some: write a number of frames, or all"),
        (("-o", "a.mp4"), "--output a.mp4: a grid is written as .png; any other name is a folder"),
        (("-n", 12, "-o", "a.png"), "108 samples are too many for a grid (at most 100); use --output FOLDER"),
        (
            ("--data", "noto-emoji-64"),
            "--data noto-emoji-64 holds images; clips of 4 frames are needed (or add --",
        ),
    ],
)
def test_wrong_values(options, message, checkpoint, cli):
    code, _, errors = cli("sample", checkpoint, "--device", "cpu", "-q", *options)
    assert code == 2 and message in errors


def test_the_nearest_clips_are_shown(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("builders.sampling.nearest.COMPARED_CLIPS", 3)
    alone = read_image(run(checkpoint, output=tmp_path / "a.png", count=1)).width
    path = run(checkpoint, output=tmp_path / "b.png", count=1, data="moving-emoji", classes=["0"], nearest=True)
    assert read_image(path).width == alone + 16 + 4 * 67 - 3


def test_a_network_without_names_draws_in_python():
    torch.manual_seed(0)
    drawn = zoo.sample(clip_model(), [3], n=1, num_inference_steps=1)
    assert repr(drawn["r16f4"][0]) == "<Frames: 4 of 16x16 pixels>" and drawn["r8"][0].size == (8, 8)
