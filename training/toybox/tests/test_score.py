"""Scores with given frames, and the ways in which weights are stored; at tiny size on a processor."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_recipe import TINY, renderer  # noqa: F401  a fixture

import export
import judge
import scenes
import score
import stored
from autoencoder import Autoencoder
from data import GRIDS
from transformer import Config, Transformer

ROOT = Path(__file__).parents[3]
PROMPTS = json.loads((ROOT / "bench/prompts-240.json").read_text())


def test_given_latents_stay_and_are_told_to_be_clean():
    torch.manual_seed(0)
    seen = []

    class Model(Transformer):
        def forward(self, patches, text, timesteps, is_clean, cos, sin):
            seen.append(is_clean)
            return super().forward(patches, text, timesteps, is_clean, cos, sin)

    model = Model(TINY)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.05)
    text, nothing = torch.randn(1, 64, 384), torch.zeros(1, 64, 384)
    given = torch.randn(1, 48, 3, *GRIDS[0])
    out = score.sample(model, text, nothing, 2, 3.0, [5], frames=4, given=given)
    assert torch.equal(out[:, :, :3], given) and not torch.equal(out[:, :, 3], given[:, :, 2])
    assert seen[0].shape == (2, 576, 1) and (seen[0][:, :432] == 1).all() and (seen[0][:, 432:] == 0).all()
    other = score.sample(model, text, nothing, 2, 3.0, [5], frames=4, given=given + 1)
    assert not torch.allclose(out[:, :, 3], other[:, :, 3])  # the new frame depends on what is given
    free = score.sample(model, text, nothing, 1, 1.0, [5], frames=4)
    assert not torch.allclose(free[:, :, 0], given[:, :, 0])


def test_encode_is_the_inverse_scale_of_decode():
    torch.manual_seed(0)
    mean, std = torch.full((1, 48, 1, 1, 1), 0.5), torch.full((1, 48, 1, 1, 1), 2.0)
    model = Autoencoder(widths=(8, 8, 8, 8), channels=8).eval()
    vae, frames = (model, mean, std), torch.rand(1, 9, 3, 32, 32)
    latents = score.encode(vae, frames)
    assert latents.shape == (1, 48, 3, 2, 2)
    with torch.no_grad():
        raw = model.encode(frames)
        assert torch.allclose(latents * std + mean, raw.transpose(1, 2), atol=1e-5)
        assert torch.allclose(score.decode(vae, latents), model.decode(raw).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 85, 130, 200])
def test_given_scenes_show_what_the_prompt_says(number, monkeypatch):
    made = {}
    sample = scenes.sample

    def keep(*given):
        made["scene"] = sample(*given)
        return made["scene"]

    monkeypatch.setattr(scenes, "sample", keep)
    labels = PROMPTS[number]["labels"]
    score.scene_of(PROMPTS[number])
    meta = made["scene"][4]
    assert [scenes.CON[a]["label"] for a in dict.fromkeys(meta["actor"])] == labels["actors"]
    assert meta["n"] == labels["count"]
    if labels["background"]:
        assert scenes.BGS[meta["bg"]][0] == labels["background"]
    if labels["motion"]:
        assert meta["motion"] == labels["motion"]
    assert meta["cam"] == (labels["camera"] or "static")


def test_every_prompt_has_a_scene_that_is_always_the_same(renderer):  # noqa: F811
    for prompt in PROMPTS:
        score.scene_of(prompt)
    one, two = (score.render_prompts(PROMPTS[:2], renderer, 1) for _ in range(2))
    assert one.shape == (2, 1, 3, 288, 512) and torch.equal(one, two) and not torch.equal(one[0], one[1])


def test_the_judge_of_the_product_and_that_of_a_training_are_read(tmp_path):
    product, names = score.load_judge(ROOT / "models/judge")
    assert len(names["actor"]) == 364 and len(names["motion"]) == 15
    weights = judge.fold(product)
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "judge.safetensors")
    (tmp_path / "judge.json").write_text(json.dumps({"classes": names}))
    trained, again = score.load_judge(tmp_path)
    clip = torch.rand(1, 17, 3, 144, 256)
    with torch.no_grad():
        a, b = product(clip)[0], trained(clip)[0]
    assert again == names and all(torch.allclose(a[k], b[k], atol=1e-3) for k in a)


def test_extension_goes_on_from_the_last_frames_of_its_own_clip(monkeypatch):
    own = torch.arange(33.0).view(1, 33, 1, 1, 1)
    contestant = score.Contestant.__new__(score.Contestant)
    contestant.vae = None
    monkeypatch.setattr(score, "decode", lambda vae, latents: latents)
    monkeypatch.setattr(contestant, "clips", lambda prompts, seed: own, raising=False)
    assert contestant.given(PROMPTS[:1], 3, None).flatten().tolist() == list(range(24, 33))
    assert contestant.given(PROMPTS[:1], 1, None).flatten().tolist() == [0]


def test_parts_come_together_again(tmp_path):
    torch.manual_seed(0)
    weights = Transformer(TINY).state_dict()
    torch.save(weights, tmp_path / "student.pt")
    export.main([str(tmp_path / "student.pt"), str(tmp_path / "student.safetensors"), "--int8", "--shard-mb", "0.25"])
    parts = stored.shards_of(tmp_path / "student.safetensors")
    assert len(parts) > 2 and all(p.stat().st_size < 0.35e6 for p in parts)
    again = stored.read_weights(tmp_path / "student.safetensors")
    assert set(again) == set(weights)
    matrix = "blocks.1.ffn.net.0.proj.weight"
    assert (again[matrix] - weights[matrix]).abs().max() < 0.02 * weights[matrix].abs().max()
    parts[1].unlink()
    with pytest.raises(FileNotFoundError):
        stored.read_weights(tmp_path / "student.safetensors")


def test_an_autoencoder_is_exported_in_f16_and_its_decoder_alone(tmp_path):
    weights = Autoencoder(widths=(8, 8, 8, 8), channels=8).half().state_dict()
    torch.save({"weights": weights, "mean": torch.zeros(48), "std": torch.ones(48)}, tmp_path / "vae.pt")
    export.main([str(tmp_path / "vae.pt"), str(tmp_path / "decoder.safetensors"), "--only", "decoder"])
    again = stored.read_weights(tmp_path / "decoder.safetensors")
    assert set(again) == {k for k in weights if k.startswith("decoder")}
    assert all(torch.equal(again[k].half(), weights[k]) for k in again)


def test_the_layers_of_weights_are_counted():
    assert Config.of(Transformer(TINY).state_dict()).layers == TINY.layers
