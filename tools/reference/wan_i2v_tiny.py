"""wan_i2v21_tiny, wan_flf21_tiny, wan_i2v22_tiny: diffusers' WanTransformer3DModel as image to video uses it.

  wan_i2v21_tiny  Wan 2.1: CLIP image tokens beside the text (`image_dim`, `added_kv_proj_dim`) and 36 input channels
  wan_flf21_tiny  Wan 2.1, first and last frame: two pictures, their tokens one after the other, with `pos_embed`
  wan_i2v22_tiny  Wan 2.2 A14B: 36 input channels, no image tokens

`hidden_states` is what the transformer takes: 16 channels of noisy latents, 4 of mask, 16 of the encoded first frame, in
this order (see wan_pipeline_tiny for how they come about); 16 channels come out.

With `added_kv_proj_dim` the class counts from the end: the last 512 context tokens are text, all before are image tokens.
So the text is always 512 tokens, zeros where padded; the zeros become tokens like others after the text embedding and
are attended to. `image_context` is the last hidden layer but one of CLIP (257 tokens of 1280 in the published models);
for first and last frame it has a batch of 2 for one clip, which is joined to one row of 514 before `pos_embed` is added.
"""

import json

import torch
from diffusers import WanTransformer3DModel

import goldens
import wan_tiny

SEED = 29
TEXT, IMAGE, IMAGE_DIM = 512, 5, 20
CONFIG_22 = wan_tiny.CONFIG | {"in_channels": 36, "out_channels": 16}
CONFIG_21 = CONFIG_22 | {"image_dim": IMAGE_DIM, "added_kv_proj_dim": 32}
CONFIG_FLF = CONFIG_21 | {"pos_embed_seq_len": 2 * IMAGE}


def tapped(model):
    modules, block = wan_tiny.tapped(model), model.blocks[0]
    embedder = model.condition_embedder.image_embedder
    if embedder is not None:
        modules |= {
            "image_embedding.norm1": embedder.norm1,
            "image_embedding.ff": embedder.ff,
            "image_embedding": embedder,
            "blocks.0.cross_attn.image_keys": block.attn2.norm_added_k,
            "blocks.0.cross_attn.image_values": block.attn2.add_v_proj,
        }
    return modules


def run(name, config, batch, text_tokens, image):
    model = WanTransformer3DModel.from_config(config).eval()
    goldens.randomise(model, SEED)
    if config["pos_embed_seq_len"] is not None:
        position = model.condition_embedder.image_embedder.pos_embed
        position.copy_(torch.randn(position.shape) * 0.5)
    latents, context = torch.randn(batch, 36, 3, 4, 6), torch.randn(batch, text_tokens, 16)
    if text_tokens == TEXT:
        # As a prompt of 9 (and 30) tokens leaves it.
        for row, length in zip(context, [9, 30]):
            row[length:] = 0
    if image is not None:
        # One faint token: there the eps of the norms counts.
        image[:, -1] *= 0.01
    timestep = torch.tensor([999.0, 312.25])[:batch]
    with goldens.Taps(tapped(model)) as taps:
        output = model(latents, timestep, context, image, return_dict=False)[0]
    taps["patch_embedding"] = taps["patch_embedding"].flatten(2).transpose(1, 2)
    # Most rows are the embedding of zeros; the first of them stands for all.
    if text_tokens == TEXT:
        taps["text_embedding"] = taps["text_embedding"][:, :31].clone()
    if image is not None:
        other = model(latents, timestep, context, image.flip(-1), return_dict=False)[0]
        assert (other - output).abs().max() > 0.02, "the image changes nothing"
    assert output.shape[1] == 16
    assert min(float(v.std()) for k, v in taps.items() if k.startswith("blocks")) > 0.05
    out = goldens.with_prefix("weights.", model.state_dict()) | taps
    out |= {"hidden_states": latents, "context": context, "timestep": timestep, "output": output}
    out |= {} if image is None else {"image_context": image}
    meta = {"config": json.dumps(config)}
    goldens.write("kinora-models", name, out, __file__, SEED, ["diffusers"], 2e-5, meta)


def main():
    goldens.seeded(SEED)
    run("wan_i2v21_tiny", CONFIG_21, 2, TEXT, torch.randn(2, IMAGE, IMAGE_DIM))
    run("wan_flf21_tiny", CONFIG_FLF, 1, TEXT, torch.randn(2, IMAGE, IMAGE_DIM))
    run("wan_i2v22_tiny", CONFIG_22, 2, 7, None)


if __name__ == "__main__":
    main()
