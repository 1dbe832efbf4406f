"""wan_pipeline_*_tiny: whole runs of diffusers' WanPipeline and WanImageToVideoPipeline with small random weights.

  wan_pipeline_t2v_tiny     Wan 2.1 text to video: token ids -> umT5 -> 4 steps -> frames
  wan_pipeline_a14b_tiny    Wan 2.2 A14B text to video: two experts, boundary 0.875, guidance 4 (high) and 3 (low noise)
  wan_pipeline_i2v21_tiny   Wan 2.1 image to video: CLIP tokens of the picture, mask and encoded picture beside the latents
  wan_pipeline_i2v22_tiny   Wan 2.2 A14B image to video: no CLIP, boundary 0.9; runs `first` and `first_last`
  wan_pipeline_ti2v_tiny    Wan 2.2 TI2V-5B: a timestep for each token, autoencoder of 2.2; runs `text` and `image`

UniPC, 4 steps, shift 3, the noise given as `noise`. For each run: `latents.N` after step N (from 1), `velocity.N` the first
output of the transformer (conditional) at step N, `condition` (mask and encoded picture, or the encoded picture alone),
`timesteps`, and `video` in 0..1 [F, C, H, W] where it is decoded. Weights under `transformer.`, `transformer_2.`, `vae.`,
`text_encoder.`, `image_encoder.`; the configurations of all of them and the settings of the runs in the metadata.

The mask is 4 channels: the frame number inside a latent frame; 1 where a frame is given. The first frame counts for all 4
of its latent frame. The rest of the clip is encoded as 0 in -1..1, which is grey. For TI2V-5B there is no mask channel:
the first latent frame of the input is replaced by the encoded picture and its tokens have timestep 0; after the last step
it is put there again.
"""

import json

import torch
from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

import goldens
import umt5_tiny
import wan_tiny
import wan_vae_tiny

SEED = 37
STEPS, SHIFT, FRAMES, HEIGHT, WIDTH = 4, 3.0, 5, 32, 48
NARROW = {"dim_mult": [1, 2, 2, 2], "num_res_blocks": 1, "base_dim": 5}
VAE_21 = wan_vae_tiny.CONFIG_21 | NARROW
VAE_22 = wan_vae_tiny.CONFIG_22 | NARROW | {
    "decoder_base_dim": 3,
    "z_dim": 4,
    "latents_mean": VAE_21["latents_mean"],
    "latents_std": VAE_21["latents_std"],
}
TEXT = umt5_tiny.CONFIG | {"d_model": 16, "num_layers": 1}
CLIP = {
    "hidden_size": 20,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
PROMPTS = {"a red ball": [17, 5, 44, 8, 61, 23, 9, 1], "blurry": [70, 3, 1]}


class Tokenizer:
    """Ids by hand: the pipeline calls this as it would the tokenizer."""

    def __call__(self, prompts, max_length, **_):
        ids = torch.zeros(len(prompts), max_length, dtype=torch.long)
        for row, prompt in zip(ids, prompts):
            row[: len(PROMPTS[prompt])] = torch.tensor(PROMPTS[prompt])
        mask = torch.zeros_like(ids)
        for row, prompt in zip(mask, prompts):
            row[: len(PROMPTS[prompt])] = 1
        return type("Inputs", (), {"input_ids": ids, "attention_mask": mask})


def transformer(config, seed):
    model = WanTransformer3DModel.from_config(config).eval()
    goldens.randomise(model, seed)
    return model


def picture(seed, width=WIDTH):
    """Smooth, so that its values differ from those of its neighbours by little, as in a photograph."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(HEIGHT, width), mode="bilinear", align_corners=True)
    return (smooth[0].permute(1, 2, 0) * 255).round().to(torch.uint8)


def scheduler():
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT, num_train_timesteps=1000
    )


class Run:
    """One call of a pipeline, and what happened in it."""

    def __init__(self, pipe, prefix=""):
        self.pipe, self.prefix, self.out = pipe, prefix, {}
        self.calls = []

    def _step(self, _pipe, i, _t, values):
        self.out[f"latents.{i + 1}"] = values["latents"].clone()
        return {}

    def __call__(self, noise, width=WIDTH, **settings):
        pipe = self.pipe
        models = [m for m in (pipe.transformer, pipe.transformer_2) if m is not None]

        def keep(which):
            return lambda _m, _i, output: self.calls.append((which, output[0].clone()))

        hooks = [m.register_forward_hook(keep(i)) for i, m in enumerate(models)]
        pipe.set_progress_bar_config(disable=True)
        video = pipe(
            height=HEIGHT,
            width=width,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            latents=noise.clone(),
            callback_on_step_end=self._step,
            **settings,
        ).frames
        for hook in hooks:
            hook.remove()
        # Each step asks twice: with the prompt, then with the negative prompt.
        assert len(self.calls) == 2 * STEPS
        self.experts = [which for which, _ in self.calls[::2]]
        for i, (_, velocity) in enumerate(self.calls[::2]):
            self.out[f"velocity.{i + 1}"] = velocity
        self.out |= {"noise": noise, "timesteps": pipe.scheduler.timesteps.float()}
        if settings.get("output_type") == "latent":
            # After the last step of TI2V-5B the first frame is put back; elsewhere these are the latents of step 4.
            self.out["latents.end"] = video
        else:
            self.out["video"] = video[0]
        largest = max(float(v.abs().max()) for k, v in self.out.items() if k.startswith("latents"))
        assert largest < 30, largest
        return goldens.with_prefix(self.prefix, self.out)


def text_parts(out):
    encoder = UMT5EncoderModel(UMT5Config(**TEXT)).eval()
    goldens.randomise(encoder, SEED + 2)
    encoder.shared.weight.copy_(torch.randn(encoder.shared.weight.shape))
    weights = {k: v for k, v in encoder.state_dict().items() if k != "encoder.embed_tokens.weight"}
    out |= goldens.with_prefix("text_encoder.", weights)
    out["ids"] = torch.tensor(PROMPTS["a red ball"]).int()
    out["negative_ids"] = torch.tensor(PROMPTS["blurry"]).int()
    return {"text_encoder": encoder, "tokenizer": Tokenizer()}


def embeds(out):
    """Text as the pipelines hand it to the transformer: 512 tokens, zeros where padded. Only the real ones are stored."""
    result = {}
    for name, length in (("prompt_embeds", 9), ("negative_prompt_embeds", 3)):
        real = torch.randn(1, length, 16)
        out[name] = real
        result[name] = torch.cat([real, real.new_zeros(1, 512 - length, 16)], 1)
    return result


def write(name, out, configs):
    meta = {"configs": json.dumps(configs | {"shift": SHIFT, "steps": STEPS})}
    goldens.write("kinora-models", name, out, __file__, SEED, ["diffusers", "transformers"], 1e-4, meta)


def condition(pipe, image, last=None, width=WIDTH):
    """What `prepare_latents` makes of the pictures."""
    processed = [
        None if i is None else pipe.video_processor.preprocess(i, height=HEIGHT, width=width) for i in (image, last)
    ]
    shape = (1, pipe.vae.config.z_dim, HEIGHT, width, FRAMES, torch.float32, "cpu", None, torch.zeros(1))
    return pipe.prepare_latents(processed[0], *shape, processed[1])[1]


def text_to_video():
    config, out = wan_tiny.CONFIG, {}
    model, vae = transformer(config, SEED), wan_vae_tiny.build(VAE_21)
    pipe = WanPipeline(transformer=model, vae=vae, scheduler=scheduler(), **text_parts(out))
    prompts = {"prompt": "a red ball", "negative_prompt": "blurry", "guidance_scale": 5.0, "max_sequence_length": 512}
    out |= Run(pipe)(torch.randn(1, 4, 2, 4, 6), output_type="pt", **prompts)
    full, negative = pipe.encode_prompt("a red ball", "blurry", max_sequence_length=512)
    assert full.shape == (1, 512, 16) and full[:, 8:].abs().max() == 0 and negative[:, 3:].abs().max() == 0
    out |= {"prompt_embeds": full[:, :8], "negative_prompt_embeds": negative[:, :3]}
    out |= goldens.with_prefix("transformer.", model.state_dict()) | goldens.with_prefix("vae.", vae.state_dict())
    write("wan_pipeline_t2v_tiny", out, {"transformer": config, "vae": VAE_21, "text_encoder": TEXT, "guidance": 5.0})


def experts(config, out):
    high, low = transformer(config, SEED + 3), transformer(config, SEED + 4)
    out |= goldens.with_prefix("transformer.", high.state_dict()) | goldens.with_prefix("transformer_2.", low.state_dict())
    return {"transformer": high, "transformer_2": low}


def two_experts():
    config, out = wan_tiny.CONFIG, {}
    parts = experts(config, out)
    pipe = WanPipeline(
        **parts, vae=wan_vae_tiny.build(VAE_21), scheduler=scheduler(), text_encoder=None, tokenizer=None, boundary_ratio=0.875
    )
    run = Run(pipe)
    text = embeds(out)
    out |= run(torch.randn(1, 4, 2, 4, 6), output_type="latent", guidance_scale=4.0, guidance_scale_2=3.0, **text)
    assert run.experts == [0, 0, 1, 1], run.experts
    settings = {"guidance": 4.0, "guidance_2": 3.0, "boundary_ratio": 0.875, "experts": run.experts}
    write("wan_pipeline_a14b_tiny", out, {"transformer": config, "transformer_2": config} | settings)


def image_to_video_21():
    config, out = wan_tiny.CONFIG | {"in_channels": 12, "image_dim": 20, "added_kv_proj_dim": 32}, {}
    model, vae = transformer(config, SEED + 5), wan_vae_tiny.build(VAE_21)
    clip = CLIPVisionModel(CLIPVisionConfig(**CLIP)).eval()
    goldens.randomise(clip, SEED + 6)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    pipe = WanImageToVideoPipeline(
        transformer=model, vae=vae, scheduler=scheduler(), text_encoder=None, tokenizer=None,
        image_encoder=clip, image_processor=processor,
    )  # fmt: skip
    pixels = picture(1)
    image = Image.fromarray(pixels.numpy())
    out |= {"image": pixels, "clip.pixels": processor(images=image, return_tensors="pt").pixel_values}
    out |= {"clip.embeds": pipe.encode_image(image), "condition": condition(pipe, image)}
    text = embeds(out)
    out |= Run(pipe)(torch.randn(1, 4, 2, 4, 6), image=image, output_type="pt", guidance_scale=5.0, **text)
    out |= goldens.with_prefix("transformer.", model.state_dict()) | goldens.with_prefix("vae.", vae.state_dict())
    weights = {k: v for k, v in clip.state_dict().items() if v.is_floating_point()}
    out |= goldens.with_prefix("image_encoder.", weights)
    write("wan_pipeline_i2v21_tiny", out, {"transformer": config, "vae": VAE_21, "image_encoder": CLIP, "guidance": 5.0})


def image_to_video_22():
    config, out = wan_tiny.CONFIG | {"in_channels": 12}, {}
    parts, vae = experts(config, out), wan_vae_tiny.build(VAE_21)
    pipe = WanImageToVideoPipeline(
        **parts, vae=vae, scheduler=scheduler(), text_encoder=None, tokenizer=None, boundary_ratio=0.9
    )
    first, last = picture(2), picture(3)
    images = [Image.fromarray(p.numpy()) for p in (first, last)]
    text, noise = embeds(out), torch.randn(1, 4, 2, 4, 6)
    guidance = {"guidance_scale": 3.5, "guidance_scale_2": 2.0, "output_type": "latent"}
    out |= {"image": first, "last_image": last}
    for prefix, end in (("first.", None), ("first_last.", images[1])):
        run = Run(pipe, prefix)
        out |= run(noise, image=images[0], last_image=end, **guidance, **text)
        out[f"{prefix}condition"] = condition(pipe, images[0], end)
        assert 0 < run.experts.count(1) < STEPS, run.experts
    assert (out["first.condition"] - out["first_last.condition"]).abs().max() > 0.1
    out |= goldens.with_prefix("vae.", vae.state_dict())
    settings = {"guidance": 3.5, "guidance_2": 2.0, "boundary_ratio": 0.9, "experts": run.experts}
    write("wan_pipeline_i2v22_tiny", out, {"transformer": config, "transformer_2": config, "vae": VAE_21} | settings)


def one_for_both():
    config, out = wan_tiny.CONFIG, {}
    model, vae = transformer(config, SEED + 7), wan_vae_tiny.build(VAE_22)
    parts = {"transformer": model, "vae": vae, "text_encoder": None, "tokenizer": None, "expand_timesteps": True}
    # 16 pixels a latent and 2 latents a token: columns are counted in 32s.
    width, noise = 64, torch.randn(1, 4, 2, 2, 4)
    pixels, text = picture(4, width), embeds(out)
    still, settings = Image.fromarray(pixels.numpy()), text | {"output_type": "latent", "guidance_scale": 5.0}
    out |= {"image": pixels} | Run(WanPipeline(**parts, scheduler=scheduler()), "text.")(noise, width, **settings)
    pipe = WanImageToVideoPipeline(**parts, scheduler=scheduler())
    out |= Run(pipe, "image.")(noise, width, image=still, **settings)
    out["image.condition"] = condition(pipe, still, width=width)
    assert torch.equal(out["image.latents.end"][:, :, 0], out["image.condition"][:, :, 0])
    out |= goldens.with_prefix("transformer.", model.state_dict()) | goldens.with_prefix("vae.", vae.state_dict())
    write("wan_pipeline_ti2v_tiny", out, {"transformer": config, "vae": VAE_22, "guidance": 5.0})


def main():
    goldens.seeded(SEED)
    text_to_video()
    two_experts()
    image_to_video_21()
    image_to_video_22()
    one_for_both()


if __name__ == "__main__":
    main()
