"""The frozen parts: published ones from folders, the built-in autoencoder, and what is kept of both."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusion_parts import save_clip, save_vae, tiny_diffusion, write_captions, write_custom
from trainer_parts import same, session_of, trained, training_state

import trainer.store.image_cache
from trainer.api import CheckpointError, ConfigError, DataError, Hooks, Outcome, cache_dir, evaluate, try_out
from trainer.checkpoints.files import LAST
from trainer.learning import randomness
from trainer.run.run import task_for
from trainer.tasks.diffusion import published_parts, tinyvae
from trainer.tasks.diffusion.autoencoder import (
    SCALE_1,
    STABLE_DIFFUSION_1,
    Autoencoder,
    _place,
    pretrained_autoencoder,
)
from trainer.tasks.diffusion.config_parts import VaeSettings
from trainer.tasks.diffusion.files import read_table
from trainer.tasks.diffusion.text import FrozenText, pretrained_text

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache folder, and a process that has opened nothing yet."""
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer.store.image_cache, "KEPT", trainer.store.image_cache.KeptOpen())
    monkeypatch.setattr(published_parts, "LOADED", published_parts.Loaded())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides that name a tiny autoencoder and a tiny CLIP in folders."""
    folder = tmp_path_factory.mktemp("published")
    return {
        "vae.type": "pretrained",
        "vae.pretrained_model_name": str(save_vae(folder / "vae")),
        "text_encoder.type": "pretrained",
        "text_encoder.pretrained_model_name": str(save_clip(folder / "clip")),
        "data.image_size": 32,
    }


def frozen(tmp_path: Path, published: dict[str, Any], **overrides: Any) -> Any:
    return tiny_diffusion(tmp_path, published, **overrides)


def losses(outcome: Outcome) -> list[float]:
    return [evaluation.metrics[name] for evaluation in outcome.evaluations for name in ("train_loss", "val_loss")]


def kept() -> dict[str, int]:
    return {kind: len(list((cache_dir() / kind).glob("*.rows"))) for kind in ("latents", "texts")}


def every_caption(tmp_path: Path, published: dict[str, Any]) -> list[str]:
    return [text for texts in read_table(frozen(tmp_path, published)).captions for text in texts]


@pytest.mark.parametrize("more", [
    {}, {"diffusion__caption_dropout": 0.5, "training__ema_decay": 0.9}, {"training__overfit": True},
    {"training__resize_schedule": [[1, 16], [2, 32]]}, {"evaluation__prompts": ["something else", "a thing"]},
])  # fmt: skip
def test_training_from_what_is_kept_is_training_with_the_frozen_parts(
    more: dict[str, Any], published: dict[str, Any], tmp_path: Path
) -> None:
    cached = trained(frozen(tmp_path / "kept", published, **more))
    assert kept()["texts"] == 1
    assert kept()["latents"] == (2 if "training__resize_schedule" in more else 1)
    fresh = trained(frozen(tmp_path / "fresh", published, **more, data__cache_gb=0.0))
    assert losses(cached) == pytest.approx(losses(fresh), rel=1e-5)
    one, other = (training_state(tmp_path / name)["model"] for name in ("kept", "fresh"))
    for name in one:
        assert torch.allclose(one[name], other[name], atol=1e-4), name


def test_batches_hold_what_the_frozen_parts_make_of_them(published: dict[str, Any], tmp_path: Path) -> None:
    batches = []
    for cache_gb in (1.0, 0.0):
        with session_of(frozen(tmp_path, published, data__cache_gb=cache_gb)) as session:
            task: Any = session.run.task
            batches.append([*session.run.loaders.train, *session.run.loaders.val])
    for known, plain in zip(*batches, strict=True):
        assert "images" not in known
        assert "captions" not in known
        expected = task.frozen.autoencoder().encode(plain["images"])
        assert torch.allclose(known["latents"].float(), expected.float(), rtol=2e-3, atol=1e-3)
        vectors = task.frozen.text().encode(plain["captions"], CPU)
        assert torch.allclose(known["vectors"].float(), vectors.float(), rtol=2e-3, atol=1e-3)
        for name in ("levels", "noise", "weight"):
            assert same(known[name], plain[name])


def test_the_frozen_parts_run_once_for_all_epochs_and_runs(
    published: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[int] = []
    captions: list[int] = []
    encode, encode_text = Autoencoder.encode, FrozenText.encode
    monkeypatch.setattr(Autoencoder, "encode", lambda self, x: [images.append(len(x)), encode(self, x)][1])
    monkeypatch.setattr(FrozenText, "encode", lambda self, x, d: [captions.append(len(x)), encode_text(self, x, d)][1])
    said: list[str] = []
    for number, rate in enumerate((1e-3, 2e-3)):
        trained(frozen(tmp_path / str(number), published, training__optimizer__lr=rate), hooks=Hooks(say=said.append))
    assert sum(images) == 24 + 1, "each image once, and one for the shape"
    assert sum(captions) == len(set(every_caption(tmp_path, published)) | {""}) + 1
    assert len([line for line in said if "latents of 24 rows computed" in line]) == 1
    assert len([line for line in said if line.startswith("vectors of ") and "captions computed" in line]) == 1
    assert kept() == {"latents": 1, "texts": 1}


def test_other_weights_scale_or_length_are_kept_apart(published: dict[str, Any], tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"vae__scaling_factor": 0.25},
        {"text_encoder__max_length": 9},
        {"vae__pretrained_model_name": str(save_vae(tmp_path / "other", seed=1))},
    ]
    for number, change in enumerate([*changes, {}]):
        with session_of(frozen(tmp_path / str(number), published, **change)):
            pass
    assert kept() == {"latents": 3, "texts": 2}


def changed_json(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def other_words(folder: Path) -> None:
    """Another tokenizer for the same weights: the numbers of two letters are exchanged."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "change", "apart"),
    [
        ("vae", partial(changed_json, norm_num_groups=8), {"latents": 2, "texts": 1}),
        ("text", partial(changed_json, hidden_act="gelu"), {"latents": 1, "texts": 2}),
        ("text", other_words, {"latents": 1, "texts": 2}),
        ("text", partial(changed_json, transformers_version="0"), {"latents": 1, "texts": 1}),
    ],
    ids=["another autoencoder", "another text model", "another tokenizer", "another version of the library"],
)  # fmt: skip
def test_the_same_weights_in_another_network_or_with_other_words_are_another_part(
    part: str, change: Any, apart: dict[str, int], tmp_path: Path
) -> None:
    folders = {"vae": save_vae(tmp_path / "vae"), "text": save_clip(tmp_path / "clip")}
    published = {
        "vae.type": "pretrained", "vae.pretrained_model_name": str(folders["vae"]), "data.image_size": 32,
        "text_encoder.type": "pretrained", "text_encoder.pretrained_model_name": str(folders["text"]),
    }  # fmt: skip
    trained(frozen(tmp_path / "run", published), until=1)
    change(folders[part])
    trained(frozen(tmp_path / "again", published), until=1)
    assert kept() == apart
    if apart != {"latents": 1, "texts": 1}:
        with pytest.raises(CheckpointError, match="trained with other weights"):
            evaluate(tmp_path / "run" / LAST, {}, everything=False)


def test_where_there_is_no_room_the_frozen_parts_run_in_every_epoch(published: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    outcome = trained(frozen(tmp_path / "run", published, data__cache_gb=1e-5), hooks=Hooks(say=said.append))
    assert outcome.ending == "finished"
    assert any("its latents are not cached" in line for line in said)
    assert any("its vectors are not cached" in line for line in said)


def test_checkpoints_leave_published_weights_out_and_refuse_others(published: dict[str, Any], tmp_path: Path) -> None:
    trained(frozen(tmp_path / "run", published))
    state = training_state(tmp_path / "run")
    assert state["extras"]["vae"] is None
    assert set(state["extras"]["weights"]) == {"vae", "text_encoder"}
    assert all("text" not in name and "vae" not in name for name in state["model"] if "context" not in name)
    assert evaluate(tmp_path / "run" / LAST, {}, everything=False)["val_loss"] == pytest.approx(
        state["history"][-1]["metrics"]["val_loss"], rel=1e-4
    )
    other = {"vae.pretrained_model_name": str(save_vae(tmp_path / "other", seed=1))}
    with pytest.raises(CheckpointError, match=r"other weights than those of vae\.pretrained_model_name"):
        evaluate(tmp_path / "run" / LAST, other, everything=False)


def test_slicing_decodes_one_at_a_time_and_alike(published: dict[str, Any], tmp_path: Path) -> None:
    plain = pretrained_autoencoder(frozen(tmp_path, published).vae, 4)
    assert not plain.net.use_slicing
    latents = torch.randn(3, 4, 2, 2)
    whole = plain.decode(latents)
    sliced = pretrained_autoencoder(frozen(tmp_path, published, vae__use_slicing=True).vae, 4)
    assert sliced.net.use_slicing
    assert int((sliced.decode(latents).int() - whole.int()).abs().max()) <= 1


def test_a_scale_that_is_not_said_is_the_autoencoder_s(published: dict[str, Any], tmp_path: Path) -> None:
    images = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    own = pretrained_autoencoder(frozen(tmp_path, published).vae, 4)
    double = pretrained_autoencoder(frozen(tmp_path, published, vae__scaling_factor=1.0).vae, 4)
    assert (own.scaling, double.scaling) == (0.5, 1.0)
    assert torch.allclose(double.encode(images), 2 * own.encode(images), rtol=1e-2)
    assert torch.equal(double.decode(double.encode(images)), own.decode(own.encode(images)))


def test_models_in_subfolders_are_found(published: dict[str, Any], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    save_vae(whole / "vae")
    save_clip(whole / "text_encoder")
    (whole / "tokenizer").mkdir()
    for path in (whole / "text_encoder").glob("*"):
        if "token" in path.name or path.name in ("vocab.json", "merges.txt"):
            path.rename(whole / "tokenizer" / path.name)
    (whole / "tokenizer" / "config.json").write_text((whole / "text_encoder" / "config.json").read_text())
    names = {"vae__pretrained_model_name": str(whole), "text_encoder__pretrained_model_name": str(whole)}
    config = frozen(tmp_path, published, **names)
    assert (
        pretrained_autoencoder(config.vae, 4).digest
        == pretrained_autoencoder(frozen(tmp_path, published).vae, 4).digest
    )
    one, other = (pretrained_text(each.text_encoder) for each in (config, frozen(tmp_path, published)))
    assert torch.equal(one.encode(["a thing"], CPU), other.encode(["a thing"], CPU))


def test_a_text_is_zero_behind_its_end_and_cut_at_its_length(published: dict[str, Any], tmp_path: Path) -> None:
    found = pretrained_text(frozen(tmp_path, published, text_encoder__max_length=6).text_encoder)
    vectors = found.encode(["", "ab", "many words here"], CPU)
    assert vectors.shape == (3, 6, 24)
    assert vectors.ne(0).any(-1).sum(1).tolist() == [2, 4, 6]


def test_withdrawn_repositories_are_found_at_their_mirrors() -> None:
    assert STABLE_DIFFUSION_1["runwayml/stable-diffusion-v1-5"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert SCALE_1 == 0.18215
    repacked = VaeSettings(pretrained_model_name="stabilityai/sd-vae-ft-mse-original")
    assert _place(repacked) == ("stabilityai/sd-vae-ft-mse", {})


def test_a_mirror_is_asked_in_place_of_what_was_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def refuse(name: str, **options: Any) -> None:
        asked.append((name, options))
        raise OSError("We couldn't connect")

    monkeypatch.setattr("trainer.tasks.diffusion.autoencoder.AutoencoderKL.from_pretrained", refuse)
    config = tiny_diffusion(
        tmp_path, vae__type="pretrained", vae__pretrained_model_name="runwayml/stable-diffusion-v1-5"
    )
    with pytest.raises(ConfigError) as caught:
        pretrained_autoencoder(config.vae, 4)
    mirror = ("stable-diffusion-v1-5/stable-diffusion-v1-5", {"subfolder": "vae"})
    assert asked == [(mirror[0], {"local_files_only": True, **mirror[1]}), mirror]
    said = str(caught.value)
    assert said.startswith("vae.pretrained_model_name: an autoencoder could not be loaded from runwayml/")
    for words in ("We couldn't connect", "vae.pretrained_model_name=FOLDER", "vae.type=builtin"):
        assert words in said


def test_a_hub_that_is_silent_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute goes by before the library gives up; the next part and the next trial need not wait for it too."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[bool] = []

    def silent(*_names: str, **options: Any) -> None:
        asked.append(not options.get("local_files_only", False))
        try:
            raise LocalEntryNotFoundError("nobody there")
        except LocalEntryNotFoundError:
            raise OSError("it does not appear to have a file named config.json") from None

    monkeypatch.setattr(published_parts, "LOADED", published_parts.Loaded())
    monkeypatch.setattr("trainer.tasks.diffusion.autoencoder.AutoencoderKL.load_config", silent)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", silent)
    published = {"vae.type": "pretrained", "text_encoder.type": "pretrained", "data.image_size": 32}
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            try_out(frozen(tmp_path, published))
        assert [problem.where for problem in caught.value.problems] == [
            "vae.pretrained_model_name",
            "text_encoder.pretrained_model_name",
        ]
        assert str(caught.value).count("the hub cannot be reached, and it is not in its cache") == 2
    assert asked == [False, True, False, False, False], "the cache, the hub; then the cache of the rest"


def test_what_does_not_fit_is_known_without_a_weight(published: dict[str, Any], tmp_path: Path) -> None:
    """Before a study is made, from the descriptions alone."""
    try_out(frozen(tmp_path, published))
    cases = {
        "vae.pretrained_model_name": (
            str(save_vae(tmp_path / "wide", channels=16)),
            "model.in_channels: is 4, but the",
        ),
        "text_encoder.max_length": (21, "text_encoder.max_length: 21 is more than the 20 tokens that"),
        "text_encoder.pretrained_model_name": (published["vae.pretrained_model_name"], "text_encoder.pretrained_model"),
    }
    for key, (value, words) in cases.items():
        with pytest.raises(ConfigError, match=words):
            try_out(frozen(tmp_path, {**published, key: value}))
    changed_json(tmp_path / "wide", _class_name="UNet2DModel")
    with pytest.raises(ConfigError, match="wide is a UNet2DModel; the autoencoders that can be used are"):
        try_out(frozen(tmp_path, {**published, "vae.pretrained_model_name": str(tmp_path / "wide")}))


def test_what_is_in_a_folder_must_be_what_is_named(published: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        "vae__pretrained_model_name": (str(tmp_path / "empty"), "an autoencoder could not be loaded from"),
        "text_encoder__pretrained_model_name": (published["vae.pretrained_model_name"], "text_encoder.pretrained"),
        "model__in_channels": (8, r"is 8, but the latents of .* have 4 channels"),
        "text_encoder__max_length": (21, "21 is more than the 20 tokens"),
    }
    for key, (value, words) in cases.items():
        more = {"model__out_channels": 8} if key == "model__in_channels" else {}
        with pytest.raises(ConfigError, match=words):
            trained(frozen(tmp_path / "run", published, **{key: value}, **more))
    wrong = save_vae(tmp_path / "small", factor=4)
    with pytest.raises(ConfigError, match="has 4 pixels a side of a latent, not 8"):
        trained(frozen(tmp_path / "run", published, vae__pretrained_model_name=str(wrong)))


def vae_of(config: Any, files: list[Path], side: int = 16) -> tinyvae.Trained:
    return tinyvae.trained_vae(config.vae, config.model.in_channels, files, side, CPU)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    write_captions(tmp_path / "pictures")
    return sorted((tmp_path / "pictures" / "images").glob("*.png"))


def test_the_built_in_autoencoder_is_trained_once_and_drawn_from_nothing_else(
    pictures: list[Path], tmp_path: Path
) -> None:
    config = tiny_diffusion(tmp_path)
    before = randomness.capture()
    first = vae_of(config, pictures)
    assert same(randomness.capture(), before), "a run is the same whether or not it trained the autoencoder"
    again = vae_of(config, pictures)
    assert (first.seconds > 0.0, again.seconds) == (True, 0.0)
    assert same(dict(first.state), dict(again.state))
    (kept_file,) = (cache_dir() / "vae").glob("*.pt")
    kept_file.unlink()
    assert same(dict(vae_of(config, pictures).state), dict(first.state)), "the same again from nothing"


@pytest.mark.parametrize("change", [
    {"vae__downsample_factor": 8}, {"vae__width": 16}, {"vae__train_steps": 4}, {"vae__batch_size": 3},
    {"vae__lr": 1e-4}, {"vae__kl_weight": 0.5}, {"vae__seed": 1}, {"model__in_channels": 3, "model__out_channels": 3},
])  # fmt: skip
def test_each_setting_of_the_built_in_autoencoder_has_its_effect(
    change: dict[str, Any], pictures: list[Path], tmp_path: Path
) -> None:
    plain, other = (vae_of(tiny_diffusion(tmp_path, **each), pictures) for each in ({}, change))
    assert not same(dict(plain.state), dict(other.state))
    assert len(list((cache_dir() / "vae").glob("*.pt"))) == 2


def test_other_images_or_sizes_are_other_autoencoders(pictures: list[Path], tmp_path: Path) -> None:
    config = tiny_diffusion(tmp_path)
    for files, side in ((pictures, 16), (pictures[:5], 16), (pictures, 32)):
        vae_of(config, files, side)
    assert len(list((cache_dir() / "vae").glob("*.pt"))) == 3


def test_a_damaged_autoencoder_is_trained_again(pictures: list[Path], tmp_path: Path) -> None:
    config = tiny_diffusion(tmp_path)
    first = vae_of(config, pictures)
    (path,) = (cache_dir() / "vae").glob("*.pt")
    whole = path.read_bytes()
    for damaged in (whole[:-100], b"", b"no checksum", whole[:3000] + b"\0" + whole[3001:]):
        path.write_bytes(damaged)
        again = vae_of(config, pictures)
        assert again.seconds > 0.0
        assert same(dict(again.state), dict(first.state))
        assert path.read_bytes() == whole


def test_of_several_that_want_it_one_trains(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_diffusion(tmp_path, vae__train_steps=20)
    trainings: list[int] = []
    plain = tinyvae._trained
    monkeypatch.setattr(tinyvae, "_trained", lambda *given: [trainings.append(1), plain(*given)][1])
    found: list[tinyvae.Trained] = []
    threads = [threading.Thread(target=lambda: found.append(vae_of(config, pictures))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trainings) == 1
    assert len(found) == 3
    assert same(dict(found[0].state), dict(found[2].state))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_it_starts_from_the_principal_components_and_gets_better(
    factor: int, pictures: list[Path], tmp_path: Path
) -> None:
    images = np.stack([trainer.store.image_cache.decode(path, 16) for path in pictures])
    errors = []
    for steps in (1, 60):
        config = tiny_diffusion(tmp_path, data__image_size=16, model__patch_size=1,
                                vae__downsample_factor=factor, vae__train_steps=steps)  # fmt: skip
        task: Any = task_for(config)
        task.frozen.trained_on(pictures, None)
        autoencoder = task.frozen.autoencoder()
        latents = autoencoder.encode(torch.from_numpy(images))
        assert latents.shape == (10, 4, 16 // factor, 16 // factor)
        assert float(latents.float().square().mean().sqrt()) == pytest.approx(1.0, abs=0.02)
        decoded = autoencoder.decode(latents)
        assert decoded.dtype == torch.uint8
        errors.append(float((decoded.float() - torch.from_numpy(images).float()).abs().mean()))
    blind = float(np.abs(images - images.mean(axis=(0, 1, 2))).mean())
    assert errors[1] < errors[0] < blind


def test_a_rate_that_breaks_it_is_said(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vae\.lr: the built-in autoencoder came to nothing"):
        vae_of(tiny_diffusion(tmp_path, vae__lr=1e30), pictures)


def test_a_cache_folder_that_cannot_be_written_is_named(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUNGWISE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="the built-in autoencoder cannot be kept"):
        vae_of(tiny_diffusion(tmp_path), pictures)


def test_a_larger_rung_keeps_the_autoencoder_that_its_trial_began_with(tmp_path: Path) -> None:
    data = write_custom(tmp_path / "data", write_captions(tmp_path / "data"))
    with session_of(tiny_diffusion(tmp_path / "run", data)) as session:
        session.train(1, Hooks())
        before = session.run.task.extras()["vae"]
        session.climb(tiny_diffusion(tmp_path / "run", data, data__image_size=32), 2)
        session.train(2, Hooks())
        assert same(session.run.task.extras()["vae"], before)
        assert session.run.history[-1].rung == 2
