"""The data that a phase reads, and the places of a batch in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builders.data.classes import relabelled
from builders.data.dataset import with_reduced
from builders.training.reading.rows import RowKinds
from specs.blocks.size import Size

if TYPE_CHECKING:
    from builders.data.dataset import Dataset
    from builders.data.images import Images
    from builders.data.mixture import Mixture
    from specs.schemas.recipe import Recipe

__all__ = ["Need", "Needs", "Sources", "Streams", "needs_of"]


@dataclass(frozen=True)
class Need:
    """One kind of data that a phase reads.

    Attributes:
        key: Key of the recipe that names it: "data" or "images".
        size: Side of the images, or side and frames of the clips.
    """

    key: str
    size: Size


@dataclass(frozen=True)
class Needs:
    """The data that a phase reads. Data is read again if it differs between two phases.

    Attributes:
        first: Data of the first rows: clips, or images in a phase that trains image levels only.
        rest: Images of the rows behind the clips, or None if there are none.
    """

    first: Need
    rest: Need | None = None


def needs_of(kinds: RowKinds, *, apart: bool) -> Needs:
    """Return what a phase reads.

    Args:
        kinds: Clips and images of its batches.
        apart: Whether the recipe has ``images``. Without, images are first frames of clips of ``data``.
    """
    images = None if kinds.image_side is None else Need("images" if apart else "data", Size(kinds.image_side))
    if kinds.clip_size is not None:
        return Needs(Need("data", kinds.clip_size), images)
    assert images is not None
    return Needs(images)


@dataclass(frozen=True)
class Streams:
    """The data of a phase as endless streams.

    Attributes:
        first: Stream of the first rows: clips, or images in a phase that trains image levels only.
        rest: Stream of the images behind the clips, if there are any.
    """

    first: Images
    rest: Images | None = None

    def by_key(self, needs: Needs) -> dict[str, Images]:
        """Return the data by the key of the recipe that names it; of ``data`` the clips if there are any."""
        rest = {} if needs.rest is None or self.rest is None else {needs.rest.key: self.rest}
        return rest | {needs.first.key: self.first}


@dataclass(frozen=True)
class Sources:
    """The datasets of a recipe.

    Attributes:
        data: Dataset under ``data``.
        images: Dataset under ``images``, or None. Its classes are looked up by name among those of ``data``.
        seed: Seed of the streams.
        crop: Square crop of each image: "center" or "random".
        reduced: Whether large JPEG images of the training split are decoded at a smaller size, see
            :class:`builders.data.dataset.Dataset`.
    """

    data: Dataset | Mixture
    images: Dataset | Mixture | None = None
    seed: int = 0
    crop: str = "center"
    reduced: bool = False

    def train(self, needs: Needs) -> Streams:
        """Read the training split.

        Raises:
            DataError: It cannot be read, or has no clips of these sizes.
        """
        options = {"seed": self.seed, "crop": self.crop}
        rest = None if needs.rest is None else self._load(needs.rest, "train", **options)
        return Streams(self._load(needs.first, "train", **options), rest)

    def val(self, needs: Needs) -> Images:
        """Read the validation split of the data of the first rows.

        Raises:
            EmptySplitError: It has no validation split.
            DataError: It cannot be read, or has no clips of these sizes.
        """
        return self._load(needs.first, "val")

    def facts(self, recipe: Recipe) -> dict[str, str]:
        """Return name and licence of the data, and the name of the images if the recipe has them apart."""
        cards = [each.card for each in (self.data, self.images) if each is not None]
        licence = ", ".join(dict.fromkeys(card.licence for card in cards))
        facts = {"name": recipe.data_name, "licence": recipe.licence or licence}
        return facts if recipe.images is None else facts | {"images": recipe.images_name}

    def _load(self, need: Need, split: str, **options: Any) -> Images:
        found: Any = self.data
        if need.key == "images":
            assert self.images is not None
            found = relabelled(self.images, self.data.classes)
        if self.reduced and split == "train":
            found = with_reduced(found)
        frames = {} if need.size.frames == 1 else {"frames": need.size.frames}
        loaded: Images = found.load(need.size.side, split, **options, **frames)
        return loaded
