"""Models and transforms of torchvision and timm by name, read from their source: importing them would import torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from trainer.errors import did_you_mean

Arguments = Mapping[str, bool]  # name of an argument → whether it must be given

_BUILDER = re.compile(r"^@register_model(?:\(\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_NEEDS_MORE = {
    **dict.fromkeys(("MixUp", "CutMix"), "mixes the images of a batch: use training.mixing"),
    **dict.fromkeys(("FiveCrop", "TenCrop"), "makes several images of one"),
    **dict.fromkeys(("ToPILImage", "PILToTensor", "ToTensor"), "is about another kind of image: these are tensors"),
    "Lambda": "takes code, which a configuration cannot hold",
    "LinearTransformation": "takes a matrix of all pixels",
    "UniformTemporalSubsample": "is about videos",
}
_ABOUT_OTHER_THINGS = re.compile(r"BoundingBox|KeyPoint|ClampingMode|IoUCrop")


@cache
def backbone_names(package: str) -> frozenset[str]:
    """The classification models of `torchvision` or `timm`."""
    files = (_folder(package) / "models").glob("*.py")
    return frozenset(name for path in files for name in _BUILDER.findall(path.read_text(encoding="utf-8")))


def no_backbone(package: str, name: str) -> str:
    """The message for a model name that a package does not have, with the nearest one that it has."""
    nearest = did_you_mean(name.partition(".")[0], backbone_names(package))
    return f"{package} has no classification model {name}{nearest}"


@cache
def transform_arguments() -> Mapping[str, Arguments]:
    """The transforms of `torchvision.transforms.v2`, each with the arguments that it takes."""
    folder = _folder("torchvision") / "transforms" / "v2"
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    classes = {node.name: node for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)}
    public = [
        alias.name
        for node in trees["__init__"].body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    ]
    return {
        name: _arguments(name, classes)
        for name in public
        if "Transform" in list(_bases(name, classes))[1:] and not unfit(name)
    }


def unfit(name: str) -> str:
    """Why one of torchvision's transforms cannot stand in a list; empty where it can."""
    if _ABOUT_OTHER_THINGS.search(name):
        return "is about boxes and points"
    return _NEEDS_MORE.get(name, "")


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is a dependency"  # noqa: PT018
    return Path(spec.origin).parent


def _bases(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    """A class and its base classes, as far as they are in the package."""
    yield name
    for base in classes[name].bases if name in classes else ():
        if isinstance(base, ast.Name):
            yield from _bases(base.id, classes)


def _arguments(name: str, classes: Mapping[str, ast.ClassDef]) -> Arguments:
    """The arguments of the first constructor among a class and its bases."""
    for owner in _bases(name, classes):
        for node in classes[owner].body if owner in classes else ():
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                plain = node.args.args[1:]
                first_default = len(plain) - len(node.args.defaults)
                needed = {argument.arg: place < first_default for place, argument in enumerate(plain)}
                keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                return needed | {argument.arg: default is None for argument, default in keywords}
    return {}
