"""Generated code of image levels, as literals: a network of images computes what it always did, in the same order."""

from __future__ import annotations

import hashlib

import pytest

import zoo
from builders.networks.nested_unet import build_model

#: Entry: for each level, outermost first, the hash of its code with that of its encoder and its denoiser.
CODE = {
    "doll-n32": {"r32": "bbe6627ae9a0519a", "r16": "3a0ea8cc5d43dd32"},
    "doll-n32-deep": {"r32": "bbe6627ae9a0519a", "r16": "e0cacdafcb7346dd"},
    "doll-n32-wide": {"r32": "bbe6627ae9a0519a", "r16": "3a0ea8cc5d43dd32"},
    "doll-s256": {"r256": "b1e0fb08712e1f31", "r64": "f64f17104b47159b"},
    "flat-n32": {"r32": "4cbf9c2211200dd9"},
    "flat-n32-deep": {"r32": "f440cdea8b5c6a39"},
    "flat-n32-wide": {"r32": "4cbf9c2211200dd9"},
    "mdm-micro": {"r16": "cad204f421c21d0f", "r8": "4c33805381a72d15"},
    "mdm-nano": {"r64": "d61e1c81451644e4", "r32": "c88ed66b9ce4a98e", "r16": "3a0ea8cc5d43dd32"},
    "mdm-nano.text": {"r64": "d61e1c81451644e4", "r32": "c88ed66b9ce4a98e", "r16": "17f6fad81fbeeac1"},
    "mdm-s64": {"r64": "9860bc0fe29d9cd8"},
    "mdm-s64.in1k": {"r64": "1d0bb15c929c5dd2"},
    "mdm-s256": {"r256": "2bf9b02616e6bd64", "r64": "f64f17104b47159b"},
    "mdm-s256.in1k": {"r256": "2bf9b02616e6bd64", "r64": "babf37214a8a4884"},
    "mdm-s1024": {"r1024": "56b5e51ec97981fc", "r256": "cc28bce93f064385", "r64": "f64f17104b47159b"},
    "mdm-s1024.in1k": {"r1024": "56b5e51ec97981fc", "r256": "cc28bce93f064385", "r64": "babf37214a8a4884"},
    "resunet-s64": {"r64": "dcab4746fc3f7bbd"},
    "triple-n32": {"r32": "bbe6627ae9a0519a", "r16": "45bb422012fa15de", "r8": "56d743d6e4bf5834"},
    "unet-s64": {"r64": "9860bc0fe29d9cd8"},
    "unet-s64.in1k": {"r64": "1d0bb15c929c5dd2"},
    "unet-s256": {"r256": "5886c90f1bf912b2"},
    "unet-s256.in1k": {"r256": "e92f523e5124ecd2"},
    "unetpp-s64": {"r64": "efae85401993febf"},
}


@pytest.mark.parametrize("name", CODE)
def test_generated_code_of_image_levels(name):
    model = build_model(zoo.get(name).architecture, device="meta", initialize=False)
    found = {}
    for label in model.labels:
        code = model.levels[label].code + model.encoders[label].code + model.denoisers[label].code
        found[label] = hashlib.sha256(code.encode()).hexdigest()[:16]
    assert found == CODE[name]
