"""Quality of a network's samples at full size: against those of its own innermost level, and the white of the ground.

python benchmarks/sample_quality.py WHAT [WHAT ...] [--samples 500] [--steps 20] [--guidance 1] [--no-clip] [--seed 0]

WHAT is an entry with weights or a checkpoint. All levels are drawn once, with DPM-Solver++ unless --sampler names
another. The images of the innermost level are enlarged (bicubic) to the size of the outermost, and both are compared
with the training images at that size. The ground is measured in the corners of images (a tenth of the side): the root
mean square distance from white, in grey levels of 255, over the corners without a pixel below 230, which hold no part
of an object.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from builders.diffusion.residual import enlarge
from builders.pixels import to_bytes, to_float
from registry.evaluation.evaluate import classes_as_known, draw_levels, evaluate_images
from registry.evaluation.features import open_features
from registry.evaluation.image_sets import open_images
from registry.weights import data_of, load_weights, text_encoder
from specs.schemas.evaluation import EvaluationSpec

#: Darkest value of a channel in a corner that is ground.
WHITE = 230


def ground_error(images: torch.Tensor) -> float:
    """Return the root mean square distance from white in light corners, in grey levels.

    Args:
        images: Images (batch, 3, side, side), uint8.
    """
    size = max(1, images.shape[-1] // 10)
    rows, columns = (slice(None, size), slice(-size, None)), (slice(None, size), slice(-size, None))
    corners = torch.cat([images[..., row, column].flatten(1) for row in rows for column in columns]).float()
    light = corners[corners.min(1).values >= WHITE]
    return float((255 - light).square().mean().sqrt())


def main() -> None:
    """Print a row per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="Entries with weights, or checkpoints.")
    parser.add_argument("--samples", type=int, default=500, help="Number of samples.")
    parser.add_argument("--sampler", default="dpm++", help="Sampler.")
    parser.add_argument("--steps", type=int, default=20, help="Number of denoising steps.")
    parser.add_argument("--guidance", type=float, default=1, help="Scale of classifier-free guidance.")
    parser.add_argument("--no-clip", action="store_true", help="Do not clip predicted images while sampling.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first sample.")
    options = parser.parse_args()
    spec = EvaluationSpec(
        samples=options.samples,
        sampler=options.sampler,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        clip=not options.no_clip,
        seed=options.seed,
    )
    extractor = open_features(spec.features, resize=spec.resize)
    print("| weights | level | KID | 95 % interval | FD | white ground |\n|---|---|---|---|---|---|", flush=True)
    for what in options.what:
        model, metadata = load_weights(what, "cpu")
        data = open_images(data_of(metadata), model.graph.resolution)
        labels = (model.labels[0], model.labels[-1])
        encoder = text_encoder(model, metadata)
        drawn = draw_levels(model, classes_as_known(data, metadata), spec, labels, encoder=encoder)
        for label in dict.fromkeys(labels):
            large = enlarge(to_float(drawn[label].images), data.images).clamp(-1, 1)
            images = replace(drawn[label], images=to_bytes(large))
            kid, fd = list(evaluate_images(images, data, extractor).metrics.values())[:2]
            row = (what, label, f"{kid.value:.3f}", f"{kid.low:.3f} to {kid.high:.3f}", f"{fd.value:.1f}")
            print(f"| {' | '.join(row)} | {ground_error(images.images):.2f} |", flush=True)


if __name__ == "__main__":
    main()
