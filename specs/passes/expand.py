"""From a resolved spec to an explicit graph: every level's nodes, and what the levels share."""

from __future__ import annotations

from specs.errors import Problems
from specs.graph import EntryGraph, LevelGraph, MicroInput, Node, Process, TextInput
from specs.passes.check import check_input_names, check_level, check_nesting
from specs.passes.draft import LevelDraft
from specs.passes.explicit_graph import expand_graph
from specs.passes.stages import expand_stages
from specs.schemas.entry import EntrySpec, InputsSpec, LevelSpec
from specs.syntax.yaml_tree import Mapping, locate

__all__ = ["expand"]

#: Levels of an entry; a chain of nests beyond it is a mistake.
MAX_LEVELS = 16


def expand(spec: EntrySpec, tree: Mapping, problems: Problems) -> EntryGraph | None:
    """Write an entry out and check it; None where something is wrong.

    Args:
        spec: the entry.
        tree: what it was read from, for positions.
        problems: receives everything that is wrong.
    """
    levels, trees = spec.levels, _level_trees(tree)
    if len(levels) > MAX_LEVELS:
        problems.add("too-large", f"{len(levels)} levels, where an entry has at most {MAX_LEVELS}", trees[0].position)
        return None
    for level, own in zip(levels, trees, strict=True):
        _check_keys(level, own, levels[-1].inputs, problems)
    check_nesting(levels, trees, problems)
    if problems:
        return None
    drafts = [_body(level, own, problems) for level, own in zip(levels, trees, strict=True)]
    if any(draft is None for draft in drafts):
        return None
    checked = [
        check_level(draft, own, level.nest, problems)
        for draft, own, level in zip(drafts, trees, levels, strict=True)
        if draft is not None
    ]
    innermost = levels[-1]
    stem = drafts[-1].stem_width  # type: ignore[union-attr]
    time_width = innermost.time.width if innermost.time else 4 * stem
    if time_width % 8:
        message = f"the time embedding is {time_width} wide (four times the first width); it must be a multiple of 8"
        problems.add("bad-width", message, trees[-1].position)
    _check_text(innermost, trees[-1], problems)
    if problems:
        return None
    graphs = tuple(
        _level_graph(level, draft, nodes, levels[-1].inputs)
        for level, draft, nodes in zip(levels, drafts, checked, strict=True)
        if draft is not None
    )
    text = innermost.inputs.text
    return EntryGraph(
        name=spec.name,
        levels=graphs,
        time_width=time_width,
        summary=spec.summary,
        text=TextInput(**text.model_dump()) if text else None,
        classes=innermost.inputs.classes,
        process=Process(**spec.process.model_dump()),
    )


def _level_trees(tree: Mapping) -> list[Mapping]:
    trees = [tree]
    while isinstance(inner := trees[-1].get("nest"), Mapping):
        trees.append(inner)
    return trees


def _body(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    return (expand_stages if level.stages is not None else expand_graph)(level, tree, problems)


def _check_keys(level: LevelSpec, tree: Mapping, shared: InputsSpec, problems: Problems) -> None:
    """Keys that exclude each other, and keys that only the innermost level may have."""

    if level.stages is not None and level.graph is not None:
        problems.add("conflict", "a level has 'stages' or 'graph', not both", locate(tree, "graph", key=True))
    elif level.stages is None and level.graph is None:
        problems.add("missing-key", "a level needs 'stages' or 'graph'", tree.position)
    if level.stages is not None and not level.stages:
        problems.add("bad-value", "'stages' holds at least one stage", locate(tree, "stages"))
    for name, stage in (level.stages or {}).items():
        if stage.blocks is not None and stage.attention is not None:
            where = locate(tree, "stages", name, "attention", key=True)
            problems.add("conflict", f"stage '{name}' has 'blocks' or its short form 'attention', not both", where)
    if level.middle is not None and level.graph is not None:
        problems.add("conflict", "'middle' belongs to 'stages'; a graph names all its blocks", locate(tree, "middle"))
    _check_defaults(tree, problems)
    if "scale" in level.inputs.others and level.inputs.others["scale"].default == 0:
        where = locate(tree, "inputs", "scale", "default")
        problems.add("out-of-range", "the default of 'scale' is a size in pixels, more than 0", where)
    if level.nest is None:
        check_input_names(level.inputs.others, tree, problems)
        return
    if level.middle is not None:
        message = "a level that nests has the nested level for its middle; 'middle' belongs to the innermost level"
        problems.add("misplaced", message, locate(tree, "middle", key=True))
    if level.time is not None:
        message = "'time' belongs to the innermost level; all levels share its width"
        problems.add("misplaced", message, locate(tree, "time", key=True))
    for key in ("text", "classes"):
        if getattr(level.inputs, key) is not None:
            message = f"'{key}' is declared once, by the innermost level"
            problems.add("misplaced", message, locate(tree, "inputs", key, key=True))
    for name in level.inputs.others:
        if name not in shared.others:
            message = f"the innermost level declares no input '{name}'; an outer level may change only a default"
            problems.add("misplaced", message, locate(tree, "inputs", name, key=True))


def _check_defaults(tree: Mapping, problems: Problems) -> None:
    """Arguments under ``defaults`` are checked even where no node uses the block."""
    from specs.passes.draft import read_use
    from specs.syntax.yaml_tree import Entry, Scalar

    defaults = tree.get("defaults")
    if not isinstance(defaults, Mapping):
        return
    for name, entry in defaults.entries.items():
        if isinstance(entry.value, Mapping):
            block = Entry(entry.key, Scalar(name, entry.key))
            read_use(Mapping({**entry.value.entries, "block": block}, entry.key), None, problems)


def _check_text(level: LevelSpec, tree: Mapping, problems: Problems) -> None:
    text = level.inputs.text
    if text is not None and text.self_attention and (text.project or text.width) % 8:
        message = f"text of width {text.project or text.width} cannot attend to itself with 8 heads"
        problems.add("bad-width", message, locate(tree, "inputs", "text", "self_attention"))


def _level_graph(level: LevelSpec, draft: LevelDraft, nodes: tuple[Node, ...], shared: InputsSpec) -> LevelGraph:
    own = level.inputs.others
    micro = []
    for name, declared in shared.others.items():
        written = own[name].default if name in own else None
        # A scale defaults to each level's own resolution; any other input to the innermost's, or to 1.
        usual = float(level.resolution) if name == "scale" else 1.0 if declared.default is None else declared.default
        micro.append(MicroInput(name, written if written is not None else usual))
    return LevelGraph(
        label=f"r{level.resolution}",
        resolution=level.resolution,
        stem_width=draft.stem_width,
        nodes=nodes,
        head=draft.head,
        head_groups=draft.head_groups,
        normalize_input=level.normalize_input,
        micro=tuple(micro),
        channels=level.channels,
    )
