"""Scenes that a training asks for: settled motions, pairs, scenes that begin later, captions without their motion."""

import random

import numpy as np
import torch
from test_motion import LESSONS, drawn, says
from test_recipe import Words

import data
import distill
import judge
import scenes
import train_judge
import train_transformer


def paths(motion, mix, count=24):
    """Heights and angles [count, 33] of actors that do nothing but `motion`."""
    force = {"motion": motion, "n": (1, None), "cam": "static", "bg": 0}
    made = [scenes.sample(random.Random(i), 0, force, mix)[2][:, 0] for i in range(count)]
    return np.stack([a[:, 1] - a[0, 1] for a in made]), np.stack([a[:, 3] for a in made])


def test_settled_motions_begin_at_one_phase_and_turn_in_one_direction():
    settled = scenes.Mix(settled=1.0)
    heights, _ = paths("bounce", settled)
    assert heights.max() < 1e-4  # it begins on the ground, and all later frames are above it
    assert paths("bounce", scenes.MIX)[0].max() > 0.05
    _, angles = paths("spin", settled)
    assert (np.diff(angles) > 0).all() and np.allclose(angles[:, -1], 3 * np.pi, atol=1e-3)
    assert (np.diff(paths("spin", scenes.MIX)[1])[:, 0] < 0).any()
    _, angles = paths("swing", settled)
    assert np.abs(angles[:, 0]).max() < 1e-4 and np.abs(angles).max() > 0.3


def test_settled_scenes_still_go_left_and_right():
    for motion, sign in (("left", -1), ("right", 1)):
        force = {"motion": motion, "n": (1, None), "cam": "static"}
        for i in range(10):
            x = scenes.sample(random.Random(i), 0, force, scenes.Mix(settled=1.0))[2][:, 0, 0]
            assert np.sign(x[-1] - x[0]) == sign


def test_pairs_are_of_two_different_actors():
    made = drawn(scenes.Mix(pairs=1.0), 200)
    assert sum(m[4]["n"] == 2 and len(set(m[4]["actor"])) == 2 for m in made) > 0.95 * len(made)


def test_later_scenes_go_on_where_others_end_and_are_always_given_three_latent_frames():
    force = {"motion": "spin", "n": (1, None), "cam": "static", "bg": 8}
    mix = scenes.Mix(later=1.0, settled=1.0)
    first = [scenes.sample(random.Random(i), 0, force, mix)[2][0, 0, 3] for i in range(20)]
    assert max(first) > 1.5 * np.pi and min(first) >= 0  # up to three quarters of a clip later
    for seed in range(60):  # what arrives stays where it is
        for motion in ("approach", "recede", "fall"):
            meta_force = {"motion": motion, "n": (1, None), "cam": "static", "bg": 0}
            sizes = scenes.sample(random.Random(seed), 0, meta_force, scenes.Mix(later=1.0))[2][:, 0, 2]
            steps = np.diff(sizes)
            assert (steps >= -1e-6).all() or (steps <= 1e-6).all()
    later = torch.tensor([1, 0, 1, 0])
    for _ in range(20):
        clean = train_transformer.draw_clean(4, 9, later)[..., 0].sum(1) / data.TOKENS_PER_FRAME
        assert (clean[[0, 2]] == 3).all()


def test_a_chunk_says_which_scenes_begin_later():
    chunk = data.make_chunk(random.Random(1), 0, 40, Words(), scenes.Mix(later=0.5))
    assert 8 < chunk[8].sum() < 32 and chunk[9].shape == (40, 64)


def words(caption):
    return set(caption.lower().strip(".").replace(",", " ").split())


def test_captions_without_their_motion_say_the_rest():
    for made in drawn(LESSONS, 200):
        unmoved = made[4]["unmoved"]
        assert words(unmoved) <= words(made[3])
        assert not (says(made) and unmoved == made[3]), made[3]


def test_the_teacher_is_guided_away_from_no_words_and_from_no_motion():
    said, nothing, unmoved = torch.tensor([[[4.0]]]), torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])
    assert distill.guided(torch.cat([said, nothing]), 5.0, 0.0).item() == 1 + 5 * 3
    assert distill.guided(torch.cat([said, nothing, unmoved]), 5.0, 2.0).item() == 1 + 5 * 3 + 2 * 1


def test_a_judge_that_was_exported_learns_on(tmp_path):
    torch.manual_seed(0)
    model = judge.Judge(actors=7, widths=(8, 8, 16))
    x = torch.rand(2, 17, 3, 144, 256)
    model(x)
    model.eval()
    train_judge.save_file(train_judge.fold(model), tmp_path / "judge.safetensors")
    again = train_judge.initial(tmp_path / "judge.safetensors")
    assert torch.allclose(model(x)[0]["motion"], again(x)[0]["motion"], atol=1e-4)
    optimizer, target, seen = torch.optim.AdamW(again.parameters(), lr=1e-3), torch.tensor([3, 9]), []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(again(x)[0]["motion"], target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(loss.item())
    assert seen[-1] < 0.5 * seen[0]
    folded = judge.Judge.folded(judge.fold(again)).eval()
    assert torch.allclose(again(x)[0]["motion"], folded(x)[0]["motion"], atol=1e-4)
