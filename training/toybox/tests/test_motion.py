"""What the transformer's training does for motion: lessons, weight of moving tokens, the auxiliary head; at tiny size."""

import random
from types import SimpleNamespace

import pytest
import torch
from test_recipe import TINY, Words, batch

import auxiliary
import data
import scenes
import train_transformer
from transformer import Transformer, patchify

LESSONS = scenes.Mix(lessons=1.0)


def phrases(motion):
    """All ways in which a caption says a motion."""
    if motion in scenes.COMPL:
        return scenes.COMPL[motion]
    said = [(v, c) for v, c in scenes.MV[motion] if v != "be"]
    forms = [(f(v), c) for v, c in said for f in (str, scenes.third, scenes.ing)]
    extra = ["flies up", "flying up", "fly up"] if motion == "rise" else []
    return [f"{v} {c}".strip() for v, c in forms] + extra


def says(made):
    return any(p in made[3].lower() for p in phrases(made[4]["motion"]))


def drawn(mix, count=300, seed=0):
    rng = random.Random(seed)
    made = [scenes.sample(rng, 0, mix=mix) for _ in range(count)]
    return [m for m in made if m[3].count(" ") > 3]  # without terse ones, which name the subject only


def is_lesson(made):
    return made[4]["n"] == 1 and made[4]["cam"] == "static"


def test_lessons_always_say_the_motion():
    made = [m for m in drawn(LESSONS) if is_lesson(m)]
    assert len(made) > 200 and all(says(m) for m in made if m[4]["motion"] not in ("left", "right", "jump", "stay"))
    terse = sum(not says(m) for m in made)
    assert terse < 0.1 * len(made)  # longer names of terse captions
    assert sum(says(m) for m in drawn(scenes.MIX)) < 0.75 * 300


def test_lessons_are_of_one_actor_and_each_motion_as_often():
    made = drawn(LESSONS, 900)
    assert sum(is_lesson(m) for m in made) > 0.95 * len(made)  # the rest are terse, of two actors
    counts = [sum(m[4]["motion"] == name for m in made) for name in scenes.MOTIONS]
    assert min(counts) > 0.5 * max(counts), counts


def test_lessons_hold_out_what_is_held_out():
    for mix in (LESSONS, scenes.Mix(fast=1.0)):
        for _, _, _, _, meta in drawn(mix, 300, seed=7):
            if meta["n"] == 1:
                assert not scenes.heldout(meta["actor"][0], meta["bg"], meta["motion"]), meta


def test_cameras_can_always_be_said():
    rng = random.Random(3)
    made = [scenes.sample(rng, 0, mix=scenes.Mix(camera_said=1.0)) for _ in range(300)]
    moving = [m for m in made if m[4]["cam"] not in ("static",)]
    words = ("camera", "pan", "zoom", "tracking")
    assert len(moving) > 60 and all(any(w in m[3].lower() for w in words) for m in moving)


def test_chunks_take_the_mix():
    chunk = data.make_chunk(random.Random(0), 0, 30, Words(), LESSONS)
    assert (chunk[7][:, data.CAMERA] == 0).all() and len(set(chunk[7][:, data.MOTION])) > 8


def test_moving_tokens_weigh_more():
    latents = torch.zeros(1, 48, 4, 18, 32)
    latents[:, :, 2, :2, :2] = 1  # the first token, in one of four frames
    moved = train_transformer.change(latents).view(4, 144)
    assert moved[1:, 0].tolist() == [1, 1, 1] and moved[0, 0] == 0  # beside the change, too
    assert moved.sum() == 3
    weight = train_transformer.token_weight(torch.zeros(1, 576), torch.zeros(1, 576, 1), 2 * moved.view(1, -1))
    assert weight[0, 144].item() == 3 and weight[0, 145].item() == 1
    assert train_transformer.change(latents[:, :, :1]).item() == 0


def test_moving_weights_change_the_loss():
    torch.manual_seed(0)
    model, nothing, one = Transformer(TINY), torch.zeros(1, 64, 384), batch(frames=3)
    one[1][:, :, 1:, :2, :2] += 50  # the error is large where it moves: nothing is learnt yet
    found = []
    for moving in (0.0, 5.0):
        torch.manual_seed(1)
        found.append(train_transformer.losses(model, one, False, nothing, moving)["velocity"].item())
    assert found[1] > 1.1 * found[0]


def test_a_tap_gives_features_and_changes_nothing():
    torch.manual_seed(0)
    model = Transformer(TINY).eval()
    x, flags = patchify(torch.randn(1, 48, 3, 18, 32)), torch.zeros(1, 432, 1)
    given = (x, torch.randn(1, 64, 384), torch.tensor([300.0]), flags, *train_transformer.rope(3, 0))
    with torch.no_grad():
        out, features = model(*given, tap=1)
        assert torch.equal(out, model(*given)) and features.shape == (1, 432, TINY.width)
        last = model(*given, tap=2)[1]
    assert not torch.equal(features, last)


def test_the_head_learns_where_things_go():
    """Features in which one token of each frame is marked; it goes to the right or to the left."""
    torch.manual_seed(0)
    one = auxiliary.Auxiliary(SimpleNamespace(config=TINY), torch.device("cpu"))
    right, left = (scenes.MOTIONS.index(m) for m in ("right", "left"))
    features, mark, cover = torch.randn(8, 9, 9, 16, TINY.width), torch.randn(TINY.width), torch.zeros(8, 9, 9, 16)
    for clip in range(8):
        for frame in range(9):
            column = frame + clip % 3 if clip % 2 else 15 - frame - clip % 3
            features[clip, frame, 4, column] += 3 * mark
            cover[clip, frame, 4, column] = 1
    labels = torch.tensor([[right if i % 2 else left, 0] for i in range(8)])
    seen = []
    for _ in range(100):
        parts = one.losses(features.flatten(1, 3), (9, 16), cover.flatten(1), labels)
        sum(parts.values()).backward()
        one.step()
        seen.append({k: v.item() for k, v in parts.items()})
    for name, share in (("motion", 0.3), ("camera", 0.3), ("cover", 0.9)):
        assert seen[-1][name] < share * seen[0][name], (name, seen[0], seen[-1])


def test_coordinates_are_of_the_picture():
    at = auxiliary.coordinates(9, 16, "cpu")
    assert at.shape == (144, 2) and at[0].tolist() == pytest.approx([-15 / 16, -8 / 16])
    assert at[15].tolist() == pytest.approx([15 / 16, -8 / 16])


def test_the_head_reaches_the_blocks_before_it_and_not_those_after():
    torch.manual_seed(0)
    model = Transformer(TINY)
    one = auxiliary.Auxiliary(model, torch.device("cpu"))
    found = train_transformer.losses(model, batch(frames=9), False, torch.zeros(1, 64, 384), 0.0, one)
    assert set(found) == {"velocity", "motion", "camera", "cover"}
    sum(v for k, v in found.items() if k != "velocity").backward()
    assert model.blocks[0].ffn.net[2].weight.grad.abs().sum() > 0 and model.blocks[1].ffn.net[2].weight.grad is None
    assert set(train_transformer.losses(model, batch(), True, torch.zeros(1, 64, 384), 0.0, one)) == {"velocity"}


def made_training():
    torch.manual_seed(0)
    model = Transformer(TINY)
    return model, train_transformer.Optimizers(model), auxiliary.Auxiliary(model, torch.device("cpu"))


def train(model, optimizers, one, steps, first=0):
    for i in range(first, first + steps):
        torch.manual_seed(10 + i)
        found = train_transformer.losses(model, batch(frames=9, count=1), False, torch.zeros(1, 64, 384), 1.0, one)
        sum(found.values()).backward()
        optimizers.step(1e-3)
        one.step()


def test_a_resumed_training_is_an_uninterrupted_one(tmp_path):
    whole, first, second = (made_training() for _ in range(3))
    train(*whole, 3)
    train(*first, 2)
    args = train_transformer.arguments([str(tmp_path), "--until", "0", "--vae", "v", "--sprites", "s", "--text", "t"])
    names, ema = [n for n, _ in first[0].named_parameters()], [p.detach().clone() for p in first[0].parameters()]
    train_transformer.save(args, first[0], first[1], ema, names, 2, [], first[2])
    _, step, _ = train_transformer.restore(args, *second)
    assert step == 2
    train(*second, 1, first=2)
    for a, b in zip(
        [*whole[0].parameters(), *whole[2].head.parameters()], [*second[0].parameters(), *second[2].head.parameters()]
    ):
        assert torch.equal(a, b)
    exported = torch.load(tmp_path / "transformer.pt")
    assert set(exported) == set(names)  # the head is left behind
