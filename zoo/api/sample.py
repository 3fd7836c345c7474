"""``zoo.sample``: images and clips of a trained model by level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.api.drawing import Asked, draw_images
from zoo.api.model import Model, load, weights_path
from zoo.api.words import python_names
from zoo.early.weights import check_sampled

if TYPE_CHECKING:
    import torch

    from builders.networks.nested_unet import NestedUNet
    from registry.entry import Entry

__all__ = ["sample"]


def sample(
    model: str | os.PathLike[str] | Entry | Model | NestedUNet,
    classes: Sequence[str | int] | str | int | None = None,
    prompts: Sequence[str] | str | None = None,
    *,
    n: int = 2,
    seed: int = 0,
    text_encoder: str | None = None,
    data: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    **settings: Any,
) -> dict[str, list[Any]]:
    """Draw images, or clips, at every level. The same seeds give the same ones as ``zoo sample``.

    Args:
        model: Name of an entry with pretrained weights, the folder of a run, a ``.safetensors`` file, or what
            :func:`zoo.load`, :func:`zoo.build` or :func:`zoo.get` returned.
        classes: Names or indices of classes, for class-conditional models. Default: all classes.
        prompts: Prompts, for models that read text.
        n: Number of samples per class or prompt; in total for an unconditional model.
        seed: Seed of the first sample. Each further one takes the next.
        text_encoder: Text encoder by name or folder. Default: the one that the model was trained with.
        data: Dataset that has the names of the classes, if the weights do not. Default: the one of the training.
        device: Device. Default: that of the model, or a GPU if there is one, otherwise the CPU.
        progress: Whether to show a progress bar.
        **settings: Fields of :class:`specs.schemas.sampling.SamplerSettings`: ``sampler`` ("ddim" by default),
            ``num_inference_steps`` (50, or all steps of a shorter process), ``guidance_scale`` (2, or 1 for a model
            that was not trained for guidance), ``guidance_interval``, ``eta``, ``clip``, ``dynamic_threshold``,
            ``precision``, ``spacing``.

    Returns:
        Samples by the label of the level, outermost first: a list for each level, ordered by class or prompt. Those of
        an image level, such as ``"r64"``, are PIL images. Those of a level of several frames, such as ``"r64f16"``, are
        :class:`builders.sampling.frames.Frames`: lists of PIL images whose ``save("clip.mp4", frame_rate=8)`` writes an
        MP4, or with ``.webp`` an animated WebP without loss.

    Raises:
        LookupError: No entry has this name.
        ValueError: There are no weights, the model does not take classes or prompts or needs prompts, there is no such
            class, or a setting is out of range.
        TypeError: An argument has another type.
    """
    request = Asked.check(classes, prompts, n, seed, text_encoder, data, settings)
    with python_names():
        loaded = _open(model, request, device)
    return draw_images(request, loaded.network, loaded.metadata, lambda: loaded.text_encoder, progress=progress)


def _open(model: Any, request: Asked, device: Any) -> Model:
    """Return the model, after checking the request against the header of its file where it has one."""
    if isinstance(model, Model):
        found = model
    elif hasattr(model, "graph") and hasattr(model, "levels"):  # a network; its class would import torch
        from registry.entry import Entry
        from specs.expanded_yaml import expanded_yaml
        from specs.load import load_text

        found = Model(model, Entry(load_text(expanded_yaml(model.graph), "<network>", saved=True)))
    else:
        path = weights_path(model)
        check_sampled(str(path), request.classes, request.prompts, request.text_encoder, request.settings)
        return load(path, device)
    if device is not None:
        found.network.to(device)
    return found
