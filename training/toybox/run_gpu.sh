#!/bin/sh
# Trains everything on one GPU, each step as a process of its own that starts at once, compiles, and waits for the files
# of the step before: not a second of the GPU is idle.
#
#   run_gpu.sh OUT INPUTS        INPUTS has sprites/, text_encoder/, vae.safetensors, transformer.safetensors, prompts.json
#
# Seconds from the start at which the steps end:
JUDGE=${JUDGE:-150} VAE=${VAE:-450} TRANSFORMER=${TRANSFORMER:-1230} STUDENT=${STUDENT:-1450}
set -eu
out=$1 in=$2 here=$(dirname "$0") start=$(date +%s)
mkdir -p "$out"
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTORCH_NVML_BASED_CUDA_CHECK=1 OMP_NUM_THREADS=4
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
files="--sprites $in/sprites --text $in/text_encoder"
step() { # name, seconds, arguments
  name=$1 script=$2 until=$((start + $3)); shift 3
  python3 "$here/$script" "$out" --until $until $files "$@" > "$out/$name.log" 2>&1 &
}
step judge train_judge.py $JUDGE
step vae train_autoencoder.py $VAE --compile --init "$in/vae.safetensors" --after "$out/judge.safetensors"
sleep 20 # the autoencoder compiles first: it is needed first
step transformer train_transformer.py $TRANSFORMER --compile --vae "$out/vae.pt" --init "$in/transformer.safetensors"
step student distill.py $STUDENT --compile --keep-clips 4000 --keep-images 8000 --vae "$out/vae.pt" --init "$out/transformer.pt"
wait
