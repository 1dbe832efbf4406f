#!/bin/bash
# Trains everything on one GPU, each step as a process of its own that starts at once, compiles, and waits for the files
# of the step before: not a second of the GPU is idle.
#
#   run_gpu.sh OUT INPUTS        INPUTS has sprites/, text_encoder/, vae/, transformer.safetensors (or its parts), judge/,
#                                prompts.json
#
# PLAN=full (24 minutes): the judge and the whole autoencoder again, then the transformer on the new latents.
# PLAN=short (11 minutes): goes on from INPUTS; only the decoder of the autoencoder, so the latents stay and the transformer
#   starts at once; distils, scores, and leaves in OUT/back what is worth carrying away, in files of at most 15 MB.
#
# TINY=1 runs the same with the smallest sizes, on a processor too, without compiling: it shows typing errors, nothing else.
set -eu
case ${PLAN:=full} in
full) : "${JUDGE:=150}" "${VAE:=450}" "${TRANSFORMER:=1230}" "${STUDENT:=1450}" ;;
short) : "${VAE:=190}" "${TRANSFORMER:=460}" "${STUDENT:=620}" ;;
*) echo "PLAN is full or short" >&2 && exit 2 ;;
esac
# Seconds from the start at which the steps end: JUDGE, VAE, TRANSFORMER, STUDENT.
: "${PYTHON:=python3}"
out=$1 in=$2 here=$(dirname "$0") start=$(date +%s)
mkdir -p "$out"
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTORCH_NVML_BASED_CUDA_CHECK=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
inputs=(--sprites "$in/sprites" --text "$in/text_encoder")
motion=(--lessons 0.4 --camera-said 0.9 --moving 2)
adversarial=(--adversarial-from 0.65 --fast 0.5 --frames 17)
compile=(--compile) tiny=() tiny_vae=() tiny_judge=() tiny_score=()
if [ "${TINY:-0}" = 1 ]; then
  compile=() tiny=(--workers 1 --chunk 2 --clips 1 --images 2 --fill-clips 2 --fill-images 2 --max-steps 2 --log-every 1)
  tiny_vae=(--workers 1 --batch 2 --crop 64 --frames 5 --clips 1 --max-steps 4 --log-every 1)
  tiny_judge=(--workers 1 --batch 2 --singles 1 --clips 2 --max-steps 3) tiny_score=(--limit 1 --batch 1)
fi

declare -A names
step() { # name, script and its arguments
  local name=$1 script=$2
  shift 2
  "$PYTHON" "$here/$script" "$@" > "$out/$name.log" 2>&1 &
  names[$!]=$name
}
until_() { echo --until $((start + $1)); }
latents="$out/vae.pt" after="$out/judge.safetensors" student_steps=6
if [ "$PLAN" = full ]; then
  step judge train_judge.py "$out" $(until_ "$JUDGE") "${inputs[@]}" "${tiny_judge[@]}"
  step vae train_autoencoder.py "$out" $(until_ "$VAE") "${inputs[@]}" "${compile[@]}" --init "$in/vae" --after "$after" \
    "${adversarial[@]}" "${tiny_vae[@]}"
  sleep 20 # the autoencoder compiles first: it is needed first
  teacher=(--auxiliary 0.05) judge=$out
else
  latents="$in/vae" judge="$in/judge"
  # not compiled: that takes longer than it saves in so few seconds
  step vae train_autoencoder.py "$out" $(until_ "$VAE") "${inputs[@]}" --init "$in/vae" --decoder-only \
    "${adversarial[@]}" "${tiny_vae[@]}"
  teacher=(--auxiliary 0.05 --lr 1.5e-3 --first-images 0.1 --fill-clips 2000 --fill-images 3000)
fi
step transformer train_transformer.py "$out" $(until_ "$TRANSFORMER") "${inputs[@]}" "${compile[@]}" --vae "$latents" \
  --init "$in/transformer.safetensors" "${motion[@]}" "${teacher[@]}" "${tiny[@]}"
step student distill.py "$out" $(until_ "$STUDENT") "${inputs[@]}" "${compile[@]}" --vae "$latents" --after "$out/vae.pt" \
  --init "$out/transformer.pt" --keep-clips 4000 --keep-images 8000 "${motion[@]}" "${tiny[@]}"

failed=0
finish() { # waits for all steps; says at once which of them failed, and why
  while [ ${#names[@]} -gt 0 ]; do
    local status=0 pid=
    wait -n -p pid || status=$?
    if [ "$status" != 0 ]; then
      failed=1
      echo "${names[$pid]} failed ($status)" && tail -n 15 "$out/${names[$pid]}.log"
    else
      echo "${names[$pid]} is done after $(($(date +%s) - start)) s"
    fi
    unset "names[$pid]"
  done
}
finish
step export_student export.py "$out/student.pt" "$out/back/student.safetensors" --int8 --shard-mb 15
step export_decoder export.py "$out/vae.pt" "$out/back/decoder.safetensors" --only decoder --shard-mb 15
step score score.py "$out" --judge "$judge" --prompts "$in/prompts.json" --text "$in/text_encoder" --sprites "$in/sprites" \
  --given 0 1 3 "${tiny_score[@]}" "new=$out/student.pt,$out/vae.pt,$student_steps,1" \
  "decoder=$in/transformer.safetensors,$out/vae.pt,$student_steps,1" "old=$in/transformer.safetensors,$in/vae,$student_steps,1"
finish
mkdir -p "$out/back" && tar czf "$out/back/records.tar.gz" -C "$out" $(cd "$out" && ls ./*.json ./*.log ./*.jpg)
echo "all is done after $(($(date +%s) - start)) s"
exit $failed
