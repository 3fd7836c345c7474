"""T5 encoders (Raffel et al., arXiv:1910.10683) of transformers, from a local folder or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from builders.text.encoder import EMBEDDED, INSTALL, TextEncoderError, check_width, is_empty
from builders.transfers import to_device
from specs.graph import TextInput
from specs.user_paths import expanded as expand_home

__all__ = ["T5Text"]

#: Captions are padded to a multiple of this, so that their states do not depend on the rest of the batch.
BUCKET = 16
#: Number of captions encoded at once.
ROWS = 64
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class T5Text:
    """A frozen T5 as a :class:`builders.text.encoder.TextEncoder`.

    States are the output of the last layer after its norm, times the mask, as the published networks were trained on.

    Args:
        name: Name or path that it was opened by.
        model: Encoder, a ``T5EncoderModel``.
        tokenizer: Tokenizer of the encoder.
        tokens: Number of tokens that captions are cut or padded to, including the end token.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, tokens: int) -> None:
        self.name, self.model, self.tokenizer, self.tokens = name, model, tokenizer, tokens
        self.width: int = model.config.d_model
        self.precision: torch.dtype = next(model.parameters()).dtype
        self.fingerprint = _fingerprint(model, tokenizer)

    @classmethod
    def open(
        cls,
        name: str,
        text: TextInput,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        fetch: bool = True,
    ) -> T5Text:
        """Load the encoder and the tokenizer, from disk if they are there.

        Args:
            name: Path of a folder, or name on the Hugging Face hub.
            text: Text input of the entry.
            device: Device of the encoder.
            precision: "float32", "bfloat16", or "auto" (bfloat16 on a GPU that supports it).
            fetch: Whether the files may be downloaded.

        Raises:
            TextEncoderError: transformers is missing; the model is missing, not a T5 or incomplete; or its width does
                not match the entry's text.
        """
        dtype = _dtype(precision, torch.device(device))
        try:
            import transformers
        except ImportError:
            raise TextEncoderError(
                f"the text encoder {name!r} needs transformers: {INSTALL}; or use {EMBEDDED!r}"
            ) from None
        with _quiet():
            config = _load(name, transformers.AutoConfig, fetch)
            if config.model_type != "t5":
                raise TextEncoderError(f"the text encoder {name!r} is a {config.model_type}, not a T5")
            check_width(name, config.d_model, text)
            tokenizer = _load(name, transformers.AutoTokenizer, fetch)
            model, report = _load(name, transformers.T5EncoderModel, fetch, output_loading_info=True)
        missing = sorted(report["missing_keys"])
        if missing:
            raise TextEncoderError(
                f"the text encoder {name!r} lacks {len(missing)} of its tensors, such as {missing[0]}"
            )
        return cls(name, model.to(device, dtype).eval().requires_grad_(False), tokenizer, text.tokens)

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states (batch, tokens, width) float32 and the mask (batch, tokens) bool."""
        device = self.model.device
        states = torch.zeros(len(captions), self.tokens, self.width, device=device)
        mask = torch.zeros(len(captions), self.tokens, dtype=torch.bool, device=device)
        rows_with_text = [row for row, caption in enumerate(captions) if not is_empty(caption)]
        if not rows_with_text:
            return states, mask
        texts = [captions[row] for row in rows_with_text]
        found = self.tokenizer(texts, truncation=True, max_length=self.tokens)["input_ids"]
        #: Rows and token ids by padded length.
        buckets: dict[int, list[tuple[int, list[int]]]] = {}
        for row, ids in zip(rows_with_text, found, strict=True):
            length = min(-(-len(ids) // BUCKET) * BUCKET, self.tokens)
            buckets.setdefault(length, []).append((row, ids))
        for length, members in buckets.items():
            for start in range(0, len(members), ROWS):
                part = members[start : start + ROWS]
                rows = to_device(torch.tensor([row for row, _ in part]), device)
                padded = [ids + [self.tokenizer.pad_token_id] * (length - len(ids)) for _, ids in part]
                is_token = [[place < len(ids) for place in range(length)] for _, ids in part]
                tokens = to_device(torch.tensor(is_token), device)
                words = to_device(torch.tensor(padded), device)
                output = self.model(input_ids=words, attention_mask=tokens.long())
                states[rows, :length] = output.last_hidden_state.float() * tokens[:, :, None]
                mask[rows, :length] = tokens
        return states, mask


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    if precision not in PRECISIONS:
        raise TextEncoderError(f"no precision {precision!r} of a text encoder; there are auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def _load(name: str, kind: Any, fetch: bool, **options: Any) -> Any:
    """Call ``kind.from_pretrained``, from disk if the files are there, else from the hub; run none of their code."""
    options["trust_remote_code"] = False
    local = expand_home(name)
    if local.is_dir():
        try:
            return kind.from_pretrained(str(local), local_files_only=True, **options)
        except Exception as error:  # whatever transformers raises
            raise TextEncoderError(f"{name}: no T5 encoder with its tokenizer ({_reason(error)})") from None
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise TextEncoderError(f"{name}: no such folder with a text encoder")
    with suppress(Exception):
        return kind.from_pretrained(name, local_files_only=True, **options)
    if not fetch:
        raise TextEncoderError(
            f"the text encoder {name!r} is neither a folder nor in the download cache; to download it, name it: "
            "--text-encoder"
        )
    try:
        return kind.from_pretrained(name, **options)
    except Exception as error:  # whatever the hub, the network or the disk raises
        raise TextEncoderError(
            f"the text encoder {name!r} is neither a folder nor in the download cache, and could not be fetched "
            f"({_reason(error)}); use a folder that holds it, or {EMBEDDED!r}, which needs no network"
        ) from None


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _fingerprint(model: Any, tokenizer: Any) -> str:
    """Return a hash of the weights in the precision in use, and of the tokenizer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
        digest.update(backend.to_str().encode())
    else:
        digest.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers, whose errors are raised as one message, but keep the progress bars of downloads."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from huggingface_hub.utils import logging as hub_reports
    from transformers.utils import logging as reports

    verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    of_hub = sys.stderr.isatty() and not are_progress_bars_disabled()
    hub_verbosity = hub_reports.get_verbosity()
    reports.set_verbosity(logging.CRITICAL)
    hub_reports.set_verbosity(logging.CRITICAL)  # each attempt to connect is a warning
    reports.disable_progress_bar()  # those of the hub too
    if of_hub:
        enable_progress_bars()
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)
        hub_reports.set_verbosity(hub_verbosity)
        if bars:
            reports.enable_progress_bar()
