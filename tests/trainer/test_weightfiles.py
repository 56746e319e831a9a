"""Files and folders of weights: what can be told of them before anything runs, and what is said of unreadable ones."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from classification_parts import tiny_classification
from detection_parts import tiny_detection
from diffusion_parts import tiny_diffusion
from safetensors.torch import save_file
from trainer_parts import tiny

from trainer.api import ConfigError, DataError, check_data, try_out
from trainer.checkpoints.weight_files import require_model, require_weights
from trainer.checkpoints.weights import read_weights
from trainer.errors import first_line

STATE = {"layer.weight": torch.ones(2)}


def test_whatever_pytorch_and_safetensors_write_is_taken(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "zip.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "x.safetensors")
    for path in tmp_path.iterdir():
        require_weights("model.weights", path)
        assert torch.equal(read_weights(path, STATE).fitted(STATE)["layer.weight"], STATE["layer.weight"])
    require_weights("model.weights", None)


@pytest.mark.parametrize("name", ["table.csv", "w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"image,label\n1.png,a\n", b""])
def test_a_file_of_something_else_is_refused_before_anything_runs(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_data(tiny_classification(tmp_path / "run", model__weights=str(tmp_path / name)))
    assert str(caught.value).startswith(f"{tmp_path / name}: not a file of weights (model.weights): ")


def test_advice_to_load_what_may_run_code_is_not_passed_on(tmp_path: Path) -> None:
    torch.save({"a": datetime.timedelta(1)}, tmp_path / "code.pth")
    (tmp_path / "odd.pth").write_bytes(b"\x80\x02 nothing")
    (tmp_path / "text.pth").write_bytes(b"nothing")
    for name, words in (
        ("code.pth", "it holds datetime.timedelta, which may run code"),
        ("odd.pth", "its content is not what torch.save writes"),
        ("text.pth", "its content is not what torch.save writes"),
    ):
        with pytest.raises(DataError) as caught:
            read_weights(tmp_path / name, STATE)
        assert str(caught.value).startswith(f"{tmp_path / name}: not a file of weights ({words})")
        assert ("torch.save(model.state_dict(), FILE)" in str(caught.value)) == (name == "code.pth")
    assert first_line(pickle.UnpicklingError("one\ntwo")) == "one"


MODEL = {f"layer{n}.{name}": torch.full((n, 2), float(n)) for n in (1, 2) for name in ("weight", "bias")}
MODEL |= {"head.weight": torch.ones(3, 2), "layer1.num_batches_tracked": torch.tensor(7)}
OTHER = {name: torch.zeros_like(value) for name, value in MODEL.items()}
ADAM = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def named(prefix: str, state: dict[str, torch.Tensor] = MODEL) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


WRAPPED: dict[str, Any] = {
    "model": {"model": MODEL, "epoch": 3, "optimizer": ADAM},
    "state_dict": {"state_dict": MODEL},
    "model_state_dict": {"optimizer_state_dict": ADAM, "model_state_dict": MODEL},
    "net": {"net": named("module.")},
    "parallel": {"state_dict": named("module.")},
    "lightning": {"state_dict": named("model.") | {"loss.weight": torch.ones(2)}, "hyper_parameters": {"lr": 0.1}},
    "several": {"checkpoint": {"model": named("module.model.backbone.")}},
    "compiled": {"model": named("_orig_mod.")},
    "compiled inside": {"model": {name.replace("layer1", "layer1._orig_mod"): v for name, v in MODEL.items()}},
    "backbone": {"meta": {"a": 1}, "state_dict": named("backbone.") | {"neck.weight": torch.ones(2)}},
    "encoder": named("encoder."),
    "averaged": {"model": OTHER, "model_ema": MODEL},
    "averaged inside": {"state_dict": OTHER, "ema": {"module": named("module.")}},
    "averaged of PyTorch": {"n_averaged": torch.tensor(4), **named("module.")},
    "teacher": {"student": named("backbone.", OTHER), "teacher": named("backbone.")},
    "contrast": {"state_dict": {**named("module.encoder_q."), **named("module.encoder_k.", OTHER)}},
    "without counters": {name: value for name, value in MODEL.items() if "num_batches" not in name},
    "a mask that is no layer": MODEL | {"layer1.mask": torch.ones(2)},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_weights_are_taken_out_of_their_wrappers(kind: str, tmp_path: Path) -> None:
    torch.save(WRAPPED[kind], tmp_path / "last.pth.tar")
    taken = read_weights(tmp_path / "last.pth.tar", MODEL).fitted(MODEL)
    assert all(torch.equal(taken[name], MODEL[name]) for name in taken)
    assert taken.keys() >= MODEL.keys() - {"layer1.num_batches_tracked"}


def test_a_head_of_other_classes_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    torch.save({"model": named("module.")}, tmp_path / "w.pth")
    wanted = MODEL | {"head.weight": torch.ones(5, 2)}
    found = read_weights(tmp_path / "w.pth", wanted)
    assert found.fitted(wanted, ["head.weight"]).keys() == MODEL.keys() - {"head.weight"}
    with pytest.raises(DataError, match=r"1 entry of another size: head\.weight is 3×2, not 5×2;"):
        found.fitted(wanted)


def test_what_does_not_fit_is_told_with_what_the_file_holds(tmp_path: Path) -> None:
    deeper = MODEL | {"layer2.3.weight": torch.ones(2)}
    for state, words in (
        (deeper, "1 entry unknown: layer2.3.weight; the file holds 7 tensors such as layer1.weight 1×2, "),
        ({"state_dict": {"conv.weight": torch.ones(4, 3)}, "epoch": 2},
         "5 entries missing: layer1.weight, layer1.bias, layer2.weight, …; the file holds state_dict, 1 tensor such as "
         "conv.weight 4×3 and the keys epoch; wanted are 6 tensors such as layer1.weight 1×2"),
        ([1, 2], "the file holds a list in place of tensors by name; wanted are"),
        ({}, "the file holds nothing; wanted are"),
        ({"epoch": 3}, "the file holds the keys epoch; wanted are"),
    ):  # fmt: skip
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(DataError) as caught:
            read_weights(tmp_path / "w.pth", MODEL).fitted(MODEL)
        assert str(caught.value).startswith(f"{tmp_path / 'w.pth'}: weights of another model")
        assert words in str(caught.value)


def test_weights_that_do_not_fit_are_told_before_anything_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv.weight": torch.ones(4, 3)}}, tmp_path / "w.pth")
    for config in (
        tiny_classification(tmp_path / "run", model__weights=str(tmp_path / "w.pth")),
        tiny(tmp_path / "run", model__weights=str(tmp_path / "w.pth")),
    ):
        with pytest.raises(ConfigError, match=r"w\.pth: weights of another model"):
            try_out(config)


def test_a_folder_and_a_pointer_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
    with pytest.raises(DataError, match=r"w\.pth: only a pointer of Git LFS \(model\.weights\)"):
        require_weights("model.weights", tmp_path / "w.pth")
    with pytest.raises(DataError, match=r": a folder; model\.weights names one file"):
        require_weights("model.weights", tmp_path)


def saved(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_model_is_a_hubs_name_or_a_folder_that_holds_one(tmp_path: Path) -> None:
    for name in ("openai/clip-vit-large-patch14", "gpt2", str(saved(tmp_path / "top"))):
        require_model("model.pretrained", name)
    several = saved(tmp_path / "several" / "vae").parent
    require_model("key", str(several), None, "vae")
    require_model("key", str(several), "vae")
    (several / "vae" / "model.safetensors").rename(several / "vae" / "model.txt")
    with pytest.raises(DataError, match=r"several/vae: no weights in it \(\.safetensors, \.bin\), so no saved model"):
        require_model("key", str(several), "vae")


@pytest.mark.parametrize("name", ["/nope/folder", "./nope", "../nope", "~/nope"])
def test_a_path_without_a_folder_is_no_hubs_name(name: str) -> None:
    with pytest.raises(DataError) as caught:
        require_model("model.pretrained", name)
    assert str(caught.value) == f"{name}: no such folder (model.pretrained)"


@pytest.mark.parametrize("section", ["vae", "text_encoder"])
def test_the_published_parts_of_a_diffusion_run(section: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model" / "inner").parent

    def checked(**more: Any) -> None:
        check_data(tiny_diffusion(tmp_path / "run", **{f"{section}__{key}": value for key, value in more.items()}))

    checked(type="pretrained", pretrained_model_name=str(folder), subfolder="inner")
    checked(type="builtin", pretrained_model_name=str(folder))
    with pytest.raises(DataError, match=rf"model/{section}: no config\.json in it"):
        checked(type="pretrained", pretrained_model_name=str(folder))
    with pytest.raises(DataError, match=r"model/other: no config\.json in it"):
        checked(type="pretrained", pretrained_model_name=str(folder), subfolder="other")


def test_all_that_is_not_where_it_is_said_to_be_is_said_at_once(tmp_path: Path) -> None:
    named = {f"{section}__pretrained_model_name": "./gone" for section in ("vae", "text_encoder")}
    kinds = {f"{section}__type": "pretrained" for section in ("vae", "text_encoder")}
    frechet = {"metrics__frechet_backbone": "resnet18", "metrics__frechet_weights": str(tmp_path / "gone.pth")}
    with pytest.raises(DataError) as caught:
        check_data(tiny_diffusion(tmp_path / "run", **named, **kinds, **frechet))
    for key in ("vae.pretrained_model_name", "text_encoder.pretrained_model_name", "metrics.frechet_weights"):
        assert f"({key})" in str(caught.value)


def test_the_saved_model_of_a_detector(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder \(model\.pretrained\)"):
        check_data(tiny_detection(tmp_path / "run", model__pretrained=str(tmp_path / "gone")))
