"""The section of a card that tells how to use an entry, an entry in a file, or the weights of a run."""

from __future__ import annotations

from registry.publishing.markdown import code, literal, python_string, shell_word
from registry.publishing.subject import Subject

__all__ = ["how_to_use"]

USE = """\
import zoo

entry = zoo.get({use})
print(entry.card().parameters)
model = entry.build(device="meta")  # or "cpu", "cuda"
"""
SAMPLE = """\
import zoo

{whats} = zoo.sample({use}{conditions}, sampler="dpm++", num_inference_steps={steps})
for number, {what} in enumerate({whats}["{label}"]):  # {returned}
    {what}.save(f"sample-{{number}}.{suffix}")
"""
#: What the outermost level generates: its words in the example, and the name of the output on the command line.
IMAGES = {"what": "image", "whats": "images", "suffix": "png", "returned": "a list of PIL images for each level"}
CLIPS = {"what": "clip", "whats": "clips", "suffix": "mp4", "returned": "for each level a list of clips or images"}


def how_to_use(subject: Subject) -> str:
    """Return the section "How to use", with commands and Python that name the entry, its file or its weights."""
    if subject.use is None:
        return f"## How to use\n\n{_unsaved(subject)}\n"
    if subject.weights is None:
        python = literal(USE.format(use=python_string(subject.use)), "python")
        return f"## How to use\n\n{python}\nIts weights are random until you train it: see Training.\n"
    graph = subject.entry.architecture
    conditions, command = ", n=2", ""
    if graph.text is not None:
        conditions, command = ', prompts=["a red heart", "a smiling cat"], n=1', ' --prompt "a red heart"'
    elif graph.classes is not None:
        conditions = f", classes={list(range(min(2, graph.classes)))}, n=1"
    facts = {"conditions": conditions, "label": graph.labels[0], "steps": min(20, graph.process.steps)}
    clips = graph.frames > 1
    facts |= CLIPS if clips else IMAGES
    python = SAMPLE.format(use=python_string(subject.use), **facts)
    shell = f"zoo sample {shell_word(subject.use)}{command} -o {'samples' if clips else 'samples.png'}"
    return f"## How to use\n\n{literal(shell, 'sh')}\nor in Python:\n\n{literal(python, 'python')}"


def _unsaved(subject: Subject) -> str:
    """Return how to use an entry that is in no file: one that was changed by overrides, or read from text."""
    name = subject.entry.name
    if subject.entry.sources:
        command = code(f"zoo expand {name} --set PATH=VALUE > {name}-changed.yaml")
        return f"This is {code(name)} with changes that no file has. Save it under another name ({command})."
    file, use = f"{name}.yaml", f"zoo.get('{name}.yaml')"
    return f"Save its spec as {code(file)} and use the file: {code(use)}."
