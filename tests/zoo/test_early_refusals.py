"""Wrong options are refused before torch is imported: all cases in one process that cannot import it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs each request of stdin; an import of a slow library ends it with the library's name.
GUARD = """
import contextlib, io, json, sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "timm", "mlflow"):
            raise RuntimeError(f"{name} is imported")

sys.meta_path.insert(0, Guard())
from zoo.cli import run

results = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(words)
        except RuntimeError as error:
            code = str(error)
    results.append((code, err.getvalue()))
json.dump(results, sys.stdout)
"""

REFUSED = {
    "sample mdm-nano --sampler ddmi": "--sampler ddmi: must be 'ddim', 'ddpm' or 'dpm++'; did you mean 'ddpm'?",
    "sample mdm-nano --steps 0": "--steps 0",
    "sample mdm-nano --guidance nan": "--guidance nan",
    "sample mdm-nano --device gpu": "--device gpu: no such device; did you mean 'cuda'?",
    "sample mdm-nano --guidance-interval 0.9 0.1": "--guidance-interval goes from 0.9 down to 0.1",
    "sample mdm-nano --sampler ddpm --eta 0.5": "--eta is the noise of ddim",
    "sample mdm-nano --eta 2": "--eta 2",
    "sample mdm-nano --count 0": "--count must be at least 1",
    "sample mdm-nano --seed -1": "--seed",
    "sample mdm-nano --device teapot": "--device teapot: no such device",
    "sample mdm-nano --device cdua": "did you mean 'cuda'",
    "sample mdm-nano --device meta": "computes nothing",
    "sample mdm-nano -c flgs": "did you mean 'Flags'",
    "sample mdm-nano -p x": "remove --prompt",
    "sample mdm-nano --text-encoder ./nosuch": "no such folder",
    "sample mdm-nano.text": "add --prompt",
    "sample mdm-nano.text -p x -c flags": "remove --class",
    "sample mdm-s64": "mdm-s64 has no pretrained weights",
    "sample absent.safetensors": "absent.safetensors: no such checkpoint",
    "sample folder": "folder: no weights",
    "sample mdm-nanu": "did you mean 'mdm-nano'",
    "sample mdm-nano -o x.jpg": "a grid is written as .png",
    "sample mdm-nano -o file": "file: this is a file; name another folder",
    "sample mdm-nano -c 99": "no class",
    "sample mdm-nano --steps 2000": "the process has 1,000 steps",
    "sample mdm-nano --precision float23": "did you mean 'float32'",
    "sample mdm-nano --data nosuch": "no dataset 'nosuch'",
    "sample mdm-nano -n 50": "500 samples are too many for a grid (at most 400)",
    "sample mdm-nano -c flags -n 401": "401 samples are too many for a grid",
    "sample mdm-nano-v -n 500 -o x.png": "too many for a grid (at most 100)",
    "sample damaged.safetensors": "damaged.safetensors",
    "sample mdm-nano --frames 0": "--frames 0: write a number of frames",
    "sample mdm-nano --lossless": "remove --lossless",
    "sample mdm-nano --dynamic-threshold 2": "--dynamic-threshold 2",
    "show mdm-nano --sampler ddmi": "--sampler ddmi",
    "show mdm-nano --steps 0": "--steps 0",
    "evaluate mdm-nano --sampler x": "--sampler x",
    "evaluate mdm-nano -n 1": "--samples 1",
    "evaluate mdm-nano --features inceptoin": "no features 'inceptoin'; did you mean 'inception'",
    "evaluate mdm-nano --split foo": "--split foo",
    "evaluate mdm-nano --resize foo": "--resize foo",
    "evaluate mdm-nano --resolution -3": "--resolution",
    "evaluate mdm-nano --reference nosuch": "no dataset 'nosuch'",
    "evaluate mdm-nano --inception-weights nosuch.pth": "nosuch.pth",
    "evaluate mdm-nano --device teapot": "--device teapot",
    "evaluate folder": "--reference NAME_OR_FOLDER",
    "evaluate mdm-s64": "mdm-s64 has no pretrained weights",
    "evaluate mdm-nano --level r99": "mdm-nano has no level 'r99'",
    "evaluate mdm-nano --steps 5000": "the process has 1,000 steps",
    "evaluate mdm-nano --guidance nan": "--guidance nan",
    "evaluate mdm-nano --precision float23": "did you mean 'float32'",
    "evaluate mdm-nano --resolution 32": "mdm-nano draws at 64 pixels; --resolution is for folders of images",
    "evaluate mdm-nano --text-encoder ./nosuch": "no such folder",
    "evaluate mdm-nano --text-encoder embedded": "mdm-nano does not read text: remove --text-encoder",
    "evaluate damaged.safetensors": "damaged.safetensors",
    "train nosuch": "nosuch",
    "train nano-progressive --set entry=mdm-nanu": "did you mean 'mdm-nano'",
    "train nano-progressive --set batch=0": "batch",
    "train nano-progressive --set precision=float23": "did you mean 'float32'",
    "train nano-progressive --set optimizer.name=adamv": "no optimizer is called 'adamv'",
    "train nano-progressive --set phases.p16.train=r99": "r99",
    "train nano-progressive --set memory.checkpoint=[r99]": "r99",
    "train nano-progressive --set nosuch=1": "nosuch",
    "train nano-progressive --set nosuch": "nosuch",
    "train nano-progressive --set initialise=damaged.safetensors": "damaged.safetensors",
    "train nano-progressive --set initialise=mdm-nanu": "no weights of an entry 'mdm-nanu'; did you mean 'mdm-nano'",
    "train nano-progressive --set initialise=mdm-nano-v": "has no level in common with mdm-nano",
    "train nano-progressive --set initialise=./folder": "no such weights file",
    "train nano-progressive --classes 12": "mdm-nano has 12 classes, but the data noto-emoji-64 has 10",
    "train mdm-nano --data noto-emoji-64 --classes foo": "--classes 'foo': write auto, or the number of classes",
    "train nano-progressive --steps 5": "--steps needs --data",
    "plan nano-progressive --accelerator h1000": "did you mean",
    "train nano-progressive --device teapot": "--device teapot",
    "train nano-progressive --set data=nosuch": "no dataset 'nosuch'",
    "train moving-emoji --set images=nosuch": "no dataset 'nosuch'",
    "train nano-progressive --set images=noto-emoji-64": "mdm-nano has no level of more than one frame",
    "train nano-progressive --set initialise=nosuch.safetensors": "nosuch.safetensors: no such weights file",
    "train nano-progressive --set phases.p16.steps=0": "steps",
    "train mdm-nano --data nosuch": "no dataset 'nosuch'",
    "train mdm-nano --data nowhere/set": "no dataset 'nowhere/set': there is no such file or folder",
    "train mdm-nano --data noto-emoji-64 -o file/run": "file: this is a file",
    "demo -o file": "file: this is a file",
    "study n32 --device teapot": "--device teapot",
    "study n32 --set data=nosuch": "no dataset 'nosuch'",
    "study n32 --set entries=[mdm-nan]": "did you mean 'mdm-nano'",
    "study n32 --set evaluation.features=nosuch": "no features 'nosuch'",
    "study n32 --set data=noto-emoji-64 -o file": "file: this is a file",
    "convert absent.json x.pth -o out": "absent.json: no such file",
    "convert folder x.pth -o out": "folder: not a file",
    "data inspect nosuch": "no dataset 'nosuch'",
    "data encode nosuch out": "no dataset 'nosuch'",
    "data encode noto-emoji-64 out --precision float23": "did you mean 'float32'",
    "data encode noto-emoji-64 out --entry mdm-nano": "reads no text",
    "data encode noto-emoji-64 out --device teapot": "--device teapot",
    "data pack folder out --resize foo": "no resize mode 'foo'",
    "data pack folder out --resolution 0": "the resolution must be from 1",
    "data pack folder out --workers -1": "--workers",
    "data pack folder folder": "choose another folder",
    "compare mdm-nano -o x.doc": "a report is an .html file",
    "compare mdm-nano -o http://me:secret@host/x.html": "http:/host/x.html: this is an address",
    "results -o s3://bucket/results": "s3:/bucket/results: this is an address",
    "data pack folder s3://bucket/shards": "this is an address",
    "sample mdm-nano --previews https://host/x.png": "this is an address",
    "match mdm-nano --like mdm-s64 --by foo": "no cost 'foo'",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[object, str]]:
    folder = tmp_path_factory.mktemp("early")
    (folder / "folder").mkdir()
    (folder / "file").write_text("")
    (folder / "damaged.safetensors").write_bytes(b"damaged")
    requests = json.dumps([words.split() for words in REFUSED])
    command = [sys.executable, "-c", GUARD]
    done = subprocess.run(command, input=requests, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in Path(folder).iterdir() if path.name not in ("results", "out")) == [
        "damaged.safetensors",
        "file",
        "folder",
    ]
    return dict(zip(REFUSED, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("request_", REFUSED)
def test_wrong_options_are_refused_before_torch_is_imported(results, request_):
    code, error = results[request_]
    assert code == 2, (code, error)
    assert REFUSED[request_] in error and error.count("\n") <= 3
