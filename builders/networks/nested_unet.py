"""NestedUNet: the levels of an entry as one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from builders.networks.conditioning import ClassEmbedding, Context, TextConditioner
from builders.networks.layers import pad_rows
from builders.networks.level import build_level, input_names, split_level
from specs.graph import EntryGraph, shapes

__all__ = ["NestedUNet", "build_model"]


class NestedUNet(nn.Module):
    """Denoises every resolution of an entry jointly (arXiv 2310.15111, section 3.2).

    ``levels`` holds one ``torch.fx.GraphModule`` a level, outermost first; ``model.levels["r64"].code`` is its
    readable source. Parameters are named ``levels.LABEL.NODE.*`` and ``inputs.*``, so that a level's weights have the
    same names alone and nested.

    Args:
        graph: a checked entry.
    """

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
            inner = graph.levels[index + 1] if index + 1 < len(graph.levels) else None
            self.levels[level.label] = build_level(level, graph.scene, nested=index > 0, inner=inner, masked=masked)
        self._split()

    def refresh(self) -> None:
        """Take up modules that were put in the place of others within ``levels``.

        A forward runs the two halves of each level's graph, which hold the modules that stood there when they were
        made. Changing parameters needs nothing; swapping modules (adapters, quantised layers) needs this.
        """
        self._split()

    def _split(self) -> None:
        # Kept out of the registered modules: the halves share the levels' modules and would name them twice.
        halves = tuple(split_level(level) for level in self.levels.values())  # type: ignore[arg-type]
        self.__dict__["_encoders"] = tuple(encoder for encoder, _ in halves)
        self.__dict__["_denoisers"] = tuple(denoiser for _, denoiser in halves)
        # The side of an input must be a multiple of how many times smaller its coarsest stage is.
        self.__dict__["_steps"] = tuple(
            level.resolution // min(size for _, size in shapes(level).values()) for level in self.graph.levels
        )
        self.__dict__["_micro"] = tuple(dict.fromkeys(m.name for level in self.graph.levels for m in level.micro))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_encoders", "_denoisers")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._split()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return self.graph.labels

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    @property
    def denoisers(self) -> Mapping[str, fx.GraphModule]:
        """For each level, the part of its graph that runs at every step; shares the level's modules."""
        return dict(zip(self.labels, self.__dict__["_denoisers"], strict=True))

    @property
    def encoders(self) -> Mapping[str, fx.GraphModule]:
        """For each level, the part of its graph that runs once per prompt; shares the level's modules."""
        return dict(zip(self.labels, self.__dict__["_encoders"], strict=True))

    def encode(
        self,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        classes: Tensor | None = None,
        scale: Tensor | None = None,
        batch_size: int | None = None,
        **micro: Tensor,
    ) -> Context:
        """Compute all that depends neither on the noisy input nor on the time, once per prompt.

        Args:
            text: token embeddings (batch, tokens, width); None for no text.
            text_mask: (batch, tokens), 1 or True for a token, 0 or False for padding; None for all tokens.
            classes: class indices (batch,) in 0..N, N for none; None for none.
            scale: original size in pixels (batch,); None for the default of each level. Other micro inputs by name.
            batch_size: number of samples, where nothing else tells; a context of one row serves any batch.

        Raises:
            ValueError: an input the entry does not have, or shapes that do not fit.
        """
        named = {"text": text, "text_mask": text_mask, "classes": classes, "scale": scale, **micro}
        given = {name: value for name, value in named.items() if value is not None}
        self._check_inputs(given)
        rows = {name: value.shape[0] for name, value in given.items()}
        count = next(iter(rows.values()), 1 if batch_size is None else batch_size)
        if any(each != count for each in rows.values()):
            raise ValueError(f"inputs of different batch sizes: {', '.join(f'{k} {v}' for k, v in rows.items())}")
        values = self._shared_inputs(given, count)
        labels, encoders = self.labels, self.__dict__["_encoders"]
        return Context(
            {
                label: encoder(*(values[name] for name in input_names(encoder)))
                for label, encoder in zip(labels, encoders, strict=True)
            }
        )

    def _check_inputs(self, given: Mapping[str, Tensor]) -> None:
        graph = self.graph
        allowed = ["text", "text_mask"] * (graph.text is not None) + ["classes"] * (graph.classes is not None)
        allowed += self.__dict__["_micro"]
        for name in given:
            if name not in allowed:
                has = ", ".join(allowed) or "none"
                raise ValueError(f"{graph.name} takes no input '{name}'; its inputs: {has}")
        text = given.get("text")
        if "text_mask" in given and text is None:
            raise ValueError("text_mask was given without text")
        if text is not None and (text.dim() != 3 or text.shape[2] != graph.text.width):  # type: ignore[union-attr]
            width = graph.text.width  # type: ignore[union-attr]
            raise ValueError(f"text has shape {tuple(text.shape)}; {graph.name} reads (batch, tokens, {width})")
        if text is not None and "text_mask" in given and given["text_mask"].shape != text.shape[:2]:
            raise ValueError(f"text_mask has shape {tuple(given['text_mask'].shape)}, not {tuple(text.shape[:2])}")

    def _shared_inputs(self, given: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """The static inputs of the levels' graphs by name: condition, tokens, text_mask and the micro inputs."""
        weight = next(self.parameters())
        values = {}
        condition = weight.new_zeros(rows, self.graph.time_width)
        if self.graph.text is not None:
            text = given.get("text")
            if text is None or text.shape[1] == 0:
                # No text: one padding token, so that shapes stay and nothing divides by zero.
                text = weight.new_zeros(rows, 1, self.graph.text.width)
                mask = weight.new_zeros(rows, 1)
            else:
                mask = given.get("text_mask", text.new_ones(text.shape[:2]))
            values["text_mask"] = mask.to(weight.dtype)
            values["tokens"], pooled = self.inputs["text"](text.to(weight.dtype), values["text_mask"])
            condition = condition + pooled
        if self.graph.classes is not None:
            none = torch.full((rows,), self.graph.classes, device=weight.device)
            condition = condition + self.inputs["classes"](given.get("classes", none))
        values["condition"] = condition
        for name in self.__dict__["_micro"]:
            default = torch.full((rows,), float("nan"), device=weight.device)
            values[name] = given.get(name, default).float()
        return values

    def forward(
        self, z: Sequence[Tensor], t: Tensor | float, context: Context | None = None, **inputs: Tensor | None
    ) -> list[Tensor]:
        """Predict v at every level.

        Args:
            z: noisy inputs (batch, channels, height, width), highest resolution first. An outer level may have fewer
                rows than the one inside it: its rows are the first ones.
            t: time index 0..999, (batch,) of the innermost level or one number.
            context: what ``encode`` gave, with one row or as many as the innermost level.
            **inputs: instead of a context, the arguments of ``encode``.

        Returns:
            Predictions in the shapes of ``z``.

        Raises:
            ValueError: the inputs do not fit the levels or one another.
        """
        self._check_z(z)
        rows = z[-1].shape[0]
        if context is None:
            context = self.encode(**inputs, batch_size=rows)  # type: ignore[arg-type]
        times = torch.as_tensor(t, device=z[-1].device)
        if times.dim() > 1 or (times.dim() == 1 and times.shape[0] not in (1, rows)):
            raise ValueError(f"t has shape {tuple(times.shape)}; a number or one a row of the innermost level ({rows})")
        times = times.expand(rows)
        predictions, _ = self._denoise(0, z, times, None, context.expand(rows))
        return list(predictions)

    def _denoise(
        self, index: int, z: Sequence[Tensor], t: Tensor, features: Tensor | None, context: Context
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        def inner(given: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            return self._denoise(index + 1, z, t, pad_rows(given, z[index + 1].shape[0]), context)

        args: list[Any] = [z[index], t]
        args += [features] * (index > 0) + [inner] * (index + 1 < len(z))
        return self.__dict__["_denoisers"][index](*args, *context.levels[self.labels[index]])

    def _check_z(self, z: Sequence[Tensor]) -> None:
        levels = self.graph.levels
        if len(z) != len(levels):
            raise ValueError(f"{self.graph.name} has {len(levels)} levels ({', '.join(self.labels)}), got {len(z)}")
        for level, step, x in zip(levels, self.__dict__["_steps"], z, strict=True):
            if x.dim() != 4 or x.shape[1] != level.channels:
                wanted = f"(rows, {level.channels}, height, width)"
                raise ValueError(f"the input of level {level.label} has shape {tuple(x.shape)}, not {wanted}")
            if x.shape[2] % step or x.shape[3] % step:
                sides = f"{x.shape[2]}x{x.shape[3]}"
                raise ValueError(f"level {level.label} needs sides that are multiples of {step}, not {sides}")
        for outer, inner, x, y in zip(levels, levels[1:], z, z[1:], strict=False):
            ratio = outer.resolution // inner.resolution
            if x.shape[2] != ratio * y.shape[2] or x.shape[3] != ratio * y.shape[3]:
                raise ValueError(
                    f"level {outer.label} is {ratio} times the side of {inner.label}, "
                    f"but their inputs are {tuple(x.shape[2:])} and {tuple(y.shape[2:])}"
                )
            if x.shape[0] > y.shape[0]:
                raise ValueError(f"level {outer.label} has {x.shape[0]} rows, more than {inner.label} ({y.shape[0]})")


def build_model(graph: EntryGraph, device: torch.device | str = "cpu", initialize: bool = True) -> NestedUNet:
    """Build the network of a checked entry.

    Args:
        graph: the entry.
        device: where to put it; "meta" allocates nothing.
        initialize: False leaves the weights uninitialised, for when they are about to be loaded.
    """
    if initialize:
        with torch.device(device):
            return NestedUNet(graph)
    with torch.device("meta"):
        model = NestedUNet(graph)
    return model if torch.device(device).type == "meta" else model.to_empty(device=device)
