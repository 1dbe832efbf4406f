"""The adversarial end of the autoencoder's training, and training of the decoder alone, at tiny size on a processor."""

import json
import random
from types import SimpleNamespace

import pytest
import torch
from test_recipe import chunk, renderer  # noqa: F401  a fixture

import scenes
import stored
import train_autoencoder
from autoencoder import Autoencoder
from common import autocast
from discriminator import Adversary, Discriminator, discriminator_loss, generator_loss, gradient_penalty, patch_weight

WIDTHS = (4, 8, 8, 8)


def smooth(clips):
    return torch.nn.functional.avg_pool3d(clips.transpose(1, 2), (1, 5, 5), 1, (0, 2, 2)).transpose(1, 2)


def adversary(share=0.5):
    torch.manual_seed(0)
    return Adversary(torch.device("cpu"), share, WIDTHS)


def test_the_losses_move_apart():
    real, fake, weight = torch.tensor([2.0]), torch.tensor([-2.0]), torch.ones(1)
    assert discriminator_loss(real, fake, weight) < discriminator_loss(fake, real, weight)
    assert generator_loss(real, fake, weight) > generator_loss(fake, real, weight)


def test_a_patch_sees_its_neighbours_in_space_and_time_and_no_more():
    torch.manual_seed(0)
    network, clip = Discriminator(WIDTHS), torch.rand(1, 9, 3, 96, 96)
    changed = clip.clone()
    changed[:, 8, :, :, 90:] = 0
    moved = (network(clip) - network(changed)).detach().abs() > 1e-6
    assert moved.shape == (1, 9, 12, 12)
    assert moved[0, 5:, :, -1].any(1).all() and not moved[0, :5].any() and not moved[0, :, :, :7].any()


def test_the_discriminator_learns_to_tell_blurred_clips():
    one, clips = adversary(), torch.rand(2, 5, 3, 32, 32)
    blurred, weight = smooth(clips), torch.ones(2, 5, 4, 4)
    seen = [one.learn(clips, blurred, weight, autocast)[0].item() for _ in range(60)]
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5]), seen
    assert (one.network(clips) > one.network(blurred)).float().mean() > 0.9


def test_the_penalty_holds_gradients_down():
    one, clips = adversary(), torch.rand(2, 5, 3, 32, 32)
    loss = gradient_penalty(one.network, clips)
    loss.backward()
    assert loss > 0 and one.network.first.weight.grad.abs().sum() > 0
    with torch.no_grad():
        one.network.last.weight.mul_(3)
    assert gradient_penalty(one.network, clips).item() == pytest.approx(9 * loss.item(), rel=1e-3)


def test_the_pull_fools_the_discriminator_and_has_its_size():
    one, clips = adversary(share=0.5), torch.rand(2, 5, 3, 32, 32)
    made, weight = smooth(clips), torch.ones(2, 5, 4, 4)
    for _ in range(20):
        one.learn(clips, made, weight, autocast)
    own = torch.randn_like(made)
    pull, loss = one.pull(made, clips, own, weight, 0.25, autocast)
    assert pull.norm() == pytest.approx(0.5 * 0.25 * own.norm().item(), rel=1e-4)
    _, nearer = one.pull(made - pull, clips, own, weight, 0.25, autocast)
    assert nearer < loss
    assert all(p.grad is None and p.requires_grad for p in one.network.parameters())


def test_patches_of_actors_weigh_more():
    pixels = torch.ones(1, 1, 32, 32)
    pixels[..., :8, :8] = 5
    weight = patch_weight(pixels)
    assert weight.shape == (1, 4, 4) and weight[0, 0, 0] == pytest.approx(5 * weight[0, 1, 1].item())
    assert weight.mean() == pytest.approx(1)


def settings(**changed):
    given = dict(decoder_only=False, compile=False, adversarial_from=1.0, adversarial=0.3)
    return SimpleNamespace(**(given | changed))


def small_training(**changed):
    torch.manual_seed(0)
    training = train_autoencoder.Training(Autoencoder(widths=(8, 8, 8, 8), channels=8), settings(**changed))
    if training.adversary:
        training.adversary = adversary()
    return training


def train(training, steps, first=0, of=6, size=32):
    found = []
    for i in range(first, first + steps):
        torch.manual_seed(100 + i)
        x, actors = torch.rand(2, 5, 3, size, size), (torch.rand(2, 5, 1, size, size) > 0.9).float()
        found.append(training.step(x, actors, i / of))
    return found


def test_a_resumed_training_is_an_uninterrupted_one(tmp_path):
    whole = small_training(adversarial_from=0.3)
    train(whole, 6)
    first = small_training(adversarial_from=0.3)
    train(first, 4)
    torch.save(first.state_dict(), tmp_path / "vae_state.pt")
    second = small_training(adversarial_from=0.3)
    second.load_state_dict(torch.load(tmp_path / "vae_state.pt"))
    assert second.steps == 4 and second.progress == pytest.approx(3 / 6)
    train(second, 2, first=4)
    for a, b in zip(whole.model.parameters(), second.model.parameters()):
        assert torch.equal(a, b)
    for a, b in zip(whole.ema, second.ema):
        assert torch.equal(a, b)
    for a, b in zip(whole.adversary.network.parameters(), second.adversary.network.parameters()):
        assert torch.equal(a, b)


def test_the_adversary_comes_in_when_its_time_has_come():
    found = train(small_training(adversarial_from=0.5), 6)
    assert ["told" in f for f in found] == [False] * 3 + [True] * 3
    with_it, without = small_training(adversarial_from=0.0), small_training(adversarial_from=1.0)
    for training in (with_it, without):
        train(training, 3)
    assert any(not torch.equal(a, b) for a, b in zip(with_it.parameters, without.parameters))


def test_decoder_only_leaves_the_encoder():
    training = small_training(decoder_only=True, adversarial_from=0.0)
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    train(training, 3)
    training.use_mean()
    after = training.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("encoder"))
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("decoder"))


def test_latents_are_pulled_only_where_the_encoder_learns():
    """In training of the decoder alone the loss of the latents would be a constant, and a pass for nothing."""
    torch.manual_seed(0)
    model, x, actors = (
        Autoencoder(widths=(8, 8, 8, 8), channels=8),
        torch.rand(2, 5, 3, 32, 32),
        torch.ones(2, 5, 1, 32, 32),
    )
    found = {}
    for decoder_only in (False, True):
        for at_half_size in (False, True):
            torch.manual_seed(1)
            losses = train_autoencoder.Losses(model, False, decoder_only)
            found[decoder_only, at_half_size] = losses(x, actors, at_half_size)[0].item()
    assert found[True, True] == found[True, False] < found[False, False] < found[False, True]


def test_decoder_only_keeps_the_statistics(tmp_path, renderer):  # noqa: F811
    training = small_training()
    mean, std = torch.arange(48) / 10.0, torch.ones(48) * 2
    torch.save({"weights": Autoencoder().half().state_dict(), "mean": mean, "std": std}, tmp_path / "vae.pt")
    given = ["--until", "0", "--sprites", "s", "--text", "t", "--clips", "1", "--decoder-only"]
    args = train_autoencoder.arguments([str(tmp_path), "--init", str(tmp_path / "vae.pt"), *given])
    training.model = Autoencoder()
    training.parameters = []
    statistics = train_autoencoder.start(training, args)
    assert torch.equal(statistics[0], mean)
    train_autoencoder.finish(training.model, renderer, args, {}, statistics, {})
    kept = stored.read_autoencoder(tmp_path / "vae.pt")
    assert torch.equal(kept[1], mean) and torch.equal(kept[2], std)
    written = json.loads((tmp_path / "vae.json").read_text())
    assert written["latents_mean"][7] == pytest.approx(0.7) and written["after"]["sharpness_actors"] > 0


def test_decoder_only_without_statistics_is_refused():
    given = ["out", "--until", "0", "--sprites", "s", "--text", "t", "--decoder-only"]
    for more in ([], ["--init", "weights.safetensors"]):
        with pytest.raises(SystemExit):
            train_autoencoder.arguments(given + more)


def test_a_blurred_picture_has_less_edge_energy():
    clip, mask = torch.rand(1, 2, 3, 32, 32), torch.zeros(1, 2, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    share = train_autoencoder.edge_energy(smooth(clip), mask) / train_autoencoder.edge_energy(clip, mask)
    assert share < 0.3
    elsewhere = clip.clone()
    elsewhere[..., :4, :] = 0
    assert train_autoencoder.edge_energy(elsewhere, mask) == train_autoencoder.edge_energy(clip, mask)


def test_fast_scenes_are_fast():
    made = [scenes.sample(random.Random(i), 0, mix=scenes.Mix(fast=1.0))[4] for i in range(60)]
    usual = [scenes.sample(random.Random(i), 0)[4] for i in range(60)]
    share = [sum(m["motion"] in scenes.FAST for m in each) / 60 for each in (made, usual)]
    assert share[0] > 0.85 > share[1] + 0.1  # a terse caption still stays as it is


def test_crops_of_a_chunk_train_a_step(renderer):  # noqa: F811
    pixels, actors = train_autoencoder.crops(chunk(2), renderer, 64, 5)
    found = small_training(adversarial_from=0.0).step(pixels, actors, 0.5)
    assert all(torch.isfinite(v) for v in found.values()) and {"l1", "told", "fooling"} <= set(found)
