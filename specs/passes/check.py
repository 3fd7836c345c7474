"""Check drafts of levels: names, order and shapes of nodes."""

from __future__ import annotations

import heapq
import keyword
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from specs.blocks import BLOCKS, Size
from specs.blocks.size import frames_of
from specs.errors import Problems, did_you_mean, quote
from specs.graph import RESERVED, Node
from specs.passes.draft import NAME_RULE, NODE_NAME, Draft, LevelDraft
from specs.passes.nesting import check_nesting, nest_message
from specs.schemas.entry import MAX_FRAMES, MAX_PIXELS, MAX_WIDTH, LevelSpec
from specs.syntax.yaml_tree import Mapping as TreeMapping
from specs.syntax.yaml_tree import locate

__all__ = ["check_input_names", "check_level", "check_nesting"]

#: Names of parts of a level's network.
PARTS = frozenset(
    """z t features condition tokens text_mask inner rows time predictions inner_predictions nest_features
    normalize_input stem_features token_mask t_rows condition_rows token_mask_rows cat_clips level self""".split()
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
        if node.block != "nest" and BLOCKS[node.block].temporal and draft.size.frames == 1:
            message = f"{node.block} computes across frames, but the level has no 'frames'"
            problems.add("bad-frames", message, node.position)
            continue
        shape = merged and _output(node, *merged, nest, problems)
        if shape is not None:
            shapes[node.name] = shape
            result.append(Node(node.name, node.block, shape[0], node.args, node.inputs, node.merge, node.position))
    if draft.head in shapes:
        _check_head(draft, *shapes[draft.head], problems)
    return tuple(result)


def _check_head(draft: LevelDraft, width: int, size: Size, problems: Problems) -> None:
    """Check that the head reads features of the level's size, and of a width that its groups divide."""
    if size.side != draft.size.side:
        message = f"the head reads {quote(draft.head)} of {size}, but the level has {draft.size}"
        problems.add("bad-resolution", message, draft.head_position)
    elif size != draft.size:
        message = f"the head reads {quote(draft.head)} of {frames_of(size.frames)}, but the level has "
        problems.add("bad-frames", f"{message}{draft.size.frames}", draft.head_position)
    if width % draft.head_groups:
        message = f"head: width {width} is not divisible by {draft.head_groups} groups; "
        message += "choose another width or set 'head: {groups: ...}'"
        problems.add("bad-width", message, draft.head_position)


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
        message += _resampling(size for _, size in given)
    elif node.merge == "cat":
        return sum(width for width, _ in given), given[0][1]
    elif len({width for width, _ in given}) > 1:
        message += "different widths: " + _listed(f"{name} ({width} channels)" for name, (width, _) in inputs)
        message += "; a conv with kernel 1 can make them equal"
    else:
        return given[0]
    problems.add("size-mismatch", message, node.position)
    return None


def _resampling(sizes: Iterable[Size]) -> str:
    """Return how inputs of different sizes can be made equal."""
    sides, frames = (set(numbers) for numbers in zip(*((size.side, size.frames) for size in sizes), strict=True))
    space = "read the smaller ones with {up: NODE}, or the larger ones with {down: NODE}"
    time = "read the shorter ones with {time_up: NODE}, or the longer ones with {time_down: NODE}"
    return "".join(f"; {way}" for way, found in ((space, sides), (time, frames)) if len(found) > 1)


def _output(
    node: Draft, channels: int, size: Size, nest: LevelSpec | None, problems: Problems
) -> tuple[int, Size] | None:
    """Return channels and size of a node's output, or None if there are errors."""
    if node.block == "nest":
        assert nest is not None
        if size != nest.size:
            message = nest_message(nest.size, size)
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
    if not 1 <= result.frames <= MAX_FRAMES:
        message = f"node {quote(node.name)} would have {result.frames:,} frames, but at most {MAX_FRAMES:,} are allowed"
        problems.add("bad-frames", message, node.position)
        return None
    return width, result
