"""Check drafts of levels: names, order and shapes of nodes, and how levels fit into each other."""

from __future__ import annotations

import heapq
import keyword
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from specs.blocks import BLOCKS, Size
from specs.errors import Problems, did_you_mean, quote
from specs.graph import RESERVED, Node
from specs.passes.draft import NAME_RULE, NODE_NAME, Draft, LevelDraft
from specs.schemas.entry import MAX_PIXELS, MAX_WIDTH, LevelSpec
from specs.syntax.yaml_tree import Mapping as TreeMapping
from specs.syntax.yaml_tree import locate

__all__ = ["check_level", "check_nesting"]

#: Names of parts of a level's network.
PARTS = frozenset(
    """z t features condition tokens text_mask inner rows time predictions inner_predictions nest_features
    normalize_input stem_features token_mask t_rows condition_rows token_mask_rows level self""".split()
)
#: Attributes of torch's modules, which a block of the same name would hide. A test compares them with torch.
MODULE_ATTRIBUTES = frozenset(
    """add_module add_submodule apply bfloat16 buffers call_super_init children code compile cpu cuda
    delete_all_unused_submodules delete_submodule double dump_patches eval extra_repr float forward get_buffer
    get_extra_state get_parameter get_submodule graph half ipu load_state_dict meta modules mtia named_buffers
    named_children named_modules named_parameters parameters print_readable recompile requires_grad_ set_extra_state
    set_submodule shape_env share_memory state_dict to to_empty to_folder train training type xpu zero_grad""".split()
)
TAKEN = frozenset({*RESERVED, *PARTS, *MODULE_ATTRIBUTES, *keyword.kwlist})
TAKEN_PREFIXES = ("micro_", "add_", "register_")
#: Arguments of a network's ``encode``, which also takes the micro inputs.
ENCODE = frozenset({"text", "text_mask", "classes", "batch_size", "context"})


def check_input_names(names: Iterable[str], tree: TreeMapping, problems: Problems) -> None:
    """Check that the names of micro inputs may be used as arguments."""
    for name in names:
        where = locate(tree, "inputs", name, key=True)
        if not NODE_NAME.fullmatch(name):
            problems.add("bad-name", f"input {quote(name)}: {NAME_RULE}", where)
        elif name in TAKEN or name in ENCODE:
            problems.add("bad-name", f"{quote(name)} is a reserved name", where)


def check_nesting(levels: Sequence[LevelSpec], trees: Sequence[TreeMapping], problems: Problems) -> None:
    """Check that each level has the channels of the one inside it, and multiples of its pixels and frames."""
    for outer, inner, tree in zip(levels, levels[1:], trees, strict=False):
        where = locate(tree, "nest", key=True)
        for message in _size_problems(outer.size, inner.size):
            problems.add("bad-nesting", message, where)
        if outer.channels != inner.channels:
            message = f"image channels differ: {outer.channels} outside, {inner.channels} inside"
            problems.add("bad-nesting", message, where)


def _size_problems(outer: Size, inner: Size) -> Iterator[str]:
    """Yield why a level of one size cannot nest a level of another."""
    if outer.side % inner.side or (inner.side == outer.side and inner.frames == outer.frames == 1):
        yield f"a level of {outer.side} pixels cannot nest one of {inner.side}: " + (
            "the inner resolution must be smaller and divide the outer one"
            if inner.frames == outer.frames
            else "the inner resolution must divide the outer one"
        )
    elif inner == outer:
        yield "the inner level has the pixels and the frames of the outer one; it must have fewer of one"
    if inner.frames > outer.frames:
        yield (
            f"a level of {_frames(outer.frames)} cannot nest one of {inner.frames}: an inner level sees the first "
            "frame of each group of the outer one's, so it has at most as many; exchange the two"
        )
    elif outer.frames % inner.frames:
        yield (
            f"a level of {_frames(outer.frames)} cannot nest one of {inner.frames}: the inner level sees the first "
            "frame of each group of the outer one's, so its frames must divide those of the outer one"
        )


def _frames(number: int) -> str:
    return f"{number} frame" if number == 1 else f"{number} frames"


def check_level(draft: LevelDraft, nest: LevelSpec | None, problems: Problems) -> tuple[Node, ...]:
    """Return the nodes of a level in topological order, with their widths.

    Args:
        draft: The level.
        nest: The level inside it, if any.
        problems: Receives all errors; if there are any, nodes may be missing from the result.
    """
    before = len(problems)
    nodes = _check_names(draft, problems)
    _check_nest(draft, nest, problems)
    if len(problems) > before:
        return ()
    order = _order(nodes, problems)
    _check_reached(draft, nodes, problems)
    if len(problems) > before:
        return ()
    return _check_shapes(draft, [nodes[name] for name in order], nest, problems)


def _check_names(draft: LevelDraft, problems: Problems) -> dict[str, Draft]:
    """Check the names of nodes and of their inputs; return the nodes by name."""
    nodes: dict[str, Draft] = {}
    for node in draft.nodes:
        if not NODE_NAME.fullmatch(node.name):
            problems.add("bad-name", f"node {quote(node.name)}: {NAME_RULE}", node.position)
        elif (node.name in TAKEN and node.block != "nest") or node.name.startswith(TAKEN_PREFIXES):
            problems.add("bad-name", f"{quote(node.name)} is a reserved name", node.position)
        if node.name in nodes:
            problems.add("duplicate-node", f"two nodes are called {quote(node.name)}", node.position)
        nodes[node.name] = node
    known = {**nodes, "stem": None}
    for node in draft.nodes:
        for name in node.inputs:
            if name not in known:
                hint = "" if problems.full else did_you_mean(name, known)
                message = f"node {quote(node.name)} reads {quote(name)}, which does not exist{hint}"
                problems.add("unknown-node", message, node.position)
    if draft.head not in known:
        message = f"the head reads {quote(draft.head)}, which does not exist{did_you_mean(draft.head, known)}"
        problems.add("unknown-node", message, draft.head_position)
    return nodes


def _check_nest(draft: LevelDraft, nest: LevelSpec | None, problems: Problems) -> None:
    node = next((node for node in draft.nodes if node.block == "nest"), None)
    if nest is not None and node is None:
        message = "this level nests another one, but its graph has no node 'nest'"
        problems.add("nest-node", message, draft.position)
    if nest is None and node is not None:
        problems.add("nest-node", "the graph has a node 'nest', but the level has no key 'nest'", node.position)


def _order(nodes: Mapping[str, Draft], problems: Problems) -> list[str]:
    """Return the names in topological order, ties by name; report a cycle if there is one."""
    sorter = TopologicalSorter(
        {name: [other for other in node.inputs if other in nodes] for name, node in nodes.items()}
    )
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = error.args[1][1:]
        first = cycle.index(min(cycle))
        cycle = [*cycle[first:], *cycle[: first + 1]]
        message = f"nodes read each other in a cycle: {' -> '.join(cycle)}"
        problems.add("graph-cycle", message, nodes[cycle[0]].position)
        return []
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, name)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    return order


def _check_reached(draft: LevelDraft, nodes: Mapping[str, Draft], problems: Problems) -> None:
    """Check that the output of every node reaches the head."""
    reached, todo = set[str](), [draft.head]
    while todo:
        name = todo.pop()
        if name in nodes and name not in reached:
            reached.add(name)
            todo += nodes[name].inputs
    for name, node in nodes.items():
        whole = node.written if node.written in nodes else name
        if name not in reached and (whole == name or whole in reached):
            problems.add("dead-node", f"the output of node {quote(name)} does not reach the head", node.position)


def _check_shapes(
    draft: LevelDraft, order: Iterable[Draft], nest: LevelSpec | None, problems: Problems
) -> tuple[Node, ...]:
    """Check that shapes fit; return the nodes with their widths."""
    shapes = {"stem": (draft.stem_width, draft.size)}
    result = []
    for node in order:
        if any(name not in shapes for name in node.inputs):
            continue  # an input has an error
        merged = _merged(node, [shapes[name] for name in node.inputs], problems)
        shape = merged and _output(node, *merged, nest, problems)
        if shape is not None:
            shapes[node.name] = shape
            result.append(Node(node.name, node.block, shape[0], node.args, node.inputs, node.merge, node.position))
    if draft.head in shapes:
        width, size = shapes[draft.head]
        if size != draft.size:
            message = f"the head reads {quote(draft.head)} of {size}, but the level has {draft.size}"
            problems.add("bad-resolution", message, draft.head_position)
        if width % draft.head_groups:
            message = f"head: width {width} is not divisible by {draft.head_groups} groups; "
            message += "choose another width or set 'head: {groups: ...}'"
            problems.add("bad-width", message, draft.head_position)
    return tuple(result)


def _listed(parts: Iterable[str]) -> str:
    """Join parts as ``a, b and c``."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _merged(node: Draft, given: list[tuple[int, Size]], problems: Problems) -> tuple[int, Size] | None:
    """Return channels and size of a node's input after merging, or None if its inputs do not fit."""
    if len(given) == 1:
        return given[0]
    inputs = list(zip(map(quote, node.inputs), given, strict=True))
    message = f"node {quote(node.name)}: {node.merge} of "
    if len({size for _, size in given}) > 1:
        message += "different sizes: " + _listed(f"{name} ({size})" for name, (_, size) in inputs)
        message += "; read the smaller ones with {up: NODE}, or the larger ones with {down: NODE}"
    elif node.merge == "cat":
        return sum(width for width, _ in given), given[0][1]
    elif len({width for width, _ in given}) > 1:
        message += "different widths: " + _listed(f"{name} ({width} channels)" for name, (width, _) in inputs)
        message += "; a conv with kernel 1 can make them equal"
    else:
        return given[0]
    problems.add("size-mismatch", message, node.position)
    return None


def _nest_message(nested: Size, given: Size) -> str:
    """Return the error of a nested level whose input has another size."""
    if nested.side == given.side:
        return f"the nested level has {_frames(nested.frames)}, but its input has {given.frames}"
    if nested.frames == given.frames:
        return f"the nested level has {nested.side} pixels, but its input has {given.side} pixels"
    return f"the nested level has {nested}, but its input has {given}"


def _output(
    node: Draft, channels: int, size: Size, nest: LevelSpec | None, problems: Problems
) -> tuple[int, Size] | None:
    """Return channels and size of a node's output, or None if there are errors."""
    if node.block == "nest":
        assert nest is not None
        if size != nest.size:
            message = _nest_message(nest.size, size)
            problems.add("bad-nesting", message, node.position)
            return None
        return channels, size
    block = BLOCKS[node.block]
    args = block.arguments(node.args)
    width = channels if node.width is None else node.width
    if channels > MAX_WIDTH:
        message = f"node {quote(node.name)} reads {channels:,} channels, but at most {MAX_WIDTH:,} are allowed"
        problems.add("bad-width", message, node.position)
        return None
    complaints = block.check(args, channels, width, size)
    for code, message in complaints:
        problems.add(code, f"node {quote(node.name)}: {message}", node.position)
    if complaints:
        return None
    result = block.output_size(args, size)
    if not 1 <= result.side <= MAX_PIXELS:
        problems.add(
            "bad-resolution", f"node {quote(node.name)} would have {result.side:,} pixels per side", node.position
        )
        return None
    return width, result
