"""A trained run as measures see it: its weights, recipe and data, each read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.evaluation.phases import Progress, silent
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import torch

    from builders.data.images import Images
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder
    from registry.evaluation.clip_sets import ClipSet
    from registry.evaluation.image_sets import ImageSet
    from registry.evaluation.results import Measurement
    from specs.schemas.recipe import Recipe

__all__ = ["MeasuredRun"]


@dataclass
class MeasuredRun:
    """A finished run.

    Attributes:
        folder: Folder of the run.
        evaluation: How samples are drawn and compared.
        data: Data of the study: name or path.
        device: Device of the networks.
        picture: File for a picture of the samples, or None.
        progress: Called with the name of a part of a measure, the amount done and the total amount.
    """

    folder: Path
    evaluation: EvaluationSpec
    data: str
    device: torch.device | str = "cpu"
    picture: Path | None = None
    progress: Progress = silent
    _splits: dict[tuple[str, int, int], Images] = field(default_factory=dict)
    _samples: dict[int, tuple[Measurement, ImageSet | ClipSet]] = field(default_factory=dict)

    @cached_property
    def _loaded(self) -> tuple[NestedUNet, dict[str, str]]:
        from registry.weights import load_weights

        return load_weights(str(self.folder), self.device)

    @property
    def model(self) -> NestedUNet:
        """Network with the averaged weights."""
        return self._loaded[0]

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the weights."""
        return self._loaded[1]

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the run."""
        from specs.recipe_identity import saved_recipe

        return saved_recipe(self.metadata["recipe"])

    @cached_property
    def encoder(self) -> TextEncoder | None:
        """Text encoder, of an entry that reads text."""
        from registry.weights import text_encoder

        return text_encoder(self.model, self.metadata)

    def split(self, name: str, resolution: int, frames: int = 1) -> Images:
        """Return a split of the data, in the order of the recipe's seed."""
        from builders.data.open import open_dataset

        key = (name, resolution, frames)
        if key not in self._splits:
            dataset = open_dataset(self.data)
            self._splits[key] = dataset.load(resolution, name, seed=self.recipe.seed, frames=frames)
        return self._splits[key]

    def samples(self, count: int | None) -> tuple[Measurement, ImageSet | ClipSet]:
        """Draw samples of the outermost level, and measure their distance from the data; once for each number.

        Args:
            count: Number of samples. Default: that of samples that were drawn, or of the evaluation.
        """
        from registry.evaluation.evaluate import evaluate_model
        from registry.evaluation.features import open_features
        from registry.evaluation.image_sets import open_reference

        count = count or next(iter(self._samples), self.evaluation.samples)
        if count not in self._samples:
            spec = self.evaluation.model_copy(update={"samples": count})
            reference = open_reference(self.data, self.model.graph.levels[0].size, spec.split)
            extractor = open_features(spec.features, resize=spec.resize, device=self.device)
            options: dict[str, Any] = {"encoder": self.encoder, "progress": self.progress}
            self._samples[count] = evaluate_model(self.model, self.metadata, reference, extractor, spec, **options)
        return self._samples[count]
