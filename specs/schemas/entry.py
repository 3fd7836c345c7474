"""Schema of entries, their references resolved."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_serializer
from pydantic_core import PydanticCustomError

from specs.blocks.size import Size
from specs.schemas.base import EntryName, Model, Open
from specs.schemas.residual import Residual
from specs.syntax.validation import validate, validate_into

__all__ = [
    "BlockUse",
    "DownSpec",
    "EntrySpec",
    "GraphSpec",
    "InputsSpec",
    "LevelSpec",
    "MicroSpec",
    "NodeSpec",
    "ProcessSpec",
    "SourceSpec",
    "StageSpec",
    "TagSpec",
    "TextSpec",
    "validate",
    "validate_into",
]

MAX_WIDTH = 65_536
MAX_PIXELS = 2**24
MAX_FRAMES = 4096
MAX_REPEAT = 1_000
#: Largest factors of a step between stages.
MAX_SPACE_STEP = 16
MAX_TIME_STEP = 64

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH, description="channels")]
Skip = Literal["cat", "add", "none"]
#: Blocks that an input of a node may be resampled by.
WAYS = ("down", "up", "time_down", "time_up")


def _use(value: Any) -> Any:
    return {"block": value} if isinstance(value, str) else value


def _down(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"block": "down", "factor": value}
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "wrong-type", "'down' must be a whole number, {space: N, time: M} or {block: NAME, ...}"
        )
    return value


def _source(value: Any) -> Any:
    if isinstance(value, str):
        return {"node": value}
    if isinstance(value, dict):
        ways = [way for way in WAYS if isinstance(value.get(way), str)]
        if len(ways) == 1:
            rest = {key: item for key, item in value.items() if key != ways[0]}
            return {"node": value[ways[0]], "way": ways[0], "args": rest}
    raise PydanticCustomError(
        "bad-value",
        "'from' must be the name of a node, or {down: NAME}, {up: NAME}, {time_down: NAME} or {time_up: NAME}",
    )


def _sources(value: Any) -> Any:
    return [_source(item) for item in value] if isinstance(value, list) else [_source(value)]


class BlockUse(Open):
    """A block: its name, or ``{block: NAME, ...}``. ``others`` are its arguments."""

    block: str = Field(description="name of a block")


class DownSpec(Open):
    """A step to the next stage: a block, its arguments in ``others``, or how many times fewer pixels and frames."""

    block: str | None = Field(default=None, description="name of a block")
    space: int | None = Field(
        default=None, ge=2, le=MAX_SPACE_STEP, description="how many times fewer pixels per side; default 1"
    )
    time: int | None = Field(default=None, ge=2, le=MAX_TIME_STEP, description="how many times fewer frames; default 1")


Use = Annotated[BlockUse, BeforeValidator(_use, json_schema_input_type=str | BlockUse)]
Down = Annotated[DownSpec, BeforeValidator(_down, json_schema_input_type=int | DownSpec)]


class StageSpec(Model):
    """One size of a U-shaped level."""

    width: Width
    depth: int = Field(default=1, ge=0, le=MAX_REPEAT, description="units on the way down; one more on the way up")
    blocks: Annotated[tuple[Use, ...], Field(strict=False, min_length=1, max_length=MAX_REPEAT)] | None = Field(
        default=None, description="blocks of a unit; default [resnet]"
    )
    attention: int | None = Field(default=None, ge=0, le=MAX_REPEAT, description="attention blocks, after a resnet")
    temporal: int | None = Field(
        default=None, ge=0, le=MAX_REPEAT, description="temporal_attention blocks, after a unit's others"
    )
    down: Down | None = Field(
        default=None,
        description="step to the next stage: a factor of the pixels, {space: N, time: M} or a block; default: what "
        "leads to the next stage if it is called rNfM, else 2",
    )
    skip: Skip | None = Field(default=None, description="how skips are merged on the way up; default the level's")


class SourceSpec(Model):
    """An input of a node: another node, optionally resampled."""

    node: str
    way: Literal["down", "up", "time_down", "time_up"] | None = None
    args: dict[str, Any] = {}  # noqa: RUF012  a pydantic field

    @model_serializer
    def _written(self) -> str | dict[str, Any]:
        """Return the form that a file has."""
        return self.node if self.way is None else {self.way: self.node, **self.args}


Sources = Annotated[
    tuple[SourceSpec, ...],
    Field(strict=False, min_length=1, max_length=64),
    BeforeValidator(_sources, json_schema_input_type=Any),
]


class StemNode(Model):
    """The first convolution of a level."""

    width: Width


class NestNode(Model):
    """The nested level."""

    sources: Sources = Field(alias="from")


class HeadNode(Model):
    """The node that the head reads."""

    sources: Sources = Field(alias="from")
    groups: int | None = Field(default=None, ge=1, le=4096, description="groups of the head's norm")


class NodeSpec(Open):
    """A node of an explicit graph; ``others`` are the arguments of its block."""

    block: str = Field(description="name of a block")
    sources: Sources = Field(
        alias="from", description="NAME, {down: NAME}, {up: NAME}, {time_down: NAME}, {time_up: NAME}, or a list"
    )
    width: Width | None = Field(default=None, description="output channels; default the input channels")
    merge: Literal["cat", "add", "mean"] | None = Field(default=None, description="how several inputs are merged")
    repeat: int = Field(default=1, ge=1, le=MAX_REPEAT, description="number of blocks in sequence")


class GraphSpec(Open):
    """The explicit form of a level. ``others`` are its nodes by name."""

    __pydantic_extra__: dict[str, NodeSpec]
    stem: StemNode
    nest: NestNode | None = None
    head: HeadNode


class TextSpec(Model):
    """Token states of a text encoder."""

    width: Width
    tokens: int = Field(ge=1, le=MAX_WIDTH, description="tokens per prompt")
    project: Width | None = Field(default=None, description="width of a projection of the tokens that all levels share")
    self_attention: int = Field(default=0, ge=0, le=64, description="self-attention layers over the tokens")
    mask_attention: bool = Field(default=False, description="whether cross-attention uses the mask")
    pool: bool = Field(default=True, description="whether the mean token is added to the time embedding")


class MicroSpec(Model):
    """A number per sample that is added to the time embedding."""

    default: float | None = Field(
        default=None, ge=0, le=1e9, description="default; of scale the level's resolution, of frame_rate 30, else 1"
    )


class InputsSpec(Open):
    """Inputs of a network besides the noisy image. ``others`` are the micro inputs."""

    __pydantic_extra__: dict[str, MicroSpec]
    text: TextSpec | None = None
    classes: int | None = Field(default=None, ge=1, le=1_000_000, description="number of classes")


class TimeSpec(Model):
    """The time embedding."""

    width: int = Field(ge=8, le=MAX_WIDTH, multiple_of=8, description="width; default 4 x the innermost first width")


class HeadSpec(Model):
    """The last norm and convolution of a level."""

    groups: int = Field(default=32, ge=1, le=4096, description="groups of the head's norm")


class NoiseSpec(Model):
    """The noise of the levels."""

    levels: Literal["independent", "shared"] = Field(
        default="independent",
        description="shared: the noise of a level is what it sees of the noise of the level around it, and some more",
    )
    offset: float = Field(
        default=0.0, ge=0, le=1, description="standard deviation of a random constant of each channel, beside the noise"
    )


class ProcessSpec(Model):
    """The diffusion process; only that of the outermost level is used."""

    schedule: Literal["cosine", "linear", "cosine_logsnr"] = "cosine"
    steps: int = Field(default=1000, ge=1, le=100_000)
    prediction: Literal["v", "eps", "x", "flow"] = Field(
        default="v", description="what the network predicts: v, the noise eps, the image x, or the flow eps - x"
    )
    shift: float = Field(
        default=1.0, ge=0, le=16, description="a level s times the innermost side, or base, uses SNR/s^shift"
    )
    base: int | None = Field(
        default=None, ge=1, le=MAX_PIXELS, description="side in pixels that levels are compared with; default innermost"
    )
    noise: NoiseSpec = NoiseSpec()
    residual: Residual = Field(
        default=None,
        description="standard deviation of the residual over the enlarged prediction of the level inside, which outer "
        "levels then predict, or deviations by label of these levels; default: they predict the whole image",
    )


class LevelSpec(Model):
    """One level with all levels inside it."""

    #: Keys of a file that are replaced by what they refer to.
    REFERENCES: ClassVar[tuple[str, ...]] = ("extends",)

    name: EntryName | None = Field(default=None, description="entry that the level comes from")
    resolution: int = Field(ge=1, le=MAX_PIXELS, description="side length in pixels")
    frames: int = Field(default=1, ge=1, le=MAX_FRAMES, description="frames of a clip; 1 for images")
    nest: LevelSpec | None = Field(default=None, description="inner level: a name, changes to an entry, or a level")
    inputs: InputsSpec = Field(
        default_factory=lambda: InputsSpec.model_validate({}),
        description="text and classes, innermost only; micro inputs",
    )
    time: TimeSpec | None = Field(default=None, description="the time embedding; innermost only")
    defaults: dict[str, dict[str, Any]] = Field(default={}, description="arguments per block")
    stages: dict[str, StageSpec] | None = Field(default=None, description="the U-shaped short form, finest first")
    skip: Skip = Field(default="cat", description="how skips are merged on the way up")
    middle: Annotated[tuple[Use, ...], Field(strict=False, max_length=MAX_REPEAT)] | None = Field(
        default=None,
        description="blocks at the coarsest stage, innermost only; default [resnet, attention, resnet], and "
        "temporal_attention after attention if that stage has several frames",
    )
    graph: GraphSpec | None = Field(default=None, description="the explicit form, instead of stages")
    head: HeadSpec = HeadSpec()
    normalize_input: Literal["auto", True, False] = Field(
        default="auto",
        description="divide the noisy input by its deviation; auto: if the level nests another one and is inside one "
        "of more pixels",
    )
    channels: int = Field(default=3, ge=1, le=64, description="channels of the image")

    @property
    def size(self) -> Size:
        """Side and frames of the level."""
        return Size(self.resolution, self.frames)

    @property
    def levels(self) -> tuple[LevelSpec, ...]:
        """The level and all levels inside it, outermost first."""
        return (self, *(self.nest.levels if self.nest is not None else ()))


class EntrySpec(LevelSpec):
    """An entry, its references resolved."""

    REFERENCES = ("extends", "variants")

    name: EntryName
    summary: str = Field(default="", max_length=1000, description="description in one line")
    process: ProcessSpec = ProcessSpec()

    @property
    def level(self) -> LevelSpec:
        """The outermost level, which is the entry itself."""
        return self


class TagSpec(Model):
    """A tag: the conditions that it sets, and the entries that are listed with it."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    inputs: InputsSpec | None = Field(default=None, description="replacement of the innermost text and classes")
    entries: Annotated[tuple[EntryName, ...], Field(strict=False)] = Field(
        default=(), description="entries that are listed with this tag; it works with any entry"
    )


class MultiplySpec(Model):
    """Factors for every stage or node of the variant's own level."""

    width: float = Field(default=1.0, gt=0, le=64)
    depth: float = Field(default=1.0, gt=0, le=64)
