"""Samples that are asked for from Python: their checks, and their images and clips by level."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.api.words import python_names
from zoo.early.data import check_data

if TYPE_CHECKING:
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder
    from specs.schemas.sampling import SamplerSettings

__all__ = ["Asked", "draw_images"]


@dataclass(frozen=True)
class Asked:
    """What to sample, checked as far as no model is needed.

    Attributes:
        classes: Names or indices of classes; empty for all.
        prompts: Prompts.
        n: Number of images per class or prompt.
        seed: Seed of the first image.
        text_encoder: Text encoder by name or folder; None for that of the model.
        data: Data with the names of the classes; None for that of the model.
        settings: Sampler settings.
    """

    classes: Sequence[Any]
    prompts: Sequence[str]
    n: int
    seed: int
    text_encoder: str | None
    data: str | None
    settings: SamplerSettings

    @staticmethod
    def check(
        classes: Any,
        prompts: Any,
        n: Any,
        seed: Any,
        text_encoder: str | None,
        data: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
    ) -> Asked:
        """Check arguments of :func:`zoo.sample`.

        Raises:
            ValueError, TypeError: As for :func:`zoo.sample`.
        """
        from specs.schemas.sampling import SamplerSettings

        count, first = _whole("n", n), _whole("seed", seed)
        if count < 1:
            raise ValueError(f"n must be at least 1, not {count}")
        wanted, texts = _values("classes", classes, (str, int)), _values("prompts", prompts, (str,))
        if text_encoder is not None and not isinstance(text_encoder, str):
            raise TypeError(f"text_encoder is a name or a folder, not {type(text_encoder).__name__}")
        named = None if data is None else os.fspath(data)
        check_data(named)
        return Asked(wanted, texts, count, first, text_encoder, named, SamplerSettings(**settings))


def draw_images(
    asked: Asked,
    network: NestedUNet,
    metadata: Mapping[str, str],
    encoder: Callable[[], TextEncoder | None],
    *,
    progress: bool = False,
) -> dict[str, list[Any]]:
    """Draw images by level; a level of several frames has :class:`builders.sampling.frames.Frames`.

    Args:
        asked: What to sample.
        network: Network with weights.
        metadata: Metadata of the weights.
        encoder: Function that returns the model's own text encoder.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: The network does not take the classes or prompts, needs prompts, or has fewer steps.

    Warns:
        UntrainedGuidanceWarning: Guidance was asked for, and the network was not trained for it.
    """
    from builders.data.open import open_dataset
    from builders.pixels import to_frames, to_pil
    from builders.sampling.defaults import GUIDANCE, fit_settings
    from builders.sampling.frames import Frames
    from builders.sampling.generation import draw
    from builders.sampling.plan import Plan
    from registry import weights
    from zoo.terminal.progress import count_bar

    graph = network.graph
    with python_names():
        drop = weights.recipe_of(metadata).get("drop")
        settings = fit_settings(asked.settings, graph, drop, guidance=GUIDANCE)
        data = None
        if graph.classes is not None:
            data = weights.training_data(metadata) if asked.data is None else open_dataset(asked.data)
        plan = Plan.make(graph, weights.class_names(metadata, data), asked.classes, asked.prompts, asked.n, asked.seed)
        named = asked.text_encoder
        text_encoder = encoder() if named is None else weights.text_encoder(network, metadata, named)
    images: dict[str, list[Any]] = {label: [] for label in network.labels}
    request, steps = plan.request(range(len(plan))), settings.num_inference_steps
    with count_bar("sampling", len(plan) * steps, "steps", quiet=not progress) as advance:
        for _, levels in draw(network, request, settings, encoder=text_encoder, progress=advance):
            for label, batch in zip(network.labels, levels, strict=True):
                clips = batch.dim() == 5
                images[label] += [Frames.of(to_frames(each)) if clips else to_pil(each) for each in batch]
    return images


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not bool")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}") from None


def _values(name: str, given: Any, types: tuple[type, ...]) -> list[Any]:
    """Return a list of classes or prompts; a single one is a list of one.

    Raises:
        ValueError: The list is empty.
        TypeError: A value has another type.
    """
    if given is None:
        return []
    values = given.tolist() if hasattr(given, "tolist") else given
    values = [values] if isinstance(values, (str, int)) else values
    words = " or ".join({str: "text", int: "whole number"}[each] for each in types)
    try:
        values = list(values)
    except TypeError:
        raise TypeError(f"{name} is a list of {words}, not {type(given).__name__}") from None
    if not values:
        raise ValueError(f"{name} is empty; leave it out for the default")
    for each in values:
        if not isinstance(each, types) or isinstance(each, bool):
            raise TypeError(f"{name} is a list of {words}; {each!r} is {type(each).__name__}")
    return values
