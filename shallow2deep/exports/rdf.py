"""Writes the description of a package, rdf.yaml, and its documentation.

The description is written without bioimageio.spec, in a form that the versions inside today's ilastik read:
documentation and covers are plain strings, which newer versions of the library do not write any more.
"""

import hashlib
import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from shallow2deep.errors import InputError
from shallow2deep.exports.description import TAG
from shallow2deep.exports.tiling import FORMAT_VERSION, Tiling
from shallow2deep.exports.weights import OPSET, arguments
from shallow2deep.networks.model import ModelSpec
from shallow2deep.settings import AuthorSettings, CitationSettings

# known to every version of the specification since 0.5.4; other terms are written out in the documentation
LICENCES = (
    "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0",
    "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
    "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "Unlicense",
)  # fmt: skip


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of its model, apart from what follows from the network.

    Attributes:
        name: 5 to 128 letters, digits, blanks and any of `_+-()`.
        description: one sentence or two, at most 1024 characters.
        licence: an SPDX id, or the terms in words. Words become a section of the documentation and the
            package states no licence, with which ilastik 1.4.1 cannot open it; 1.4.2 can.
        documentation: Markdown; it should have a section "Validation".
        record: how the model came to be: free JSON, kept as config.shallow2deep.
    """

    name: str
    description: str
    authors: tuple[AuthorSettings, ...]
    licence: str
    cite: tuple[CitationSettings, ...]
    tags: tuple[str, ...]
    documentation: str
    git_repo: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


def problem_of_info(info: PackageInfo) -> str | None:
    """What bioimage.io would not accept."""
    if not re.fullmatch(r"[A-Za-z0-9_+\- ()]{5,128}", info.name):
        return (
            f"the name {info.name!r} is not 5 to 128 letters, digits, blanks and _+-(); set package.title to "
            "one that is"
        )
    if len(info.description) > 1024:
        return f"a description of {len(info.description)} characters came; give at most 1024"
    if not info.authors or not info.cite:
        return "at least one author and one citation are needed; give them"
    for author in info.authors:
        if not author.name or re.search(r"[/\\]", author.name):
            return f"the author's name {author.name!r} is empty or has a slash; give another one"
        if author.orcid and not _is_orcid(author.orcid):
            return f"{author.orcid!r} is no ORCID iD; give one such as 0000-0002-1825-0097, or none"
    for citation in info.cite:
        if not citation.url and not re.match(r"10\.\d{4}.", citation.doi or ""):
            return f'the citation "{citation.text:.80}" needs a DOI such as 10.1234/abc, or a URL'
    return None


def _is_orcid(text: str) -> bool:
    """Whether the last digit is the checksum of the others (ISO 7064, mod 11-2)."""
    if not re.fullmatch(r"(\d{4}-){3}\d{3}[\dX]", text):
        return False
    total = 0
    for digit in text.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    return text[-1] == "0123456789X"[(12 - total % 11) % 11]


def documentation(info: PackageInfo) -> str:
    """The text of README.md; terms that are no known licence are a section of it."""
    text = info.documentation.rstrip() + "\n"
    return text if info.licence in LICENCES else f"{text}\n## Terms of use\n\n{info.licence}\n"


def rdf_of(model: nn.Module, spec: ModelSpec, info: PackageInfo, files: Mapping[str, bytes]) -> dict:
    """The content of rdf.yaml."""

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    tags = (TAG, *info.tags) if spec.kind == "enhancer" else info.tags
    return {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": info.name,
        "description": info.description,
        "authors": [author.model_dump(exclude_none=True) for author in info.authors],
        "cite": [citation.model_dump(exclude_none=True) for citation in info.cite],
        **({"license": info.licence} if info.licence in LICENCES else {}),
        **({"git_repo": info.git_repo} if info.git_repo else {}),
        "tags": list(dict.fromkeys(tags)),
        "documentation": "README.md",
        "covers": ["cover.png"],
        **_tensors(model, spec, file),
        "weights": _weights(model, spec, files, file),
        "config": {"shallow2deep": {**info.record, "model": spec.to_dict()}},
    }


def _tensors(model: nn.Module, spec: ModelSpec, file: Callable[[str], dict[str, str]]) -> dict[str, list]:
    """The parts "inputs" and "outputs"."""
    tiling = Tiling.of(model)
    base = "probability" if spec.kind == "enhancer" else "raw"
    names = [base] if spec.in_channels == 1 else [f"{base}{i}" for i in range(spec.in_channels)]
    axes = [*zip("zyx"[-spec.ndim :], tiling.min, tiling.step, tiling.halo, strict=True)]
    free = {axis: {"size": {"min": least, "step": step}} for axis, least, step, _ in axes}
    cut = {axis: {"halo": halo, "size": {"tensor_id": "input", "axis_id": axis}} for axis, _, _, halo in axes}
    probability = {"type": "float32", "range": [0.0, 1.0]}
    return {
        "inputs": [
            {
                "id": "input",
                "axes": _axes(names, free),
                "data": probability if spec.kind == "enhancer" else {"type": "float32"},
                "test_tensor": file("test_input.npy"),
            }
        ],
        "outputs": [
            {
                "id": "output",
                "axes": _axes([_identifier(output.title) for output in spec.outputs], cut),
                "data": probability,
                "test_tensor": file("test_output.npy"),
            }
        ],
    }


def _axes(channels: list[str], sizes: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    space = [{"type": "space", "id": axis, **size} for axis, size in sizes.items()]
    return [{"type": "batch"}, {"type": "channel", "channel_names": channels}, *space]


def _identifier(name: str) -> str:
    """The nearest name that the specification accepts for a channel."""
    word = re.sub(r"\W", "_", name)
    return word if word.isidentifier() and not keyword.iskeyword(word) else f"_{word}"


def _weights(
    model: nn.Module, spec: ModelSpec, names: Iterable[str], file: Callable[[str], dict[str, str]]
) -> dict[str, dict[str, Any]]:
    version = {"pytorch_version": torch.__version__.partition("+")[0]}
    converted = {"parent": "pytorch_state_dict"}
    architecture = {
        **file("architecture.py"),
        "callable": type(model).__name__,
        "kwargs": arguments(spec),
    }
    weights: dict[str, dict[str, Any]] = {
        "pytorch_state_dict": {**file("weights.pt"), **version, "architecture": architecture}
    }
    if "torchscript.pt" in names:
        weights["torchscript"] = {**file("torchscript.pt"), **version, **converted}
    if "model.onnx" in names:
        weights["onnx"] = {**file("model.onnx"), **converted, "opset_version": OPSET}
    return weights


def plain(rdf: dict[str, Any]) -> dict[str, Any]:
    """`rdf` of lists, mappings, texts and numbers only.

    Raises:
        InputError: a record that is not JSON.
    """
    try:
        return json.loads(json.dumps(rdf, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the record of the model is not plain JSON ({error}); leave that part out"
        ) from None
