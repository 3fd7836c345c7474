"""NestedUNet: the levels of an entry as one network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from builders.networks.checkpointing import checkpoint_blocks
from builders.networks.conditioning import ClassEmbedding, Context, TextConditioner
from builders.networks.inputs import Values, as_input, check_classes
from builders.networks.layers import pad_rows
from builders.networks.level import build_level, input_names, split_level
from builders.networks.level_inputs import check_levels, level_inputs
from builders.networks.uninitialized import uninitialized
from specs.graph import EntryGraph
from specs.html_table import html_table

__all__ = ["NestedUNet", "build_model"]


class NestedUNet(nn.Module):
    """Network that denoises all resolutions and numbers of frames of an entry jointly (arXiv 2310.15111, section 3.2).

    ``levels`` holds one ``torch.fx.GraphModule`` per level, outermost first; ``model.levels["r64"].code`` is its
    readable source. Parameters are named ``levels.LABEL.NODE.*`` and ``inputs.*``, so that those of a level have the
    same names alone and nested.

    Args:
        graph: Checked graph of the entry.
    """

    #: Labels of the levels whose blocks are checkpointed.
    _checkpointed: frozenset[str] = frozenset()

    def __init__(self, graph: EntryGraph) -> None:
        super().__init__()
        self.graph = graph
        self.inputs = nn.ModuleDict()
        if graph.text is not None:
            self.inputs["text"] = TextConditioner(graph.text, graph.time_width)
        if graph.classes is not None:
            self.inputs["classes"] = ClassEmbedding(graph.classes, graph.time_width)
        masked = graph.text is not None and graph.text.mask_attention
        self.levels = nn.ModuleDict()
        for index, level in enumerate(graph.levels):
            around = graph.levels[0] if index > 0 else None
            inner = graph.levels[index + 1] if index + 1 < len(graph.levels) else None
            self.levels[level.label] = build_level(level, graph.scene, around=around, inner=inner, masked=masked)
        #: Names of the micro inputs of all levels.
        self._micro = tuple(dict.fromkeys(micro.name for level in graph.levels for micro in level.micro))
        self._level_inputs = level_inputs(graph)
        self.refresh()

    def refresh(self) -> None:
        """Use the modules that are in ``levels`` now.

        A forward pass runs an encoder and a denoiser per level, which hold the modules that the level had when they
        were split. Call this after replacing modules (adapters, quantized layers), not after changing parameters.
        """
        halves = [split_level(level) for level in self.levels.values()]  # type: ignore[arg-type]
        # Tuples are not registered: the halves share the modules of the levels, and would name parameters twice.
        self._encoders = tuple(encoder for encoder, _ in halves)
        self._denoisers = tuple(denoiser for _, denoiser in halves)
        for level, denoiser in zip(self.graph.levels, self._denoisers, strict=True):
            if level.label in self._checkpointed:
                checkpoint_blocks(denoiser, level)

    def checkpoint(self, labels: Collection[str]) -> None:
        """Save memory in training: keep only the inputs of blocks, and compute the rest again in the backward pass.

        Gradients are the same, with dropout too. Inference, parameters and their names do not change.

        Args:
            labels: Labels of the levels whose blocks and heads are checkpointed. The others are not.

        Raises:
            ValueError: There is no such level.
        """
        for label in labels:
            if label not in self.labels:
                raise ValueError(f"{self.graph.name} has no level {label!r}; its levels: {', '.join(self.labels)}")
        self._checkpointed = frozenset(labels)
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_encoders", "_denoisers")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.refresh()

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"<NestedUNet {self.graph.name}: {count:,} parameters, levels {', '.join(self.labels)}, {self.device}>"

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{sum(parameter.numel() for parameter in part.parameters()):,}")
            for name, part in (*self.inputs.items(), *self.levels.items())
        ]
        return html_table(repr(self).strip("<>"), ("part", "parameters"), rows, self.graph.summary)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return self.graph.labels

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def denoisers(self) -> Mapping[str, fx.GraphModule]:
        """The part of each level's graph that runs at every step, by label. It shares the level's modules."""
        return dict(zip(self.labels, self._denoisers, strict=True))

    @property
    def encoders(self) -> Mapping[str, fx.GraphModule]:
        """The part of each level's graph that runs once per prompt, by label. It shares the level's modules."""
        return dict(zip(self.labels, self._encoders, strict=True))

    def encode(
        self,
        text: Values | None = None,
        text_mask: Values | None = None,
        classes: Values | None = None,
        scale: Values | None = None,
        batch_size: int | None = None,
        **micro: Values,
    ) -> Context:
        """Compute, once per prompt, everything that depends neither on the noisy input nor on the time.

        Lists of numbers are taken in place of tensors.

        Args:
            text: Token states (batch, tokens, width) of the text encoder. None for no text.
            text_mask: Token mask (batch, tokens), 1 or True for a token, 0 or False for padding. None for no padding.
            classes: Class indices (batch,) in 0..N, N for no class. None for no class.
            scale: Original sizes of the images in pixels (batch,). None for the default of each level.
            batch_size: Number of rows, if no other argument is given. Default: 1, which serves any batch.
            **micro: Other micro inputs (batch,) by name.

        Returns:
            Context for :meth:`forward`.

        Raises:
            ValueError: The entry has no such input, or the shapes do not fit.
        """
        named = {"text": text, "text_mask": text_mask, "classes": classes, "scale": scale, **micro}
        return self._encode(named, batch_size)

    def _encode(self, named: Mapping[str, Values | None], batch_size: int | None) -> Context:
        """Compute the context. :meth:`encode` and :meth:`forward` gather the weights of a sharded network for it."""
        given = {name: as_input(name, value, self.device) for name, value in named.items() if value is not None}
        self._check_inputs(given)
        if batch_size is not None and batch_size < 0:
            raise ValueError(f"batch_size must be at least 0, not {batch_size}")
        rows = {name: value.shape[0] for name, value in given.items()}
        count = next(iter(rows.values()), 1 if batch_size is None else batch_size)
        if any(each != count for each in rows.values()):
            raise ValueError(f"inputs of different batch sizes: {', '.join(f'{k} {v}' for k, v in rows.items())}")
        if "classes" in given and self.graph.classes is not None:
            check_classes(given["classes"], self.graph.classes)
        values = self._shared_inputs(given, count)
        return Context(
            {
                label: encoder(*(values[name] for name in input_names(encoder)))
                for label, encoder in self.encoders.items()
            }
        )

    def _check_inputs(self, given: Mapping[str, Tensor]) -> None:
        graph = self.graph
        allowed = list(self._micro)
        if graph.classes is not None:
            allowed.insert(0, "classes")
        if graph.text is not None:
            allowed[:0] = ["text", "text_mask"]
        for name in given:
            if name not in allowed:
                has = ", ".join(allowed) or "none"
                raise ValueError(f"{graph.name} has no input {name!r}; its inputs: {has}")
        for name in given.keys() - {"text", "text_mask"}:
            if given[name].dim() != 1:
                raise ValueError(f"{name} has shape {tuple(given[name].shape)}; it has one number per row, (batch,)")
        text, mask = given.get("text"), given.get("text_mask")
        if mask is not None and text is None:
            raise ValueError("text_mask was given without text")
        if text is not None and graph.text is not None and (text.dim() != 3 or text.shape[2] != graph.text.width):
            wanted = f"(batch, tokens, {graph.text.width})"
            raise ValueError(f"text has shape {tuple(text.shape)}; {graph.name} reads {wanted}")
        if mask is not None and text is not None and mask.shape != text.shape[:2]:
            raise ValueError(f"text_mask has shape {tuple(mask.shape)}, not {tuple(text.shape[:2])}")

    def _shared_inputs(self, given: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """Return the inputs of the encoders by name: condition, tokens, text_mask and the micro inputs."""
        weight = next(self.parameters())
        # Not weight.new_zeros, which would be distributed if the weight is.
        zeros = partial(torch.zeros, dtype=weight.dtype, device=weight.device)
        values = {}
        condition = zeros(rows, self.graph.time_width)
        if self.graph.text is not None:
            text = given.get("text")
            if text is None or text.shape[1] == 0:
                # Without text there is one padding token, so that all shapes are valid.
                text = zeros(rows, 1, self.graph.text.width)
                mask = zeros(rows, 1)
            else:
                mask = given.get("text_mask", text.new_ones(text.shape[:2]))
            values["text_mask"] = mask.to(weight.dtype)
            values["tokens"], pooled = self.inputs["text"](text.to(weight.dtype), values["text_mask"])
            condition = condition + pooled
        if self.graph.classes is not None:
            none = torch.full((rows,), self.graph.classes, device=weight.device)
            condition = condition + self.inputs["classes"](given.get("classes", none))
        values["condition"] = condition
        for name in self._micro:
            default = torch.full((rows,), float("nan"), device=weight.device)
            values[name] = given.get(name, default).float()
        return values

    def forward(
        self, z: Sequence[Tensor], t: Values | float, context: Context | None = None, **inputs: Values | None
    ) -> list[Tensor]:
        """Predict v at every level.

        Args:
            z: Noisy images (rows, channels, height, width) or clips (rows, channels, frames, height, width) of each
                level, outermost first. An outer level may have fewer rows than the one inside it; they are the first
                ones. Rows that only levels of images have are images. Clips around a level of images have exactly the
                level's number of frames, others any multiple of its reduction in time.
            t: Time index in 0..999: a number, or one per row of the innermost level (rows,), as a tensor or a list.
            context: Result of :meth:`encode`, with one row or as many as the innermost level.
            **inputs: Arguments of :meth:`encode`, instead of a context.

        Returns:
            Predictions in the shapes of ``z``.

        Raises:
            ValueError: The inputs do not fit the levels or each other.
        """
        z = self._check_z(z)
        rows = z[-1].shape[0]
        if context is None:
            context = self._encode(inputs, rows)
        elif not isinstance(context, Context) or list(context.levels) != list(self.labels):
            levels = list(context.levels) if isinstance(context, Context) else type(context).__name__
            raise ValueError(f"the context has levels {levels}, not those of {self.graph.name}: use its own encode")
        times = as_input("t", t, z[-1].device)
        if times.dim() > 1 or (times.dim() == 1 and times.shape[0] not in (1, rows)):
            raise ValueError(
                f"t has shape {tuple(times.shape)}; it is a number, or one per row of the innermost level ({rows})"
            )
        predictions, _ = self._denoise(0, z, times.expand(rows), None, context.expand(rows))
        return list(predictions)

    def _denoise(
        self, index: int, z: Sequence[Tensor], t: Tensor, features: Tensor | None, context: Context
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Run a level and those inside it; return their predictions and the level's feature map."""

        def inner(given: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            return self._denoise(index + 1, z, t, pad_rows(given, z[index + 1].shape[0]), context)

        args: list[Any] = [z[index], t]
        if index > 0:
            args.append(features)
        if index + 1 < len(z):
            args.append(inner)
        return self._denoisers[index](*args, *context.levels[self.labels[index]])

    def _check_z(self, z: Sequence[Tensor]) -> list[Tensor]:
        """Return the noisy images as tensors, after checking that they fit the levels."""
        labels = self.labels
        if len(z) != len(labels):
            raise ValueError(f"{self.graph.name} has {len(labels)} levels ({', '.join(labels)}), got {len(z)}")
        z = [as_input(f"the input of level {label}", x, self.device) for label, x in zip(labels, z, strict=True)]
        check_levels(self._level_inputs, z, next(self.parameters()).dtype)
        return z


def build_model(graph: EntryGraph, device: torch.device | str = "cpu", initialize: bool = True) -> NestedUNet:
    """Build the network of an entry.

    Args:
        graph: Checked graph of the entry.
        device: Device of the parameters; "meta" allocates nothing.
        initialize: Whether to initialize the weights. Turn it off if they are loaded next.

    Raises:
        ValueError: There is no such device.
    """
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"no device {device!r}: {str(error).partition(chr(10))[0]}") from None
    drawn = initialize and device.type != "meta"
    with torch.device(device) if drawn else uninitialized(device):
        return NestedUNet(graph)
