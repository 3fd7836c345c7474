"""T5 encoders, tested with a small T5 of random weights."""

from __future__ import annotations

import pytest
import torch

from builders.text.encode_dataset import encode_dataset
from builders.text.encoder import TextEncoderError
from builders.text.open import open_text_encoder
from specs.graph import TextInput

pytestmark = pytest.mark.slow  # importing transformers takes long
TEXT = TextInput(width=64, tokens=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A T5 of random weights with a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = ["<pad>", "</s>", "<unk>", *"a red green apple face of with and car very".split()]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    path = tmp_path_factory.mktemp("t5")
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(words), d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    T5EncoderModel(config).save_pretrained(path)
    return path


def test_states(folder):
    encoder = open_text_encoder(str(folder), TEXT)
    captions = ["a red apple", "", "very " * 30 + "red", "very " * 60, "a green car"]
    states, mask = encoder(captions)
    assert states.shape == (5, 40, 64) and states.dtype == torch.float32 and mask.dtype == torch.bool
    # Words and the end token.
    assert mask.sum(1).tolist() == [4, 0, 32, 40, 4]
    assert not states[~mask].any() and not states.requires_grad
    # The output of transformers for the caption alone, without padding.
    from transformers import AutoTokenizer, T5EncoderModel

    model, tokenizer = T5EncoderModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for row in (0, 2):
            alone = model(**tokenizer(captions[row], return_tensors="pt")).last_hidden_state[0]
            torch.testing.assert_close(states[row][mask[row]], alone, atol=1e-5, rtol=1e-5)
    # The states of a caption do not depend on the rest of the batch.
    torch.testing.assert_close(encoder(["a red apple"])[0][0], states[0], atol=1e-6, rtol=0)
    # Unlike in a table, the context matters.
    assert not torch.allclose(encoder(["red"])[0][0, 0], encoder(["red apple"])[0][0, 0], atol=1e-3)


def test_fingerprints(folder):
    first, again = (open_text_encoder(str(folder), TEXT) for _ in range(2))
    first(["a red apple"])
    assert first.fingerprint == again.fingerprint == open_text_encoder(str(folder), TextInput(64, 8)).fingerprint
    half = open_text_encoder(str(folder), TEXT, precision="bfloat16")
    assert half.fingerprint != first.fingerprint and half(["a red apple"])[0].dtype == torch.float32
    torch.testing.assert_close(half(["a red apple"])[0], first(["a red apple"])[0], atol=0.1, rtol=0.1)
    with pytest.raises(TextEncoderError, match="no precision 'int8'"):
        open_text_encoder(str(folder), TEXT, precision="int8")


def test_refusals(folder, tmp_path, monkeypatch):
    with pytest.raises(TextEncoderError, match=r"width 64, but .* width 2048"):
        open_text_encoder(str(folder), TextInput(2048, 128))
    # A missing tensor must not be initialized at random.
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if name.endswith("q.weight")))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TextEncoderError, match=r"lacks 1 of its tensors, such as .*q\.weight"):
        open_text_encoder(str(tmp_path), TEXT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TextEncoderError, match="could not be fetched") as caught:
        open_text_encoder("google/flan-t5-xl", TextInput(2048, 128))
    assert "\n" not in str(caught.value)


def test_cached_states_are_exact(folder, tmp_path):
    for precision in ("float32", "bfloat16"):
        encoder = open_text_encoder(str(folder), TEXT, precision=precision)
        encode_dataset("noto-emoji-64", tmp_path / precision, encoder)
        cached = open_text_encoder(str(tmp_path / precision), TEXT)
        captions = ["Red Apple", ""]
        torch.testing.assert_close(cached(captions)[0], encoder(captions)[0], atol=1e-6, rtol=1e-2)
        assert torch.equal(cached(captions)[1], encoder(captions)[1])


def test_command(folder, cli):
    from pathlib import Path

    Path("wide.yaml").write_text(
        "extends: mdm-nano.text\nname: wide\nnest: {nest: {inputs: {text: {width: 64, tokens: 40}}}}\n"
    )
    call = ("data", "encode", "noto-emoji-64", "states", "--entry", "wide.yaml", "--text-encoder", folder, "-q")
    code, out, err = cli(*call, "--precision", "int8")
    assert code == 2 and "--precision int8: no such precision" in err
    code, out, err = cli(*call, "--precision", "bfloat16")
    assert code == 0 and err == "" and f"2 shards by {folder}" in out
    assert open_text_encoder("states", TEXT).precision == torch.bfloat16
    code, _, err = cli(*call, "--precision", "float32")
    assert code == 2 and "its fingerprint is" in err and "choose another folder" in err
