"""Text encoders: their states, cached states, and errors."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from builders.data.error_budget import BrokenDataWarning
from builders.data.errors import DataError
from builders.text import embedded as embedded_text
from builders.text.cached import FACTS, EncodedText
from builders.text.encode_dataset import encode_dataset
from builders.text.encoder import TextEncoderError
from builders.text.open import open_text_encoder
from specs.graph import TextInput
from specs.load import load_entry
from tests.helpers.shards import samples, write_tar

TEXT = TextInput(width=256, tokens=16)
CAPTIONS = ["a red apple", "", "   ", "an apple", "woman walking facing right: dark skin tone " * 4]


@pytest.fixture(scope="module")
def encoder():
    return open_text_encoder("embedded", TEXT)


def test_states_of_the_embedded_encoder(monkeypatch):
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)  # another test may have looked whether it is there
    encoder = open_text_encoder("embedded", TextInput(256, 16))
    states, mask = encoder(CAPTIONS)
    assert states.shape == (5, 16, 256) and states.dtype == torch.float32
    assert mask.shape == (5, 16) and mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [3, 0, 0, 2, 16]
    assert not states[~mask].any() and states[mask].abs().sum(-1).min() > 0
    assert torch.equal(encoder(["A RED apple"])[0], states[:1])
    # A token has the same state at every position; words differ.
    torch.testing.assert_close(states[0, 2], states[3, 1], atol=0, rtol=0)
    assert not torch.equal(states[0, 1], states[0, 2])
    assert (encoder.name, encoder.width, encoder.tokens, len(encoder.fingerprint)) == ("embedded", 256, 16, 64)
    assert encoder.fingerprint == open_text_encoder("embedded", TextInput(256, 8)).fingerprint
    assert "wordllama" not in sys.modules


def test_words_of_like_meaning_have_like_states(encoder):
    states, mask = encoder(["dog", "puppy", "theorem"])
    dog, puppy, theorem = (states[row][mask[row]].mean(0) for row in range(3))
    near, far = torch.cosine_similarity(dog, puppy, 0), torch.cosine_similarity(dog, theorem, 0)
    assert near > far + 0.2


def test_another_width_is_refused():
    with pytest.raises(TextEncoderError, match=r"'embedded' has states of width 256, but .* width 2048"):
        open_text_encoder("embedded", load_entry("mdm-s64").graph.text)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(embedded_text, "find_spec", lambda name: None)
    with pytest.raises(TextEncoderError, match=r"wordllama: pip install 'matryoshka-zoo\[text\]'"):
        open_text_encoder("embedded", TEXT)


def test_cached_states_are_found_again(encoder, tmp_path):
    seen = []
    found = encode_dataset("noto-emoji-64", tmp_path, encoder, progress=lambda *given: seen.append(given))
    assert (found.shards, found.kept) == (2, 0) and found.captions > 1500
    assert seen == sorted(seen) and seen[0] == (0, 2) and seen[-1] == (2, 2) and len(seen) > 8
    facts = json.loads((tmp_path / FACTS).read_text())
    assert facts["fingerprint"] == encoder.fingerprint and facts["complete"]
    cached = open_text_encoder(str(tmp_path), TEXT)
    assert isinstance(cached, EncodedText) and cached.fingerprint == encoder.fingerprint
    captions = ["Red Apple", "", "Thinking Face", "Red Apple"]
    for found, expected in zip(cached(captions), encoder(captions), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(pickle.loads(pickle.dumps(cached))(captions)[0], encoder(captions)[0])
    with pytest.raises(TextEncoderError, match="no states for the caption 'a caption of no image'"):
        cached(["a caption of no image"])
    with pytest.raises(TextEncoderError, match="are needed"):
        EncodedText.open(tmp_path, TEXT, fingerprint="0" * 64)
    with pytest.raises(TextEncoderError, match="captions of 16 tokens, but the entry reads 8"):
        open_text_encoder(str(tmp_path), TextInput(256, 8))
    # States of another encoder are refused.
    other = open_text_encoder("embedded", TextInput(256, 8))
    with pytest.raises(TextEncoderError, match="its tokens is 16, not 8"):
        encode_dataset("noto-emoji-64", tmp_path, other)


def test_an_interrupted_encoding_resumes(encoder, tmp_path):
    data, states = tmp_path / "data", tmp_path / "states"
    data.mkdir()
    for number in range(2):
        write_tar(data / f"{number}.tar", samples(4, caption=f"an apple {number}"))

    def stop(done, total):
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_dataset(data, states, encoder, progress=stop)
    with pytest.raises(TextEncoderError, match="not finished"):
        open_text_encoder(str(states), TEXT)
    whole = encode_dataset(data, states, encoder)
    assert (whole.shards, whole.kept) == (2, 0)
    shard = next(states.glob("*.safetensors"))
    assert encode_dataset(data, states, encoder) == replace(whole, shards=0, kept=2)
    # Damaged states are not used, and are encoded again.
    content = bytearray(shard.read_bytes())
    content[-7] ^= 1
    shard.write_bytes(content)
    cached = open_text_encoder(str(states), TEXT)
    with pytest.raises(TextEncoderError, match="damaged: states do not match their hash; run zoo"):
        cached(["an apple 0", "an apple 1"])
    assert encode_dataset(data, states, encoder) == replace(whole, shards=1, kept=1)


def test_an_encoder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TextEncoderError, match="no such folder"):
        open_text_encoder("./nowhere", TEXT)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TextEncoderError, match="no T5 encoder with its tokenizer") as caught:
        open_text_encoder(str(tmp_path), TEXT)
    assert "\n" not in str(caught.value)


def test_text_reaches_the_network_of_a_text_entry(encoder):
    import zoo

    model = zoo.build("mdm-nano.text")
    assert model.graph.text == TextInput(width=256, tokens=16, project=64) and model.graph.classes is None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    z = [torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(size)) for size in (64, 32, 16)]
    z = [x[:1].expand(3, -1, -1, -1) for x in z]
    states, mask = encoder(["a red apple", "a blue car", ""])
    with torch.no_grad():
        found = model(z, 500, text=states, text_mask=mask)
        none = model([x[:1] for x in z], 500)
    for level, without in zip(found, none, strict=True):
        assert (level[0] - level[1]).abs().max() > 1e-3
        # An empty caption is the same as no text.
        torch.testing.assert_close(level[2:], without, atol=1e-5, rtol=1e-5)


def test_broken_data_is_skipped_or_an_error(encoder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(10):
        broken = [("bad.png", b""), ("bad.json", b"{")] if number == 0 else []
        write_tar(data / f"{number}.tar", [*samples(4, caption=f"an apple {number}"), *broken])
    whole = (data / "3.tar").read_bytes()
    (data / "3.tar").write_bytes(whole[:1500])
    for _ in range(2):  # shards that are reused warn again
        with pytest.warns(BrokenDataWarning) as seen:
            found = encode_dataset(data, tmp_path / "states", encoder)
        texts = " ".join(str(each.message) for each in seen)
        assert "skipped 1 broken sample:" in texts and "0.tar: sample 'bad': its .json is not JSON" in texts
        assert "skipped 1 broken shard:" in texts and "3.tar: the tar file is cut off" in texts
    assert (found.shards, found.kept, found.captions) == (1, 9, 9)
    (data / "3.tar").write_bytes(whole)
    with pytest.warns(BrokenDataWarning, match="1 broken sample"):
        assert encode_dataset(data, tmp_path / "states", encoder).captions == 10
    assert open_text_encoder(str(tmp_path / "states"), TEXT)(["an apple 3"])[1].any()
    for number in (3, 4):
        (data / f"{number}.tar").write_bytes(b"junk")
    with pytest.raises(DataError, match="2 of 10 shards are broken"):
        encode_dataset(data, tmp_path / "states", encoder)
    write_tar(data / "3.tar", [("../evil.png", b"")])
    with pytest.raises(DataError, match="unsafe member name"):
        encode_dataset(data, tmp_path / "states", encoder)


@pytest.mark.slow
def test_command(cli):
    code, out, err = cli("data", "encode", "noto-emoji-64", "states", "-q")
    assert code == 0 and err == "" and out.count("\n") == 1
    assert out.startswith("states: 1,910 captions of 2 shards by embedded; for recipes: text_encoder: states")
    assert "2 shards (2 reused)" in cli("data", "encode", "noto-emoji-64", "states", "-q")[1]
    # The folder replaces the encoder.
    for name in ("states", "embedded"):
        Path(f"{name}.yaml").write_text(
            f"name: {name}\nsummary: words\nextends: micro-test\nentry: mdm-micro.text\ntext_encoder: {name}\n"
            "every: {checkpoint: 0, evaluate: 0}\nphases: {p8: {steps: 3}, p16: {steps: 3}}\n"
        )
        assert cli("train", f"{name}.yaml", "--out", f"runs/{name}", "-q", "--no-track")[0] == 0
        assert (
            cli("sample", f"runs/{name}", "--prompt", "Red Apple", "--steps", 2, "--count", 1, "-o", f"{name}.png")[0]
            == 0
        )
    assert losses("states") == losses("embedded") and len(losses("states")) > 6
    assert Path("states.png").read_bytes() == Path("embedded.png").read_bytes()
    code, _, err = cli("sample", "runs/states", "--prompt", "a grue", "--steps", 2)
    assert code == 2 and "no states for the caption 'a grue'" in err


def losses(name):
    rows = [json.loads(line) for line in Path(f"runs/{name}/log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "loss" in key} for row in rows]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noto-emoji64", "out"], "did you mean 'noto-emoji-64'?"),
        (["noto-emoji-64", "out", "--entry", "mdm-nano"], "mdm-nano reads no text; use --entry with one that does"),
        (["noto-emoji-64", "out", "--entry", "mdm-nano.txt"], "did you mean 'mdm-nano.text'"),
        (["noto-emoji-64", "out", "--entry", "mdm-s64"], "width 256, but the entry reads text of width 2048"),
        (["noto-emoji-64", "out", "--text-encoder", "./nowhere"], "no such folder with a text encoder"),
        (["noto-emoji-64", "out", "--precision", "bfloat16"], "--precision is for a T5"),
        (["noto-emoji-64", "file"], "file: File exists"),
        (["noto-emoji-64", "file/x"], "file/x: Not a directory"),
        (["noto-emoji-64", "kept", "--text-encoder", "kept"], "kept: holds states of x and cannot encode captions"),
        (["noto-emoji-64", "kept"], "kept: holds the states of x by 'embedded'; its data is x, not noto-emoji-64"),
        (["silent.tar", "out"], "silent: none of its 1 samples has a caption to encode"),
        (["noto-emoji-64"], "Missing argument 'OUT'"),
    ],
)
def test_mistakes(cli, arguments, message):
    Path("file").touch()
    write_tar(Path("x.tar"), samples(2))
    write_tar(Path("silent.tar"), [next(samples(1))])
    if "kept" in arguments:
        assert cli("data", "encode", "x.tar", "kept", "-q")[0] == 0
    code, out, err = cli("data", "encode", *arguments)
    assert code == 2 and message in err and "Traceback" not in err and out == ""
