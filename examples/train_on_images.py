"""Train a small model on a folder of images, then draw samples from it.

In the shell: zoo data pack IMAGES DATA; zoo train my.yaml --data DATA; zoo sample RUN.
"""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from builders.data.packing.pack import pack
from builders.data.packing.shard import PackSettings
from builders.data.packing.sources import find_sources
from builders.pictures import sample_grid, save_image
from builders.sampling.generation import Request, draw_all
from builders.training.json_log import JsonLog
from builders.training.start import train
from registry.weights import load_weights
from specs.default_recipe import default_recipe
from specs.schemas.sampling import SamplerSettings

folder = Path(tempfile.mkdtemp())

# 1. A folder of images. Subfolders are the labels: round/ and square/.
for index in range(40):
    for label in ("round", "square"):
        image = Image.new("RGB", (32, 32), "white")
        box = (4 + index % 7, 4 + index % 5, 20 + index % 9, 20 + index % 9)
        shape = ImageDraw.Draw(image).ellipse if label == "round" else ImageDraw.Draw(image).rectangle
        shape(box, fill=(index * 6, 80, 200))
        path = folder / "images" / label / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)

# 2. Pack it into shards.
packed = pack(find_sources(folder / "images"), folder / "data", "shapes", PackSettings(resolution=16))
print(f"packed {packed.samples}, classes {', '.join(packed.classes)}")

# 3. An entry with two classes.
entry = folder / "shapes.yaml"
entry.write_text(
    """
name: shapes
resolution: 16
defaults: {resnet: {groups: 8}}
head: {groups: 8}
stages:
  r16: {width: 16, depth: 1}
  r8:  {width: 16, depth: 1}
nest:
  resolution: 8
  inputs: {classes: 2}
  defaults: {resnet: {groups: 8}, attention: {groups: 8}}
  head: {groups: 8}
  stages:
    r8: {width: 16, depth: 1}
""",
    encoding="utf-8",
)

# 4. Train it level by level. Call train again with the same folder to resume an interrupted run.
recipe = default_recipe(str(entry), str(folder / "data"), steps=20)
weights = train(recipe, folder / "run", observer=JsonLog())
print((folder / "run" / "log.jsonl").read_text("utf-8").splitlines()[-2])

# 5. Draw two samples of each class. draw_all returns one tensor per level, the highest resolution first.
model, _ = load_weights(str(weights))
request = Request(seeds=(0, 1, 2, 3), classes=(0, 0, 1, 1))
levels = draw_all(model, request, SamplerSettings(num_inference_steps=10, guidance_scale=2.0))
print("samples:", save_image(sample_grid(levels, ["round", "round", "square", "square"]), folder / "samples.png"))
