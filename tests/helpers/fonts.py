"""Folders of npm packages with a font, as ``npm install`` leaves them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib

#: A font that is always there.
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
OFL = "Copyright 2020 The {} Authors\n\nThis Font Software is licensed ...\nSIL OPEN FONT LICENSE Version 1.1\nPREAMBLE"


def write_fonts(folder: Path, *names: str, weights: tuple[int, ...] = (400,), styles: tuple[str, ...] = ("normal",)):
    """Write packages ``@fontsource/NAME`` whose files are all the same font, and return the folder."""
    for name in names:
        package = folder / "node_modules" / "@fontsource" / name
        (package / "files").mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"version": "5.0.0"}))
        (package / "LICENSE").write_text(OFL.format(name))
        facts = {"id": name, "family": name.title(), "category": "serif", "weights": weights, "styles": styles}
        (package / "metadata.json").write_text(json.dumps(facts))
        for weight in weights:
            for style in styles:
                shutil.copy(FONT, package / "files" / f"{name}-latin-{weight}-{style}.woff")
    wanted = {f"@fontsource/{name}": "5.0.0" for name in names}
    (folder / "package.json").write_text(json.dumps({"dependencies": wanted}))
    return folder
