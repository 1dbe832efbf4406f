"""Running Toybox with the reference classes: diffusers' transformer, transformers' text encoder, taehv.py."""

import json
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel

from quantise import dequantise
from taehv import TAEHV

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


class Toybox:
    """All parts in f32 from a folder in the original format or in the shipped one (int8 with scales)."""

    def __init__(self, folder, transformer=None, text_encoder=None):
        folder = Path(folder)
        self.transformer = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(folder / "transformer"))
        self.transformer.load_state_dict(dequantise(transformer or load_file(folder / TRANSFORMER)))
        config = BertConfig.from_dict(read_json(folder / "text_encoder/config.json"))
        self.text_encoder = BertModel(config, add_pooling_layer=False)
        state = dequantise(text_encoder or load_file(folder / TEXT_ENCODER))
        left = self.text_encoder.load_state_dict(state, strict=False)
        # Counters that transformers registers as buffers are no weights.
        lacking = [key for key in left.missing_keys if not key.endswith(("position_ids", "token_type_ids"))]
        assert not lacking and not left.unexpected_keys, (lacking, left.unexpected_keys)
        vae = read_json(folder / "vae/config.json")
        self.vae = TAEHV(vae)
        self.vae.load_state_dict({k: v.float() for k, v in load_file(folder / VAE).items()})
        self.mean, self.std = (torch.tensor(vae[k]).view(1, -1, 1, 1, 1) for k in ("latents_mean", "latents_std"))
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "text_encoder")
        self.context_length = read_json(folder / "model_index.json")["max_sequence_length"]
        for part in (self.transformer, self.text_encoder, self.vae):
            part.eval().float()

    @torch.no_grad()
    def embed(self, prompt):
        """The context [1,S,M] of one prompt, zeros where padded, and its number of tokens."""
        tokens = self.tokenizer(
            [prompt], padding="max_length", truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        hidden = self.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        return hidden * tokens.attention_mask[..., None], int(tokens.attention_mask.sum())

    @torch.no_grad()
    def sentence(self, phrases):
        """Mean-pooled, normalised sentence embeddings [n,M]."""
        out = []
        for start in range(0, len(phrases), 64):
            tokens = self.tokenizer(phrases[start : start + 64], padding=True, return_tensors="pt")
            hidden = self.text_encoder(**tokens).last_hidden_state
            mask = tokens.attention_mask[..., None].float()
            out.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(out)

    @torch.no_grad()
    def velocity(self, latents, sigma, context, clean_frames=0):
        """The transformer's output; with clean frames the timestep is given per token, 0 for those frames."""
        timestep = torch.full((1,), float(sigma) * 1000)
        if clean_frames:
            frames, height, width = latents.shape[2:]
            per_token = torch.full((frames, height // 2, width // 2), float(sigma) * 1000)
            per_token[:clean_frames] = 0
            timestep = per_token.flatten()[None]
        return self.transformer(latents, timestep, context, return_dict=False)[0]

    def denoise(self, noise, context, null_context, steps=4, guidance=5.0, shift=3.0, clean=None):
        """Euler steps of the rectified flow; yields the latents after each. `clean` [1,C,f,h,w] replaces the start."""
        sigmas = torch.linspace(1, 0, steps + 1)
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
        latents, kept = noise.clone(), 0 if clean is None else clean.shape[2]
        if kept:
            latents[:, :, :kept] = clean
        for now, then in zip(sigmas[:-1], sigmas[1:]):
            cond, uncond = (self.velocity(latents, now, c, kept) for c in (context, null_context))
            latents = latents + float(then - now) * (uncond + guidance * (cond - uncond))
            if kept:
                latents[:, :, :kept] = clean
            yield latents

    def decode(self, latents):
        """Normalised latents [1,C,f,h,w] -> u8 frames [F,3,H,W]."""
        raw = (latents * self.std + self.mean)[0].transpose(0, 1)
        return (self.vae.decode(raw).clamp(0, 1) * 255).round().byte()

    def encode(self, frames):
        """Frames [F,3,H,W] in 0..1 -> normalised latents [1,C,f,h,w]."""
        return (self.vae.encode(frames).transpose(0, 1)[None] - self.mean) / self.std
