"""YAML with three differences: `1e-4` is a number, a repeated key is an error, and nothing in a file can run code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import ConfigError, Problem

_FLOAT = re.compile(
    r"""^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"""
    r"""|[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"""
)


class _Loader(yaml.SafeLoader):
    """A loader that reads `1e-4` as a number; in YAML 1.1, which PyYAML follows, it has no dot and is a string."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml's where it is installed
    """A dumper that quotes text which `_Loader` would read as a number."""


for _side in (_Loader, _Dumper):
    _side.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *other` gives defaults, which the mapping's own keys may repeat
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is set twice, again in line {line}", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_repeats)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; `where` names it in the error."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise ConfigError([Problem(place, f"not valid YAML: {error.problem}")]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([Problem(where, f"not valid YAML: {error}")]) from None


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; every way in which it cannot be read is a `ConfigError` with its path."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "no such file")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "not UTF-8 text")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    return parse_yaml(text, str(path))


def dump_yaml(value: Any) -> str:
    """YAML that `parse_yaml` reads back to the same value, keys in the order given."""
    text = _dumped(value, allow_unicode=True)
    # Unicode's own line breaks are read back as other ones unless they are escaped.
    return _dumped(value, allow_unicode=False) if any(sign in text for sign in "\x85\u2028\u2029") else text


def _dumped(value: Any, allow_unicode: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, default_flow_style=None, width=110
    )
    return text
