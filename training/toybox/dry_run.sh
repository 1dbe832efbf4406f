#!/bin/bash
# Runs run_gpu.sh with the smallest sizes on a processor, from real files: shows that a run on a GPU does not end at a
# typing error. Not that it fits the GPU's memory or time, nor that it learns.
#
#   dry_run.sh SPRITES [short|motion|full]        a few minutes
set -eu
here=$(cd "$(dirname "$0")" && pwd) models=$here/../../models
work=$(mktemp -d)
mkdir -p "$work/in"
ln -s "$(cd "$1" && pwd)" "$work/in/sprites"
ln -s "$models/toybox/text_encoder" "$models/toybox/vae" "$models/judge" "$work/in/"
ln -s "$models/toybox/transformer/diffusion_pytorch_model.safetensors" "$work/in/transformer.safetensors"
ln -s "$here/../../bench/prompts-240.json" "$work/in/prompts.json"
TINY=1 PLAN=${2:-short} JUDGE=3000 VAE=3000 TRANSFORMER=3000 STUDENT=3000 "$here/run_gpu.sh" "$work/out" "$work/in"
ls -l "$work/out/back"
echo "the logs are in $work/out"
