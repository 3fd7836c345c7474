"""Cards of runs, of weights and of entries in files; names and texts of any kind in them."""

from __future__ import annotations

import html
import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml

import zoo
from registry.publishing.markdown import code, literal, plain, python_string, shell_word
from registry.publishing.model_card import model_card
from registry.publishing.subject import weights_subject
from specs.load import load_text
from tests.helpers.runs import run_folder
from tests.helpers.shards import samples, write_tar
from zoo.commands.sample import sample

HOSTILE = "<script>alert(1)</script> [x](javascript:1) `code` *b* _i_ # h | cell \x1b[31m \u202e ![p](q) <b>\n# title"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def code_of(text: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


def test_the_card_of_a_run(cli, tmp_path):
    run_folder(Path("runs/mine"))
    code, out, err = cli("card", "runs/mine")
    assert (code, err) == (0, "")
    assert "zoo sample runs/mine -o samples.png" in out and 'zoo.sample("runs/mine", classes=[0, 1], n=1' in out
    assert "Recipe `micro-test` on `noto-emoji-64`: 8 steps of p8, then 2 hours of p16; adamw" in out
    assert "step 5 of phase `p16`" in out and "Weights (" in out and "Google Noto Emoji" in out
    assert yaml.safe_load(out.split("---\n")[1])["license"] == "unknown"
    assert str(tmp_path) not in out
    assert cli("card", "runs/mine", "-o", "card.md")[0] == 0 and Path("card.svg").is_file()
    assert cli("card", "runs/mine/ema.safetensors")[1].count("runs/mine/ema.safetensors") == 2
    exec(code_of(out, "python").replace("num_inference_steps=20", "num_inference_steps=1"), {})
    assert Path("sample-1.png").is_file()


CLIPS = """
name: small-clips
resolution: 8
frames: 2
inputs: {classes: 9}
head: {groups: 8}
middle: [temporal_conv]
defaults: {resnet: {groups: 8}, temporal_conv: {groups: 8}}
stages: {r8f2: {width: 16}}
"""


def test_the_card_of_a_run_on_clips(cli):
    Path("small-clips.yaml").write_text(CLIPS)
    run_folder(Path("runs/clips"), zoo.get("small-clips.yaml"))
    code, out, err = cli("card", "runs/clips")
    assert (code, err) == (0, "")
    assert "zoo sample runs/clips -o samples\n" in out and "| frames | 2 |" in out
    front = yaml.safe_load(out.split("---\n")[1])
    assert "video" in front["tags"] and front["pipeline_tag"] == "other"
    exec(code_of(out, "python").replace("num_inference_steps=20", "num_inference_steps=1"), {})
    assert b"ftyp" in Path("sample-1.mp4").read_bytes()[:16]


def test_the_card_of_a_run_on_clips_and_images_names_both(cli):
    recipe = {"name": "r", "data": "moving-emoji", "images": {"noto-emoji-64": 1, "./x": 2}}
    run_folder(Path("runs/mine"), recipe=recipe)
    _, out, _ = cli("card", "runs/mine")
    assert "Recipe `r` on `moving-emoji` and images of `noto-emoji-64+./x`" in out
    assert "Images: `noto-emoji-64+./x`, licence unknown." in out
    assert yaml.safe_load(out.split("---\n")[1])["datasets"] == ["moving-emoji", "noto-emoji-64"]
    run_folder(Path("runs/mine"), recipe=recipe | {"images": "noto-emoji-64"})
    text = cli("card", "runs/mine")[1]
    assert "Data: `moving-emoji`, " in text and "Images: `noto-emoji-64`, " in text


@pytest.mark.parametrize("own", [True, False])
def test_a_card_names_data_without_its_folder_and_opens_only_that_of_a_run(cli, tmp_path, own):
    (tmp_path / "secret-place").mkdir()
    write_tar(tmp_path / "secret-place" / "pets.tar", samples(4))
    data, recipe = str(tmp_path / "secret-place" / "pets.tar"), {"name": "r", "text_encoder": "embedded"}
    run_folder(Path("runs/mine"), recipe=recipe | {"data": "./pets.tar"})
    if own:
        Path("runs/mine/recipe.json").write_text(json.dumps(recipe | {"data": data}))
        Path("runs/mine/state.safetensors").touch()
    code, out, err = cli("card", "runs/mine")
    assert (code, err) == (0, "") and "secret-place" not in out and "Recipe `r` on `./pets.tar`" in out
    assert ("Data: `pets`, licence not stated." if own else "Data: `./pets.tar`, licence unknown.") in out


def test_truncated_weights_have_no_card(cli):
    path = run_folder(Path("runs/mine")) / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    code, _, err = cli("card", "runs/mine")
    assert code == 2 and "ema.safetensors: truncated: its tensors end at byte " in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch.safetensors"], "no such checkpoint"),
        (["empty"], "no weights (.safetensors) in this folder"),
        (
            ["half"],
            "no weights (.safetensors) in this folder; it holds the state of a run: run its 'zoo train' command",
        ),
        (["runs/mine", "--set", "stages.r16.width=32"], "--set changes an entry"),
        (["mdm-micor"], "did you mean 'mdm-micro'"),
    ],
)
def test_what_has_no_card(cli, words, message):
    run_folder(Path("runs/mine"))
    Path("empty").mkdir()
    Path("half").mkdir()
    Path("half/state.safetensors").touch()
    code, out, err = cli("card", *words)
    assert (code, out) == (2, "") and message in err and "Traceback" not in err


def test_the_card_of_a_file_names_the_file():
    path = Path("my models/it's.yaml")
    path.parent.mkdir()
    path.write_text(zoo.get("mdm-micro").expanded_yaml().replace("name: mdm-micro", "name: mine"))
    text = model_card(zoo.get(path))
    assert 'zoo.get("my models/it\'s.yaml")' in text and "zoo train 'my models/it'\"'\"'s.yaml' --data DATASET" in text
    assert 'zoo.get("mine")' not in text and "The package includes" not in text
    assert "Code and spec: Apache" not in text
    exec(code_of(text, "python"), {})


def test_a_file_with_the_name_of_a_packaged_entry():
    path = Path("mdm-nano.yaml")
    path.write_text("name: mdm-nano\nresolution: 16\nstages: {r16: {width: 32}}\n")
    text = model_card(zoo.get(path))
    assert 'zoo.get("mdm-nano.yaml")' in text and "Weights (" not in text and "zoo train nano-long" not in text


def test_an_entry_changed_by_overrides():
    text = model_card(zoo.get("mdm-nano", ["stages.r64.width=32"]))
    assert "zoo expand mdm-nano --set PATH=VALUE" in text and "```python" not in text and "zoo train" not in text


def test_an_entry_that_was_read_from_text():
    text = model_card(zoo.Entry(load_text("name: mine\nresolution: 8\nstages: {r8: {width: 32}}\n")))
    assert "Save its spec as `mine.yaml` and use the file: `zoo.get('mine.yaml')`." in text and "zoo train" not in text


def test_texts_of_any_kind():
    text = f"name: x\nsummary: {json.dumps(HOSTILE)}\nresolution: 8\nstages: {{r8: {{width: 32}}}}\n"
    entry = zoo.Entry(load_text(text))
    facts = {"phase": HOSTILE, "step": HOSTILE, "content": HOSTILE}
    recipe = {"name": HOSTILE, "data": HOSTILE, "optimizer": {"name": HOSTILE}, "ema": HOSTILE, "licence": HOSTILE}
    run_folder(Path("run"), entry, **facts, recipe=recipe | {"phases": {HOSTILE: {"hours": HOSTILE}}})
    for card in (model_card(entry), model_card(weights_subject("run"))):
        body = re.sub(r"`` .*? ``(?!`)|`[^`\n]*`", "", card.split("---\n", 2)[2])  # without code
        assert "<script" not in body and "<b>" not in body and not re.search(r"(?<!\\)\]\(java", body)
        assert "\x1b" not in card and "\u202e" not in card and "\n# title" not in card
        assert len(re.findall(r"^# ", card, re.MULTILINE)) == 1
        table = [line for line in card.splitlines() if line.startswith("|")]
        assert all(len(re.findall(r"(?<!\\)\|", line)) in (3, 9) for line in table)


@pytest.mark.parametrize("recipe", ["[]", "null", "3", '"text"', "{", '{"phases": 3, "optimizer": []}', "[" * 5000])
def test_metadata_of_any_shape(recipe):
    run_folder(Path("run"), recipe=recipe)
    text = model_card(weights_subject("run"))
    assert "## Training\n" in text and "zoo sample run" in text


def test_no_data_is_opened_and_no_secret_shown(monkeypatch):
    monkeypatch.setattr("builders.data.dataset_card.find_dataset", None)
    secret = "http://user:hunter2@127.0.0.1:9/{000..999}.tar?X-Amz-Signature=hunter2"
    run_folder(Path("run"), recipe={"name": "a", "data": secret, "text_encoder": "/etc"}, data=secret)
    text = model_card(weights_subject("run"))
    assert "hunter2" not in text and "licence unknown" in text


LINES = [HOSTILE, "- item", "1. item", "2) item", "> quote", "+ plus", "=== rule", "a_b", "x < y & z", "", "--- | ---"]


@pytest.mark.parametrize("text", LINES)
def test_plain(text):
    found = plain(text)
    assert "\n" not in found and "\x1b" not in found and not re.search(r"(?<!\\)[`*\[\]#|!]|<|>(?!;)", found)
    assert not re.match(r"\s*([-+=>]|\d+[.)])", found)


def test_plain_leaves_plain_text():
    for text in (
        "64x64 emoji, three dolls deep; trains on two CPU cores.",
        "fd_made_up",
        "a-b (c), 1.5 %",
        "1.5 %",
        "r64",
    ):
        assert html.unescape(plain(text)) == text


@pytest.mark.parametrize("text", ["a", "`", "a``b", "a|b", "\n\x1b", " "])
def test_code(text):
    found = code(text)
    fence = re.match("`+", found)[0]
    assert (
        found.endswith(fence) and f"{fence}`" not in found[len(fence) :] and "\n" not in found and "\x1b" not in found
    )


def test_words_of_python_and_the_shell():
    for text in ("runs/mine", "it's", 'a "b"', "a\nb", "\x1b", "\u202e", "图"):
        assert eval(python_string(text)) == text and python_string(text).isprintable()
        assert shell_word(text).isprintable()
    assert literal("```\nx", "sh") == "````sh\n```\nx\n````\n"


def test_samples_beside_the_card(cli, monkeypatch):
    run_folder(Path("run"))
    monkeypatch.setattr("zoo.commands.card.sample", partial(sample, steps=1, quiet=True))
    code, out, _ = cli("card", "run", "-o", "card.md", "--samples", "1")
    assert code == 0 and "wrote card.samples.png" in out and Path("card.samples.png").is_file()
    assert "## Samples\n" in Path("card.md").read_text() and "](card.samples.png)" in Path("card.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--samples", "2"), "--output names the card"),
        (("run", "-o", "card.md", "--samples", "-1"), "N is at least 0"),
        (("run", "-o", "card.md", "--prompt", "a"), "add --samples N"),
        (("run", "-o", "card.txt", "--samples", "1"), "a card is an .md file"),
        (("mdm-micro", "-o", "card.md", "--samples", "1"), "mdm-micro has no weights that draw samples"),
    ],
)
def test_samples_that_cannot_be_drawn(cli, words, message):
    run_folder(Path("run"))
    code, _, err = cli("card", *words)
    assert code == 2 and message in err and not list(Path().glob("card*"))
