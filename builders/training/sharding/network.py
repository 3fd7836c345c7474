"""Dividing a network among processes by FSDP2, block by block."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn

from builders.networks.nested_unet import NestedUNet
from builders.training.errors import TrainingError
from builders.training.sharding.tensors import placed_like
from specs.graph import LevelGraph

__all__ = ["process_mesh", "shard", "units"]


def process_mesh(device: torch.device, count: int) -> Any:
    """Return the mesh of all processes, in one row.

    Raises:
        TrainingError: The installed PyTorch has no FSDP2.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # noqa: F401
    except ImportError:
        raise TrainingError(
            f"sharding needs a newer PyTorch than {torch.__version__}; install torch>=2.6, or train without "
            "--use_fsdp and memory.shard"
        ) from None
    return init_device_mesh(device.type, (count,))


def shard(network: NestedUNet, mesh: Any) -> None:
    """Divide the parameters of a network among processes, in place.

    A block's weights are gathered before it runs, and freed afterwards. What belongs to no block, such as stems and
    embeddings, is gathered for the whole pass. The weights stay float32 and gradients are averaged in float32, whatever
    the precision of activations, so that results are those of one process.

    The parameters become sharded tensors. ``load_state_dict`` takes whole tensors too.

    Args:
        network: Network, the same in all processes.
        mesh: Result of :func:`process_mesh`.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Parameters must not stay gathered after a pass without gradients: they would not see later updates.
    options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True}
    for level in network.graph.levels:
        module = network.levels[level.label]
        assert isinstance(module, fx.GraphModule)
        for name in units(module, level):
            fully_shard(module.get_submodule(name), **options)
    fully_shard(network, **options)
    register_fsdp_forward_method(network, "encode")
    network.register_load_state_dict_pre_hook(_distribute)
    # Blocks of clips return views. Nothing writes to the result of a block, which is what the warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)


def units(module: fx.GraphModule, level: LevelGraph) -> list[str]:
    """Return the names of the modules of a level that are gathered one at a time, inner ones first.

    These are its blocks, and the parts of blocks that the level calls on their own: the projections of the text run
    once per prompt. The nest is none: it runs the levels inside.
    """
    blocks = {node.name for node in level.nodes if node.block != "nest"}
    called = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
    names = blocks | {name for name in called if name.partition(".")[0] in blocks}
    having = [name for name in names if any(True for _ in module.get_submodule(name).parameters())]
    return sorted(having, key=lambda name: (-name.count("."), name))


def _distribute(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Divide whole tensors that are loaded as the network's own are."""
    if prefix:
        return
    for name, own in network.state_dict().items():
        if name in state:
            state[name] = placed_like(state[name], own)
