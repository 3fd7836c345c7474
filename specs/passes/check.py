"""Whether a written-out level holds together: names, order, shapes, and how levels fit into one another."""

from __future__ import annotations

import heapq
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from specs.blocks import BLOCKS
from specs.errors import Problems, did_you_mean, quote
from specs.graph import RESERVED, Node
from specs.passes.draft import Draft, LevelDraft
from specs.schemas.entry import MAX_PIXELS, MAX_WIDTH, LevelSpec
from specs.syntax.yaml_tree import Mapping as TreeMapping
from specs.syntax.yaml_tree import locate

__all__ = ["check_level", "check_nesting"]

NODE_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Names that the network gives to parts of a level.
PARTS = frozenset(
    """z t features condition tokens text_mask inner rows time predictions inner_predictions nest_features
    normalize_input stem_features token_mask t_rows condition_rows token_mask_rows level self""".split()
)
#: Attributes of torch's modules, which a block of the same name would hide; a test holds them against torch.
MODULE_ATTRIBUTES = frozenset(
    """add_module add_submodule apply bfloat16 buffers call_super_init children code compile cpu cuda
    delete_all_unused_submodules delete_submodule double dump_patches eval extra_repr float forward get_buffer
    get_extra_state get_parameter get_submodule graph half ipu load_state_dict meta modules mtia named_buffers
    named_children named_modules named_parameters parameters print_readable recompile requires_grad_ set_extra_state
    set_submodule shape_env share_memory state_dict to to_empty to_folder train training type xpu zero_grad""".split()
)
TAKEN = frozenset({*RESERVED, *PARTS, *MODULE_ATTRIBUTES, *keyword.kwlist})
TAKEN_PREFIXES = ("micro_", "add_", "register_")


#: Arguments of a network's ``encode``, beside which micro inputs stand.
ENCODE = frozenset({"text", "text_mask", "classes", "batch_size", "context"})


def check_input_names(names: Iterable[str], tree: TreeMapping, problems: Problems) -> None:
    """Micro inputs have names that can stand as arguments and hide nothing."""
    for name in names:
        where = locate(tree, "inputs", name, key=True)
        if not NODE_NAME.fullmatch(name):
            message = f"input {quote(name)}: a name has small letters, digits and underscores, a letter first"
            problems.add("bad-name", message, where)
        elif name in TAKEN or name in ENCODE:
            problems.add("bad-name", f"{quote(name)} is a reserved name", where)


def check_nesting(levels: Sequence[LevelSpec], trees: Sequence[TreeMapping], problems: Problems) -> None:
    """Resolutions of nested levels divide each other, strictly falling; all have the same image channels."""
    for outer, inner, tree in zip(levels, levels[1:], trees, strict=False):
        where = locate(tree, "nest", key=True)
        if inner.resolution >= outer.resolution or outer.resolution % inner.resolution:
            message = (
                f"a level of {outer.resolution} pixels cannot nest one of {inner.resolution}: "
                "the inner resolution must be smaller and divide the outer one"
            )
            problems.add("bad-nesting", message, where)
        if outer.channels != inner.channels:
            message = f"image channels differ: {outer.channels} outside, {inner.channels} inside"
            problems.add("bad-nesting", message, where)


def check_level(draft: LevelDraft, tree: TreeMapping, nest: LevelSpec | None, problems: Problems) -> tuple[Node, ...]:
    """The level's nodes in topological order, their widths filled in; what is wrong goes to ``problems``."""
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
    nodes: dict[str, Draft] = {}
    for node in draft.nodes:
        if not NODE_NAME.fullmatch(node.name):
            message = f"node {quote(node.name)}: a name has small letters, digits and underscores, a letter first"
            problems.add("bad-name", message, node.position)
        elif (node.name in TAKEN and node.block != "nest") or node.name.startswith(TAKEN_PREFIXES):
            problems.add("bad-name", f"{quote(node.name)} is a reserved name", node.position)
        if node.name in nodes:
            problems.add("duplicate-node", f"two nodes are called {quote(node.name)}", node.position)
        nodes[node.name] = node
    known = [*nodes, "stem"]
    for node in draft.nodes:
        for name in node.inputs:
            if name not in nodes and name != "stem":
                message = f"node {quote(node.name)} reads {quote(name)}, which does not exist"
                hint = "" if problems.full else did_you_mean(name, known)
                problems.add("unknown-node", message + hint, node.position)
    if draft.head not in nodes and draft.head != "stem":
        message = f"the head reads {quote(draft.head)}, which does not exist{did_you_mean(draft.head, known)}"
        problems.add("unknown-node", message, draft.head_position)
    return nodes


def _check_nest(draft: LevelDraft, nest: LevelSpec | None, problems: Problems) -> None:
    node = next((node for node in draft.nodes if node.block == "nest"), None)
    if nest is not None and node is None:
        message = "this level nests another, but its graph has no node 'nest' where that one stands"
        problems.add("nest-node", message, draft.position)
    if nest is None and node is not None:
        problems.add("nest-node", "node 'nest' stands for a nested level, but this level has no 'nest'", node.position)


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
        message = f"nodes read each other in a circle: {' -> '.join(cycle)}"
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
    """Every node's output reaches the head."""
    reached, todo = set[str](), [draft.head]
    while todo:
        name = todo.pop()
        if name in nodes and name not in reached:
            reached.add(name)
            todo += nodes[name].inputs
    for name, node in nodes.items():
        if name not in reached:
            problems.add(
                "dead-node", f"nothing reads node {quote(name)}: its output does not reach the head", node.position
            )


def _check_shapes(
    draft: LevelDraft, order: Iterable[Draft], nest: LevelSpec | None, problems: Problems
) -> tuple[Node, ...]:
    shapes = {"stem": (draft.stem_width, draft.resolution)}
    result = []
    for node in order:
        if any(name not in shapes for name in node.inputs):
            continue  # what it reads is wrong already
        given = _merged(node, [shapes[name] for name in node.inputs], problems)
        if given is None:
            continue
        shape = _given_by(node, *given, nest, problems)
        if shape is not None:
            shapes[node.name] = shape
            result.append(Node(node.name, node.block, shape[0], node.args, node.inputs, node.merge, node.position))
    if draft.head in shapes:
        width, resolution = shapes[draft.head]
        if resolution != draft.resolution:
            message = f"the head reads {quote(draft.head)} at {resolution} pixels, but the level is {draft.resolution}"
            problems.add("bad-resolution", message, draft.head_position)
        if width % draft.head_groups:
            message = (
                f"head: width {width} is not divisible by {draft.head_groups} groups; "
                "choose another width or set 'head: {groups: ...}'"
            )
            problems.add("bad-width", message, draft.head_position)
    return tuple(result)


def _merged(node: Draft, given: list[tuple[int, int]], problems: Problems) -> tuple[int, int] | None:
    """Channels and resolution of what a node reads, after merging."""
    if len(given) == 1:
        return given[0]
    names = " and ".join(f"{quote(name)} ({size} pixels)" for name, (_, size) in zip(node.inputs, given, strict=True))
    if len({size for _, size in given}) > 1:
        problems.add("size-mismatch", f"node {quote(node.name)}: {node.merge} of unequal sizes: {names}", node.position)
        return None
    if node.merge == "cat":
        return sum(width for width, _ in given), given[0][1]
    if len({width for width, _ in given}) > 1:
        widths = " and ".join(f"{quote(n)} ({w} channels)" for n, (w, _) in zip(node.inputs, given, strict=True))
        message = (
            f"node {quote(node.name)}: {node.merge} of unequal widths: {widths}; a conv of kernel 1 makes them equal"
        )
        problems.add("size-mismatch", message, node.position)
        return None
    return given[0]


def _given_by(
    node: Draft, channels: int, resolution: int, nest: LevelSpec | None, problems: Problems
) -> tuple[int, int] | None:
    """Channels and resolution that a node gives."""
    if node.block == "nest":
        assert nest is not None
        if resolution != nest.resolution:
            message = f"the nested level has {nest.resolution} pixels, but it stands where there are {resolution}"
            problems.add("bad-nesting", message, node.position)
            return None
        return channels, resolution
    block = BLOCKS[node.block]
    args = block.arguments(node.args)
    width = channels if node.width is None else node.width
    if channels > MAX_WIDTH:
        message = f"node {quote(node.name)} reads {channels:,} channels, where there may be at most {MAX_WIDTH:,}"
        problems.add("bad-width", message, node.position)
        return None
    complaints = block.check(args, channels, width, resolution)
    for code, message in complaints:
        problems.add(code, f"node {quote(node.name)}: {message}", node.position)
    if complaints:
        return None
    given = block.output_resolution(args, resolution)
    if not 1 <= given <= MAX_PIXELS:
        problems.add("bad-resolution", f"node {quote(node.name)} would have {given:,} pixels a side", node.position)
        return None
    return width, given
