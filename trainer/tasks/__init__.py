"""The built-in tasks, one folder each; `trainer/config/registry.py` names them."""
