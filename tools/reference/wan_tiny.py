"""wan_tiny: diffusers' WanTransformer3DModel with small random weights, with taps after every stage.

Two runs over the same input: `scalar.*` with one timestep a sample, `per_token.*` with one a token (Wan 2.2
`expand_timesteps`; the tokens of the first latent frame have 0). Taps of block 0 also inside the block.
"""

import json

import torch
from diffusers import WanTransformer3DModel

import goldens

SEED = 7
CONFIG = {
    "_class_name": "WanTransformer3DModel",
    "patch_size": [1, 2, 2],
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "image_dim": None,
    "added_kv_proj_dim": None,
    "rope_max_seq_len": 32,
    "pos_embed_seq_len": None,
}


def tapped(model):
    block, embedder = model.blocks[0], model.condition_embedder
    return {
        "patch_embedding": model.patch_embedding,
        "temb": embedder.time_embedder,
        "time_proj": embedder.time_proj,
        "text_embedding": embedder.text_embedder,
        "blocks.0.self_attn": block.attn1,
        "blocks.0.cross_attn": block.attn2,
        "blocks.0.ffn": block.ffn,
        "blocks.0": block,
        "blocks.1": model.blocks[1],
        "norm_out": model.norm_out,
        "proj_out": model.proj_out,
    }


def main():
    goldens.seeded(SEED)
    model = WanTransformer3DModel.from_config(CONFIG).eval()
    goldens.randomise(model, SEED)
    # B=2, F=3, H=6, W=10 so that no two extents are alike: 3*3*5 = 45 tokens.
    latents, context = torch.randn(2, 4, 3, 6, 10), torch.randn(2, 5, 16)
    per_token = torch.full((2, 3, 15), 640.0)
    per_token[1] = 251.5
    per_token[:, 0] = 0
    timesteps = {"scalar": torch.tensor([999.0, 312.25]), "per_token": per_token.flatten(1)}
    out = goldens.with_prefix("weights.", model.state_dict()) | {"hidden_states": latents, "context": context}
    for run, timestep in timesteps.items():
        with goldens.Taps(tapped(model)) as taps:
            output = model(latents, timestep, context, return_dict=False)[0]
        # [B,M,F,H,W] as the convolution leaves it -> tokens, as every other stage has them.
        taps["patch_embedding"] = taps["patch_embedding"].flatten(2).transpose(1, 2)
        out |= goldens.with_prefix(f"{run}.", taps | {"timestep": timestep, "output": output})
    assert min(float(v.std()) for k, v in out.items() if k.startswith("scalar.blocks")) > 0.05
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "wan_tiny", out, __file__, SEED, ["diffusers"], 1e-3, meta)


if __name__ == "__main__":
    main()
