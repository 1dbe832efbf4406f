"""The recipe at tiny size on a processor: python -m pytest training/toybox/tests"""

import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
import concepts
import data
import distill
import judge
import muon
import render
import scenes
import train_autoencoder
import train_judge
import train_transformer
from autoencoder import Autoencoder
from transformer import Config, Transformer, input_order, output_order, patchify, rope_table, unpatchify

TINY = Config(layers=2, heads=2, head_width=64, ffn=64, channels=48, text_width=384)


@pytest.fixture(scope="session")
def renderer():
    sprites = torch.zeros(scenes.NS * 36, 128, 128, 4, dtype=torch.uint8)
    sprites[:, 16:112, 16:112] = torch.tensor([200, 40, 40, 255], dtype=torch.uint8)
    return render.CpuRenderer(sprites, torch.device("cpu"))


class Words:
    """Stands for the tokenizer: the tests need no text."""

    def __call__(self, texts):
        return torch.zeros(len(texts), 64, dtype=torch.int32), torch.ones(len(texts), dtype=torch.int32)


def chunk(count=2, orientation=0, seed=1):
    made = data.make_chunk(random.Random(seed), orientation, count, Words())
    return made[0], *(torch.from_numpy(a) for a in made[1:])


def test_actors_are_in_the_order_of_their_sprites():
    found = concepts.load()
    assert len(found) == 364
    assert [found[i]["label"] for i in (0, 363)] == ["monkey", scenes.CON[-1]["label"]]
    assert len({c["label"] for c in found}) == 364


def test_training_never_draws_a_held_out_combination():
    rng, drawn = random.Random(5), 0
    for _ in range(400):
        meta = scenes.sample(rng, 0)[4]
        if meta["n"] == 1:
            drawn += 1
            assert not scenes.heldout(meta["actor"][0], meta["bg"], meta["motion"]), meta
    assert drawn > 200


def test_a_seed_gives_one_scene():
    a, b = (scenes.sample(random.Random(9), 2) for _ in range(2))
    assert a[3] == b[3] and (a[2] == b[2]).all()


def test_a_window_is_a_part_of_the_picture(renderer):
    _, G, C, A = chunk(1)[:4]
    seconds = torch.tensor([[0.5]])
    whole, actors = renderer(G, C[:, :1], A[:, :1], seconds, (128, 72))
    part, _ = renderer(G, C[:, :1], A[:, :1], seconds, (128, 72), (torch.tensor([[16, 8]]), 32, 24))
    assert torch.equal(whole[..., 8:32, 16:48], part)
    assert 0 < actors.mean() < 0.5 and whole.std() > 0.02


def test_cover_of_tokens_follows_latent_frames():
    actors = torch.zeros(1, 33, 1, 288, 512)
    actors[:, 4, :, :32, :32] = 1  # frame 4 is the last of latent frame 1
    cover = data.token_cover(actors, data.GRIDS[0])
    assert cover.shape == (1, 9, 144)
    assert cover[0, 1, 0] == 1 and cover.sum() == 1


def test_the_autoencoder_is_causal():
    torch.manual_seed(0)
    model, x = Autoencoder(widths=(16, 16, 16, 16), channels=8).eval(), torch.rand(1, 9, 3, 32, 32)
    changed = x.clone()
    changed[:, 5:] = 0
    with torch.no_grad():
        a, b = model.encode(x), model.encode(changed)
        assert a.shape == (1, 3, 48, 2, 2) and model.decode(a).shape == x.shape
        assert torch.allclose(a[:, :2], b[:, :2], atol=1e-6) and not torch.allclose(a[:, 2], b[:, 2])


def test_the_autoencoder_is_the_reference():
    """Two on purpose: the reference stays plain and takes one clip; this one takes batches."""
    import json

    import taehv

    import stored  # noqa: F401  makes tools/reference importable

    config = json.loads((Path(__file__).parents[3] / "models/toybox/vae/config.json").read_text())
    ours, reference = Autoencoder().eval(), taehv.TAEHV(config).eval()
    reference.load_state_dict(ours.state_dict())
    x = torch.rand(2, 5, 3, 32, 32)
    with torch.no_grad():
        latents = ours.encode(x)
        for i in range(2):
            assert torch.allclose(latents[i], reference.encode(x[i]), atol=1e-5)
            assert torch.allclose(ours.decode(latents)[i], reference.decode(latents[i]), atol=1e-5)


def test_the_transformer_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    ours = Transformer(TINY).eval()
    for p in ours.parameters():
        torch.nn.init.normal_(p, std=0.05)
    reference = diffusers.WanTransformer3DModel(**TINY.diffusers()).eval()
    reference.load_state_dict(ours.state_dict())
    x, text = torch.randn(2, 48, 3, 4, 6), torch.randn(2, 64, 384)
    flags = torch.zeros(2, 18, 1)
    flags[:, :6] = 1
    timesteps = (1 - flags[..., 0]) * torch.tensor([[300.0], [900.0]])
    with torch.no_grad():
        want = reference(x, timesteps, text, return_dict=False)[0]
        out = ours(patchify(x), text, torch.tensor([300.0, 900.0]), flags, *rope_table(3, 2, 3))
    assert (unpatchify(out, 3, 4, 6) - want).abs().max() < 2e-5


def test_orders_of_patches_are_inverses():
    x = torch.randn(2, 5, 192)
    assert torch.equal(input_order(output_order(x)), x)
    z = torch.randn(1, 48, 2, 4, 6)
    assert torch.equal(unpatchify(output_order(patchify(z)), 2, 4, 6), z)


def test_muon_makes_matrices_orthogonal():
    torch.manual_seed(0)
    x = muon.orthogonal(torch.randn(3, 32, 64)).float()
    values = torch.linalg.svdvals(x)
    assert 0.6 < values.min() and values.max() < 1.3


def test_crops_have_actors_in_them(renderer):
    pixels, actors = train_autoencoder.crops(chunk(4), renderer, 64, 5)
    assert pixels.shape == (4, 5, 3, 64, 64) and actors.shape == (4, 5, 1, 64, 64)
    assert (actors.mean((1, 2, 3, 4)) > 0.02).sum() >= 2


def test_the_autoencoder_learns(renderer):
    torch.manual_seed(0)
    pixels, actors = train_autoencoder.crops(chunk(2), renderer, 64, 5)
    model = Autoencoder(widths=(32, 32, 16, 16), channels=16)
    losses = train_autoencoder.Losses(model, compiled=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    seen = []
    for i in range(12):
        loss = losses(pixels, actors, i % 3 == 0)[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(loss.item())
    assert min(seen[-3:]) < 0.8 * max(seen[:2]), seen


def batch(frames=1, count=2):
    latents = torch.randn(count, 48, frames, *data.GRIDS[0])
    labels = torch.stack([torch.arange(count) % 6, torch.zeros(count).long(), torch.zeros(count).long()], 1)
    return 0, latents, torch.randn(count, 1, 64, 384), torch.rand(count, frames * data.TOKENS_PER_FRAME), labels


def test_the_transformer_learns():
    torch.manual_seed(0)
    model, nothing, one = Transformer(TINY), torch.zeros(1, 64, 384), batch()
    one[1].fill_(1.5)  # one thing to learn: what all clips have in common
    optimizers = train_transformer.Optimizers(model)
    seen = []
    for _ in range(40):
        loss = train_transformer.losses(model, one, True, nothing)["velocity"]
        loss.backward()
        optimizers.step(3e-3)
        seen.append(loss.item())
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5]), seen


def test_a_lesson_is_the_mean_velocity_of_the_teachers_way():
    """A teacher whose velocity is constant, guided: the lesson is that velocity, whatever the steps."""

    class Teacher:
        def __call__(self, x, text, timesteps, is_clean, cos, sin):
            cond = torch.arange(x.shape[0]) < x.shape[0] // 2
            return output_order(torch.where(cond[:, None, None], 2.0, 1.0) * torch.ones_like(x))

    args = distill.arguments(["out", "--until", "0", "--vae", "v", "--sprites", "s", "--text", "t", "--guidance", "5"])
    noisy, text = torch.randn(2, 144, 192), torch.randn(2, 64, 384)
    start = torch.tensor([1.0, 0.5])
    end = start - 1 / 6
    texts = torch.cat([text, torch.zeros(2, 64, 384)])
    out = distill.teach(Teacher(), noisy, texts, start, end, torch.zeros(2, 144, 1), (None, None), args)
    assert torch.allclose(out, torch.full_like(out, 1 + 5 * (2 - 1)), atol=1e-4)


def test_folding_norms_does_not_change_the_judge():
    torch.manual_seed(0)
    model = judge.Judge(actors=7, widths=(8, 8, 16))
    x = torch.rand(1, 17, 3, 144, 256)
    model(x)  # moves the running means
    model.eval()
    folded = judge.Judge.folded(judge.fold(model)).eval()
    with torch.no_grad():
        (a, _), (b, _) = model(x), folded(x)
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a)


def test_pairs_count_only_when_both_are_named():
    logits = {"actor": torch.tensor([[3.0, 2.0, 0.0], [3.0, 0.0, 2.0]])} | {
        head: torch.zeros(2, n)
        for head, n in (("background", 16), ("time", 4), ("weather", 5), ("motion", 15), ("camera", 6), ("count", 4))
    }
    actors, labels = torch.tensor([[0, 1, -1, -1], [0, 1, -1, -1]]), torch.zeros(2, 6, dtype=torch.long)
    assert train_judge.correct(logits, actors, labels)["actor"].tolist() == [1.0, 0.0]


def test_the_judge_states_its_accuracy_for_each_motion(renderer):
    class Blind(judge.Judge):
        """Says "stay" to everything."""

        def forward(self, x):
            logits, features = super().forward(x)
            logits["motion"] = torch.eye(15)[scenes.MOTIONS.index("stay")].expand(x.shape[0], -1)
            return logits, features

    accuracy, by_motion = train_judge.evaluate(Blind(widths=(4, 4, 8)), renderer, 6, Words(), batch=3)
    assert {"actor", "motion"} < set(accuracy) and by_motion
    assert all(share == (name == "stay") for name, share in by_motion.items())
