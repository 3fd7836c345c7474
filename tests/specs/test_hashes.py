"""Hashes of the packaged entries, as literals: checkpoints and runs of users carry them, so they never change."""

from __future__ import annotations

import pytest

import zoo

#: Name: hash of the entry, graph hash by level, outermost first (the first one is that of the entry).
HASHES = {
    "doll-n32": ("0ae50d056e78917c", {"r32": "a8f516ab298d616c", "r16": "b8ca8172c110c1b1"}),
    "doll-n32-deep": ("579cb0d9dac48211", {"r32": "bd10e5226ed26403", "r16": "2b936777ceb49531"}),
    "doll-n32-wide": ("5e7598eebbeee698", {"r32": "0aafb8241cdd50ec", "r16": "b8ca8172c110c1b1"}),
    "doll-s256": ("5610094cb72764ba", {"r256": "f7bc2c9b1a95bc34", "r64": "9c8b501ec0129088"}),
    "flat-n32": ("5ab8ea83def58600", {"r32": "6b43047fc9ce9ad6"}),
    "flat-n32-deep": ("91a626e08689edb7", {"r32": "4157610cf6b9a7a7"}),
    "flat-n32-wide": ("b9f138e0810c990c", {"r32": "5ad98d7d376ed88a"}),
    "flat-n64": ("e9fceace02f4987b", {"r64": "c5e1afe08517fe59"}),
    "mdm-micro": ("ba780bcdb3c97954", {"r16": "c722df33a9442c7c", "r8": "2c9b3f8e6ad0ecfd"}),
    "mdm-nano": ("13f0865302bcc985", {"r64": "fbc2e948780c05d1", "r32": "0aafb8241cdd50ec", "r16": "b8ca8172c110c1b1"}),
    "mdm-nano.glyphs": (
        "10475b383abab547",
        {"r64": "58a685d7f65660bb", "r32": "9e7e52e30dbc6b72", "r16": "07e126590c37652d"},
    ),
    "mdm-nano.text": (
        "4344b4840dd1ea82",
        {"r64": "379034aed4f9b737", "r32": "d7047ed7c6fce0a4", "r16": "cc0201d4ccefc2f8"},
    ),
    "mdm-s64": ("5f9176d6b8c0ba1c", {"r64": "9c8b501ec0129088"}),
    "mdm-s64.in1k": ("e8c9cb34f76e1a2a", {"r64": "f51446cea8485ed9"}),
    "mdm-s256": ("4c46e52540e276cf", {"r256": "24f13d7cce2912a9", "r64": "9c8b501ec0129088"}),
    "mdm-s256.in1k": ("7f713e188221bb71", {"r256": "70d267e374aae527", "r64": "f51446cea8485ed9"}),
    "mdm-s1024": (
        "c58bdc4fd5cb3147",
        {"r1024": "ca185fc389f2d8b5", "r256": "24f13d7cce2912a9", "r64": "9c8b501ec0129088"},
    ),
    "mdm-s1024.in1k": (
        "dd7ae710293c04e4",
        {"r1024": "d79a3a0453fcbeae", "r256": "70d267e374aae527", "r64": "f51446cea8485ed9"},
    ),
    "mdm-nano-v": (
        "adb77a6b3a9b7592",
        {"r32f8": "3b2a4bf21ef8d139", "r16f8": "e568b340eddaf4fc", "r16": "fce9be0cca3dddd7"},
    ),
    "mdm-s64v": ("741beceed3d3ebcf", {"r64f16": "9816333ed67b1dc7", "r64": "9c8b501ec0129088"}),
    "mdm-s256v": (
        "88ec499124a3de0e",
        {"r256f16": "f98e5cde64933788", "r64f16": "9816333ed67b1dc7", "r64": "9c8b501ec0129088"},
    ),
    "resunet-s64": ("c98a0e39a0edbff1", {"r64": "304e86d87600a866"}),
    "triple-n32": (
        "936dde9fdf2fa4a5",
        {"r32": "05aae039e6b84c7b", "r16": "2645c607eeb22920", "r8": "8f00080cef498586"},
    ),
    "unet-s64": ("5f9176d6b8c0ba1c", {"r64": "9c8b501ec0129088"}),
    "unet-s64.in1k": ("e8c9cb34f76e1a2a", {"r64": "f51446cea8485ed9"}),
    "unet-s256": ("9162fe8984b6231a", {"r256": "57d791f466a85d6d"}),
    "unet-s256.in1k": ("6ae3511b54502585", {"r256": "5f949192c6b14e42"}),
    "unetpp-n64": ("61533eb35ab03389", {"r64": "2d219f9617f5ed4f"}),
    "unetpp-s64": ("717f77679554a310", {"r64": "217ac1a158d1028d"}),
}


def test_no_entry_is_left_out():
    assert sorted(HASHES) == sorted(zoo.list())


@pytest.mark.parametrize("name", HASHES)
def test_hashes(name):
    entry = zoo.get(name)
    assert (entry.hash, entry.architecture.graph_hashes) == HASHES[name]
    assert entry.graph_hash == next(iter(HASHES[name][1].values()))
