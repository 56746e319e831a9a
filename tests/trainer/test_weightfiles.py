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

from trainer.api import DataError, check_data
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
        assert torch.equal(read_weights(path)["layer.weight"], STATE["layer.weight"])
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
            read_weights(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: not a file of weights ({words})"
    assert first_line(pickle.UnpicklingError("one\ntwo")) == "one"


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
