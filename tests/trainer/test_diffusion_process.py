"""Noise, what is predicted of it, sampling and guidance, held against the library's own formulas; and the denoiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusion_parts import tiny_diffusion

from trainer.learning.randomness import normals
from trainer.tasks.diffusion.config import DiffusionModel, NoiseSettings
from trainer.tasks.diffusion.config_parts import TextEncoderSettings
from trainer.tasks.diffusion.frechet import frechet_distance
from trainer.tasks.diffusion.model import Denoiser
from trainer.tasks.diffusion.process import NoiseProcess, guided, sampled_levels
from trainer.tasks.diffusion.text import LearnedText, Text

SMALL: dict[str, Any] = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_head_dim": 16, "dropout": 0.0}


def denoiser(side: int = 4, **changed: Any) -> Denoiser:
    torch.manual_seed(0)
    net = Denoiser(DiffusionModel(**{**SMALL, **changed}), side, 8, None)
    torch.nn.init.normal_(net.transformer.proj_out.weight)  # type: ignore[union-attr, arg-type]
    for block in net.transformer.transformer_blocks:  # type: ignore[union-attr]
        torch.nn.init.normal_(block.attn2.to_out[0].weight)  # type: ignore[union-attr]
    return net.eval()


def text(batch: int, words: int = 3) -> Text:
    known = torch.ones(batch, words, dtype=torch.bool)
    return Text(torch.randn(batch, words, 8, generator=torch.Generator().manual_seed(1)), known)


def count(**sizes: Any) -> int:
    with torch.device("meta"):
        net = PixArt(**sizes)
    return sum(parameter.numel() for parameter in net.parameters())


def PixArt(**sizes: Any) -> torch.nn.Module:  # noqa: N802
    from diffusers import PixArtTransformer2DModel

    settings = DiffusionModel(**sizes)
    return PixArtTransformer2DModel(
        num_attention_heads=settings.num_heads, attention_head_dim=settings.head_dim, in_channels=4, out_channels=4,
        num_layers=settings.num_layers, cross_attention_dim=settings.hidden_size, caption_channels=768, sample_size=32,
        use_additional_conditions=False,
    )  # fmt: skip


def test_normals_are_a_function_of_their_key_and_normal() -> None:
    keys = torch.tensor([5, 7, 5, -1])
    found = normals(keys, 4001)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(normals(keys[1:2], 100), found[1:2, :100]), "however a batch is cut up"
    many = normals(torch.arange(200), 1000)
    assert torch.isfinite(many).all()
    assert float(many.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(many.std()) == pytest.approx(1.0, abs=0.01)
    assert float(many.abs().max()) > 4.0
    columns = normals(torch.arange(20_000), 6).T.numpy()
    assert np.abs(np.corrcoef(columns) - np.eye(6)).max() < 0.03
    assert float((many.abs() < 1.0).float().mean()) == pytest.approx(0.6827, abs=0.005)


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noising_and_targets_are_the_library_s(schedule: Any, kind: Any) -> None:
    settings = NoiseSettings(beta_schedule=schedule, prediction_type=kind, beta_end=0.02, num_train_timesteps=100)
    peer = DDPMScheduler(100, 0.00085, 0.02, schedule, prediction_type=kind)
    latents, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    levels = torch.tensor([0, 50, 99])
    noised, target = NoiseProcess(settings).noised(latents, noise, levels)
    assert torch.equal(noised, peer.add_noise(latents, noise, levels))
    share = peer.alphas_cumprod[levels].sqrt()[:, None, None, None]
    rest = (1 - peer.alphas_cumprod[levels]).sqrt()[:, None, None, None]
    assert torch.allclose(noised, share * latents + rest * noise, atol=1e-6)
    expected = noise if kind == "epsilon" else share * noise - rest * latents
    assert torch.allclose(target, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_who_predicts_without_error_gets_the_latents_back(kind: Any) -> None:
    """Whichever of the two is predicted: the sampler must take it for what it is."""
    process = NoiseProcess(NoiseSettings(prediction_type=kind))
    truth = torch.randn(2, 4, 3, 3)
    shares = process.training.alphas_cumprod

    def predict(noised: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        share = shares[levels][:, None, None, None]
        noise = (noised - share.sqrt() * truth) / (1 - share).sqrt()
        return noise if kind == "epsilon" else process.training.get_velocity(truth, noise, levels)

    found = process.sampled(predict, torch.randn(2, 4, 3, 3), 10)
    assert torch.allclose(found, truth, atol=1e-3)


def test_sampling_is_the_library_s_ddim_from_the_last_level_on() -> None:
    settings = NoiseSettings()
    seen: list[int] = []

    def predict(noised: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        seen.append(int(levels[0]))
        return noised.tanh()

    start = torch.randn(2, 4, 3, 3)
    found = NoiseProcess(settings).sampled(predict, start, 5)
    peer = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, timestep_spacing="trailing")
    peer.set_timesteps(5)
    expected = start
    for level in peer.timesteps:
        expected = peer.step(expected.tanh(), level, expected).prev_sample
    assert torch.allclose(found, expected, atol=1e-5)
    assert seen == [999, 799, 599, 399, 199]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, (50, 51, 100, 250, 251, 333, 499, 500, 501, 600, 999, 1000)),
        ({"num_train_timesteps": 99, "beta_end": 0.12}, (33, 49, 50, 51, 60, 97, 98, 99)),
        ({"num_train_timesteps": 60, "beta_schedule": "squaredcos_cap_v2"}, (30, 31, 37, 59, 60)),
    ],
)
def test_more_steps_leave_less_undone_also_where_they_do_not_divide_the_levels(
    kind: Any, settings: Any, steps: tuple[int, ...]
) -> None:
    """Latents from N(0, ½²) and the best prediction for them, which is known: sampling comes near their deviation,
    from below, and nearer with every step."""
    process, deviation = NoiseProcess(NoiseSettings(**settings, prediction_type=kind)), 0.5

    def predict(noised: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        share = process.training.alphas_cumprod[at][:, None, None, None]
        gain = share.sqrt() * deviation**2 / (share * deviation**2 + 1 - share)
        clean = gain * noised
        noise = (noised - share.sqrt() * clean) / (1 - share).sqrt()
        return noise if kind == "epsilon" else share.sqrt() * noise - (1 - share).sqrt() * clean

    noise = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found = [float((process.sampled(predict, noise, number) / noise).mean()) for number in steps]
    assert found == pytest.approx(sorted(found), abs=2e-4)
    assert 0.9 * deviation < found[0] < found[-1] < 1.001 * deviation
    assert found[-1] > 0.96 * deviation


@pytest.mark.parametrize("levels", [2, 7, 60, 99, 1000])
def test_the_levels_of_sampling_fall_from_the_last_one(levels: int) -> None:
    for steps in range(1, levels + 1):
        found = sampled_levels(levels, steps)
        assert len(found) == steps
        assert found == sorted(set(found), reverse=True)
        assert found[0] == levels - 1
        assert found[-1] >= 0
    assert sampled_levels(levels, levels) == list(reversed(range(levels)))


def test_guidance_goes_on_from_the_prediction_without_a_text() -> None:
    both = torch.cat([torch.full((2, 1), 3.0), torch.full((2, 1), 1.0)])
    predict = guided(lambda _latents, _levels: both, 4.0)
    assert torch.equal(predict(torch.zeros(2, 1), torch.zeros(2)), torch.full((2, 1), 1.0 + 4.0 * 2.0))
    alone = guided(lambda _latents, _levels: both, 0.0)
    assert torch.equal(alone(torch.zeros(2, 1), torch.zeros(2)), torch.ones(2, 1))


def test_the_default_transformer_has_150_million_weights() -> None:
    assert count() == pytest.approx(150e6, rel=0.05)
    assert count(hidden_size=384, num_layers=8, num_heads=6) == pytest.approx(16 * 384**2 * 8, rel=0.1)
    assert count(hidden_size=1024, num_layers=24, num_heads=16) == pytest.approx(16 * 1024**2 * 24, rel=0.1)


@pytest.mark.parametrize("changed", [
    {"hidden_size": 48, "num_heads": 3}, {"num_layers": 3}, {"num_heads": 4, "attention_head_dim": 8},
    {"patch_size": 1}, {"mlp_ratio": 2.0}, {"in_channels": 3, "out_channels": 3}, {"dropout": 0.5},
])  # fmt: skip
def test_each_size_of_the_transformer_has_its_effect(changed: dict[str, Any]) -> None:
    plain, other = denoiser(), denoiser(**changed)
    shapes = [{name: value.shape for name, value in net.named_parameters()} for net in (plain, other)]
    channels = other.transformer.config.in_channels  # type: ignore[union-attr]
    noised = torch.randn(2, channels, 4, 4)  # type: ignore[arg-type]
    found = other(noised, torch.tensor([3, 9]), text(2))
    assert found.shape == noised.shape
    if "dropout" in changed:
        assert not torch.equal(other.train()(noised, torch.tensor([3, 9]), text(2)), found)
    elif "num_heads" in changed and "hidden_size" not in changed:
        assert other.transformer.config.num_attention_heads == 4  # type: ignore[union-attr]
        assert not torch.allclose(found, plain(noised, torch.tensor([3, 9]), text(2)))
    else:
        assert shapes[0] != shapes[1]
    if "mlp_ratio" in changed:
        assert other.transformer.transformer_blocks[0].ff.net[0].proj.out_features == 64  # type: ignore[union-attr, index]


def test_the_denoiser_looks_at_level_and_words_but_not_at_padding() -> None:
    net, noised, levels = denoiser(), torch.randn(2, 4, 4, 4), torch.tensor([3, 900])
    said = text(2)
    plain = net(noised, levels, said)
    assert not torch.allclose(net(noised, levels + 50, said), plain)
    assert not torch.allclose(net(noised, levels, Text(said.vectors.flip(2), said.known)), plain)
    padded = Text(torch.cat([said.vectors, torch.randn(2, 2, 8)], 1), torch.tensor([[True] * 3 + [False] * 2] * 2))
    assert torch.allclose(net(noised, levels, padded), plain, atol=1e-5)


def test_positions_mean_the_same_for_a_model_made_at_another_size() -> None:
    """A trial that climbs to a larger size keeps its model; one that is resumed there is made anew."""
    small, large = denoiser(side=4), denoiser(side=8)
    large.load_state_dict(small.state_dict())
    noised, levels = torch.randn(2, 4, 8, 8), torch.tensor([3, 9])
    assert torch.allclose(small(noised, levels, text(2)), large(noised, levels, text(2)), atol=1e-5)


def test_a_new_denoiser_predicts_zero_and_learns_from_there() -> None:
    torch.manual_seed(0)
    net = Denoiser(DiffusionModel(**SMALL), 4, 8, None)
    found = net(torch.randn(2, 4, 4, 4), torch.tensor([3, 9]), text(2))
    assert not found.any()
    found.sub(1.0).square().sum().backward()
    assert net.transformer.proj_out.weight.grad.any()  # type: ignore[union-attr]


def test_the_learned_text_encoder_ignores_padding_and_knows_order() -> None:
    torch.manual_seed(0)
    net = LearnedText(10, 0, TextEncoderSettings(type="builtin", width=16, num_heads=2), 0.0).eval()
    short, known = net(torch.tensor([[1, 4, 5, 2]]))
    longer, mask = net(torch.tensor([[1, 4, 5, 2, 0, 0]]))
    assert torch.allclose(longer[:, :4], short, atol=1e-5)
    assert mask.tolist() == [[True] * 4 + [False] * 2]
    assert known.all()
    assert not torch.allclose(net(torch.tensor([[1, 5, 4, 2]])).vectors[:, 3], short[:, 3], atol=1e-4)


def test_the_frechet_distance_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    other = 0.5 * torch.randn(40, 5, generator=generator, dtype=torch.float64) + 1.0
    first, second = (np.cov(side.T.numpy()) for side in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    means = float((one.mean(0) - other.mean(0)).square().sum())
    assert frechet_distance(one, other) == pytest.approx(means + np.trace(first) + np.trace(second) - 2 * cross)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(one[:4], other[:3]) > 0.0, "fewer images than features"


def test_the_tiny_configuration_says_what_it_is(tmp_path: Path) -> None:
    assert tiny_diffusion(tmp_path).vae.factor == 4
