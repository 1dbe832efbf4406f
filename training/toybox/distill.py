"""Distils the transformer to few steps without guidance.

    distill.py OUT --until T --vae FILE --init OUT/transformer.pt --sprites DIR --text DIR

A step of the student goes 1/6 of the way. Its target is where the teacher arrives there with four guided steps from the
same noisy latents: the mean velocity of that way (progressive distillation, Salimans and Ho 2022, all halvings at once,
with the guidance in the target as Meng et al. 2023). With --motion-guidance the teacher is also guided away from the same
caption without its motion. Writes OUT/student.pt (running mean) and OUT/student.json.
"""

import random
from pathlib import Path

import torch

from common import (
    DEVICE,
    SHIFT,
    Clock,
    Log,
    autocast,
    ema_update,
    save_json,
    save_state,
    setup,
    shifted,
    turn,
    wait_for,
)
from data import LATENT_FRAMES
from train_transformer import (
    MIX_ARGUMENTS,
    Optimizers,
    change,
    common_arguments,
    draw_clean,
    fill,
    initial,
    load_encoder,
    make_data,
    rope,
    token_weight,
    warm_up,
    warm_up_encoder,
    weighted,
)  # fmt: skip
from transformer import Config, Transformer, input_order, output_order, patchify

EMA = 0.997


def draw_starts(count, steps):
    """Where the student's steps start: two of three on the grid of `steps` steps, the rest anywhere."""
    grid = torch.randint(1, steps + 1, (count,), device=DEVICE) / steps
    anywhere = torch.rand(count, device=DEVICE).clamp(min=0.3 / steps)
    return torch.where(torch.rand(count, device=DEVICE) < 0.67, grid, anywhere)


def guided(out, guidance, motion_guidance):
    """Velocities of the teacher [n*B, L, C], of the captions, of no words and perhaps of the captions without their motions
    -> [B, L, C]: away from no words by `guidance`, and from no motion by `motion_guidance`."""
    said, nothing, *unmoved = out.chunk(3 if motion_guidance else 2)
    velocity = nothing + guidance * (said - nothing)
    return velocity + motion_guidance * (said - unmoved[0]) if unmoved else velocity


@torch.no_grad()
def teach(teacher, noisy, texts, start, end, is_clean, tables, args):
    """Mean guided velocity of the teacher from `start` to `end` [B] in `args.teacher_steps` Euler steps; texts as `guided`
    wants them, one behind the other."""
    times = texts.shape[0] // noisy.shape[0]
    flags = is_clean.repeat(times, 1, 1)
    x, moving = noisy, 1 - is_clean
    for i in range(args.teacher_steps):
        u, next_u = (start + (end - start) * (i + k) / args.teacher_steps for k in (0, 1))
        sigma, step = shifted(u), shifted(next_u) - shifted(u)
        with autocast():
            out = teacher(x.repeat(times, 1, 1), texts, sigma.repeat(times) * 1000, flags, *tables).float()
        x = x + step[:, None, None] * moving * input_order(guided(out, args.guidance, args.motion_guidance))
    way = (shifted(end) - shifted(start))[:, None, None]
    return output_order((x - noisy) / way)


def make_lessons(teacher, data, image, nothing, args):
    """One batch of noisy latents with the teacher's targets."""
    orientation, latents, text, cover, labels = data.pick(image, args.images if image else args.clips)
    count, frames = latents.shape[0], latents.shape[2]
    clean = patchify(latents).float()
    is_clean = draw_clean(count, frames, labels[:, 2])
    start = draw_starts(count, args.steps)
    end = (start - 1 / args.steps).clamp(min=0)
    level = shifted(start)[:, None, None] * (1 - is_clean)
    noisy = (1 - level) * clean + level * torch.randn_like(clean)
    tables = rope(frames, orientation)
    text, *unmoved = text.unbind(1)
    texts = torch.cat([text, nothing.to(text.dtype).expand_as(text), *unmoved])
    target = teach(teacher, noisy, texts, start, end, is_clean, tables, args)
    weight = token_weight(cover, is_clean, args.moving * change(latents) if args.moving else 0.0)
    return noisy, text, shifted(start) * 1000, is_clean, tables, target, weight


def student_loss(student, lessons):
    noisy, text, timesteps, is_clean, tables, target, weight = lessons
    with autocast():
        out = student(noisy, text, timesteps, is_clean, *tables)
    return weighted(out.float() - target, weight)


def main(argv=None):
    args = arguments(argv)
    setup()
    source, data, nothing = make_data(args, unmoved=args.motion_guidance > 0)
    student, teacher = (Transformer(Config(layers=args.layers)).to(DEVICE) for _ in range(2))
    teacher.requires_grad_(False)
    if args.compile:
        wait_for(args.after or args.vae)  # the autoencoder needs the memory
        for model, gradients, times in ((student, True, 1), (teacher, False, 3 if args.motion_guidance else 2)):
            model.compile_blocks()
            with turn(args.out):
                warm_up(model, [(args.clips * times, LATENT_FRAMES, gradients), (args.images * times, 1, gradients)])
        warm_up_encoder(data, args.chunk)
    load_encoder(data, args.vae)
    fill(data, source, True, args.fill_images)
    fill(data, source, False, args.fill_clips)
    weights = initial(args.init)
    teacher.load_state_dict(weights)
    student.load_state_dict(weights)
    optimizers = Optimizers(student)
    ema, clock, log, credit, step = (
        [p.detach().clone() for p in optimizers.all],
        Clock(args.until),
        Log(args.log_every),
        0.0,
        0,
    )
    while not clock.over() and step < args.max_steps:
        lr = args.lr * min(1, (step + 5) / 50) * max(0.02, 1 - clock.progress())
        image = random.random() < 0.1
        lessons = make_lessons(teacher, data, image, nothing, args)
        for _ in range(args.repeat):
            loss = student_loss(student, lessons)
            loss.backward()
            optimizers.step(lr)
            ema_update(ema, optimizers.all, min(EMA, 1 - 3 / (step + 4)))
            step += 1
            log.add(lr=lr, **{"image" if image else "clip": loss})
        credit += 0 if image else args.clips / args.reuse_clips
        while credit >= args.chunk:
            data.add(source.get(DEVICE), False)
            credit -= args.chunk
    source.close()
    out = Path(args.out)
    names = [n for n, _ in student.named_parameters()]
    told = ("steps", "guidance", "motion_guidance", "teacher_steps", *MIX_ARGUMENTS)
    settings = {k: getattr(args, k) for k in told} | {"shift": SHIFT}
    save_json(out / "student.json", settings | {"optimizer_steps": step, "log": log.rows})
    save_state(out / "student.pt", {n: e.detach().float().cpu() for n, e in zip(names, ema)})


def arguments(argv):
    parser = common_arguments(__doc__)
    parser.set_defaults(log_every=50)
    parser.add_argument("--after", help="compile when this file exists (default: when that of --vae does)")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--images", type=int, default=192, help="images in a batch")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--steps", type=int, default=6, help="steps of the student")
    parser.add_argument("--teacher-steps", type=int, default=4, help="steps of the teacher in one of the student's")
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument(
        "--motion-guidance", type=float, default=0.0, help="away from the caption without its motion, on top"
    )
    parser.add_argument(
        "--repeat", type=int, default=2, help="how often a batch of lessons is used, one after the other"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
