"""Expand an entry into its explicit graph: the nodes of every level, and the inputs that levels share."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from specs.blocks.size import Size
from specs.errors import Problems, quote
from specs.graph import FRAME_RATE, EntryGraph, LevelGraph, MicroInput, Node, Process, TextInput
from specs.passes.check import check_input_names, check_level
from specs.passes.draft import LevelDraft, read_use
from specs.passes.explicit_graph import expand_graph
from specs.passes.nesting import check_nesting
from specs.passes.stages import expand_stages
from specs.schemas.entry import EntrySpec, LevelSpec, MicroSpec
from specs.schemas.noise import process_problem
from specs.syntax.merge import put
from specs.syntax.yaml_tree import Mapping, Scalar, locate

__all__ = ["expand"]

#: Most levels of an entry.
MAX_LEVELS = 16
#: Code and message of an error, and the path of the key that it points at.
Complaint = tuple[str, str, tuple[str, ...]]


def expand(spec: EntrySpec, tree: Mapping, problems: Problems, *, saved: bool = False) -> EntryGraph | None:
    """Expand an entry into its graph and check it.

    Args:
        spec: The entry, its references resolved.
        tree: Tree that ``spec`` was read from, for positions.
        problems: Receives all errors.
        saved: Whether the entry was written by the zoo, which keeps the shift of a nested entry in its innermost level.

    Returns:
        The graph, or None if there are errors.
    """
    levels, trees = spec.levels, _level_trees(tree)
    innermost = levels[-1]
    if len(levels) > MAX_LEVELS:
        problems.add("too-large", f"{len(levels)} levels, but an entry has at most {MAX_LEVELS}", trees[0].position)
        return None
    micro = _micro_inputs(levels)
    for level, own, known in zip(levels, trees, (*micro[1:], {}), strict=True):
        _check_keys(level, own, known, problems)
    _check_process(spec, tree, problems, saved)
    before = len(problems)
    check_nesting(levels, trees, problems)
    nested = len(problems) == before  # else the sizes around nested levels do not fit either
    written = [_draft(level, own, problems) for level, own in zip(levels, trees, strict=True)]
    # A level with errors does not keep the others from being checked.
    nodes = [
        check_level(draft, level.nest, problems) if draft is not None and nested else ()
        for level, draft in zip(levels, written, strict=True)
    ]
    time_width = 0 if written[-1] is None else _time_width(innermost, written[-1], trees[-1], problems)
    _check_text(innermost, trees[-1], problems)
    drafts = [draft for draft in written if draft is not None]
    if problems or len(drafts) < len(levels):
        return None
    text = innermost.inputs.text
    return EntryGraph(
        name=spec.name,
        levels=tuple(_level_graph(*level) for level in zip(levels, drafts, nodes, micro, strict=True)),
        time_width=time_width,
        summary=spec.summary,
        text=TextInput(**text.model_dump()) if text else None,
        classes=innermost.inputs.classes,
        process=_process(spec),
    )


def _process(spec: EntrySpec) -> Process:
    """Return the process; a base that is the innermost size, as it is without one, is left out."""
    noise = {"noise": spec.process.noise.levels, "offset": spec.process.noise.offset}
    process = Process(**{**spec.process.model_dump(), **noise, "residual": _residual(spec)})
    return replace(process, base=None) if spec.levels[-1].size == Size(process.base or 0) else process


def _residual(spec: EntrySpec) -> float | tuple[tuple[str, float], ...] | None:
    """Return the residual, by label in the order of the levels if deviations are written by label."""
    residual = spec.process.residual
    if not isinstance(residual, dict):
        return residual
    order = [level.size.label for level in spec.levels]
    return tuple(sorted(residual.items(), key=lambda item: order.index(item[0]) if item[0] in order else -1))


def _check_shared(spec: EntrySpec, tree: Mapping, problems: Problems, saved: bool) -> None:
    """Check that each level's noise is at least as strong as what it sees of the noise of the level around it."""
    place = locate(tree, "process", "noise")
    if spec.process.noise.offset:
        problems.add(
            "conflict", "an 'offset' needs 'levels: independent': the levels have constants of their own", place
        )
    if spec.nest is None and not saved:
        problems.add("conflict", "'levels: shared' changes nothing in an entry of one level: remove it", place)
    for outer, inner in pairwise(spec.levels):
        pixels, ratio = outer.resolution / inner.resolution, outer.size.ratio(inner.size)
        shift, names = spec.process.shift, (inner.size.label, outer.size.label)
        if ratio > 1 and shift * math.log(ratio) > 2 * math.log(pixels) + 1e-9:
            most = math.floor(200 * math.log(pixels) / math.log(ratio)) / 100
            message = f"{names[0]} cannot share the noise of {names[1]} with a shift of {shift:g}: what it sees is"
            advice = f"use a shift of at most {most:g}, or 'levels: independent'"
            problems.add("conflict", f"{message} stronger than its own; {advice}", place)


def _check_residual(spec: EntrySpec, tree: Mapping, problems: Problems, saved: bool) -> None:
    """Check that there is a level around another one, and that levels predict v."""
    place = locate(tree, "process", "residual")
    if spec.nest is None and not saved:
        problems.add("conflict", "'residual' changes nothing in an entry of one level: remove it", place)
    if spec.process.prediction != "v":
        message = f"'residual' needs 'prediction: v', not '{spec.process.prediction}'"
        problems.add("conflict", message, place)
    outer = [level.size.label for level in spec.levels[:-1]]
    for label in spec.process.residual if isinstance(spec.process.residual, dict) and not saved else ():
        if label not in outer:
            message = f"{quote(label)} is no level around another one; those are {', '.join(outer) or 'none'}"
            problems.add("unknown-key", message, locate(tree, "process", "residual", label))


def _check_process(spec: EntrySpec, tree: Mapping, problems: Problems, saved: bool) -> None:
    """Check that the noise schedule is possible with these steps, levels, base and shift."""
    process, innermost = spec.process, spec.levels[-1]
    if process.base is not None and innermost.resolution % process.base:
        side = innermost.resolution
        message = f"'base' is a side that divides that of the innermost level, {side}: {process.base} does not"
        problems.add("bad-value", message, locate(tree, "process", "base"))
    ratio = spec.size.ratio(Size(process.base) if process.base else innermost.size)
    found = process_problem(process.schedule, process.steps, ratio, process.shift)
    if found is not None:
        problems.add("out-of-range", found[1], locate(tree, "process", found[0]))
    if process.residual is not None:
        _check_residual(spec, tree, problems, saved)
    if process.noise.levels == "shared":
        _check_shared(spec, tree, problems, saved)
    if spec.nest is None and ratio == 1 and process.shift != 1 and not saved:
        inner = spec.resolution // 2 if spec.resolution % 2 == 0 else 1
        example = "{" + f"shift: {process.shift:g}, base: {inner}" + "}"
        message = (
            f"a shift of {process.shift:g} changes nothing in an entry of one level: remove it, or give the side of "
            f"the innermost level of the entry to compare with as 'base', such as {example}"
        )
        problems.add("conflict", message, locate(tree, "process", "shift"))


def _level_trees(tree: Mapping) -> list[Mapping]:
    trees = [tree]
    while isinstance(inner := trees[-1].get("nest"), Mapping):
        trees.append(inner)
    return trees


def _draft(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    """Return the nodes of a level, or None if it has errors, or no nodes at all, which is reported with its keys."""
    if not level.stages and level.graph is None:
        return None
    return (expand_stages if level.stages else expand_graph)(level, tree, problems)


def _time_width(level: LevelSpec, draft: LevelDraft, tree: Mapping, problems: Problems) -> int:
    width = level.time.width if level.time else 4 * draft.stem_width
    if width % 8:
        message = f"the width of the time embedding, {width} (four times the first width), must be a multiple of 8"
        problems.add("bad-width", message, tree.position)
    return width


def _micro_inputs(levels: Sequence[LevelSpec]) -> list[dict[str, MicroSpec]]:
    """Return the micro inputs of each level: those that it or a level inside it declares, the innermost's first."""
    known: dict[str, MicroSpec] = {}
    result = []
    for level in reversed(levels):
        known = known | {name: spec for name, spec in level.inputs.others.items() if name not in known}
        result.append(known)
    return result[::-1]


def _check_keys(level: LevelSpec, tree: Mapping, known: Container[str], problems: Problems) -> None:
    """Check the keys of a level; ``known`` are the micro inputs that levels inside it declare."""
    for code, message, path in (*_conflicts(level), *_misplaced(level)):
        problems.add(code, message, locate(tree, *path, key=True))
    _check_defaults(tree, problems)
    check_input_names([name for name in level.inputs.others if name not in known], tree, problems)


def _conflicts(level: LevelSpec) -> Iterator[Complaint]:
    """Yield keys that exclude each other, and values that are not allowed."""
    if level.stages is not None and level.graph is not None:
        yield "conflict", "a level has 'stages' or 'graph', not both", ("graph",)
    if level.stages is None and level.graph is None:
        yield "missing-key", "a level needs 'stages' or 'graph'", ()
    if level.stages == {}:
        yield "bad-value", "'stages' needs at least one stage", ("stages",)
    if level.middle is not None and level.graph is not None:
        yield "conflict", "'middle' belongs to 'stages'; a graph lists all its blocks", ("middle",)
    for name, stage in (level.stages or {}).items():
        for key in ("attention", "temporal"):
            if stage.blocks is not None and getattr(stage, key) is not None:
                message = f"stage '{name}' has 'blocks' or its short form '{key}', not both"
                yield "conflict", message, ("stages", name, key)
    scale = level.inputs.others.get("scale")
    if scale is not None and scale.default == 0:
        message = "the default of 'scale' is a size in pixels, so it must be more than 0"
        yield "out-of-range", message, ("inputs", "scale", "default")


def _misplaced(level: LevelSpec) -> Iterator[Complaint]:
    """Yield keys that only the innermost level may have."""
    if level.nest is None:
        return
    inner = "nest" + ".nest" * (len(level.nest.levels) - 1)
    if level.middle is not None:
        message = "'middle' belongs to the innermost level; the middle of the others is the nested level"
        yield "misplaced", message, ("middle",)
    if level.time is not None:
        yield "misplaced", "'time' belongs to the innermost level; all levels share its width", ("time",)
    for key in ("text", "classes"):
        if getattr(level.inputs, key) is not None:
            message = f"'{key}' is declared once, by the innermost level; write it as {inner}.inputs.{key}"
            yield "misplaced", message, ("inputs", key)


def _check_defaults(tree: Mapping, problems: Problems) -> None:
    """Check the arguments under ``defaults``, even if no node uses the block."""
    defaults = tree.get("defaults")
    if not isinstance(defaults, Mapping):
        return
    for name, entry in defaults.entries.items():
        if isinstance(entry.value, Mapping):
            read_use(put(entry.value, "block", Scalar(name, entry.key)), None, problems)


def _check_text(level: LevelSpec, tree: Mapping, problems: Problems) -> None:
    text = level.inputs.text
    if text is not None and text.self_attention and (text.project or text.width) % 8:
        message = f"the width of text with self-attention, {text.project or text.width}, must be a multiple of 8"
        problems.add("bad-width", message, locate(tree, "inputs", "text", "self_attention"))


def _micro_default(name: str, level: LevelSpec, declared: MicroSpec) -> float:
    """Return the default of a micro input at a level: its own, or that of the level that declares it.

    Otherwise that of a scale is the level's own resolution, that of a frame rate 30 a second, and that of others 1.
    """
    own = level.inputs.others.get(name)
    if own is not None and own.default is not None:
        return own.default
    if name == "scale":
        return float(level.resolution)
    if declared.default is not None:
        return declared.default
    return FRAME_RATE if name == "frame_rate" else 1.0


def _level_graph(
    level: LevelSpec, draft: LevelDraft, nodes: tuple[Node, ...], declared: dict[str, MicroSpec]
) -> LevelGraph:
    return LevelGraph(
        label=level.size.label,
        resolution=level.resolution,
        stem_width=draft.stem_width,
        nodes=nodes,
        head=draft.head,
        head_groups=draft.head_groups,
        normalize_input=level.normalize_input,
        micro=tuple(MicroInput(name, _micro_default(name, level, spec)) for name, spec in declared.items()),
        channels=level.channels,
        frames=level.frames,
    )
