#!/bin/bash
# Trains everything on one GPU, each step as a process of its own that starts at once, compiles, and waits for the files
# of the step before: not a second of the GPU is idle.
#
#   run_gpu.sh OUT INPUTS        INPUTS has sprites/, text_encoder/, vae/, transformer.safetensors (or its parts), judge/
#                                (not PLAN=full) and prompts.json
#
# PLAN=full (25 minutes): the judge and the whole autoencoder again, then the transformer on the new latents.
# PLAN=short (11 minutes): goes on from INPUTS; only the decoder of the autoencoder, so the latents stay and the transformer
#   starts at once.
# PLAN=motion (11 minutes): goes on from INPUTS; the autoencoder stays as it is, the judge learns on beside the transformer.
# All distil, score and leave in OUT/back what is worth carrying away, in files of at most 15 MB.
#
# TINY=1 runs the same with the smallest sizes, without compiling; see dry_run.sh.
set -eu
case ${PLAN:=full} in
full) : "${JUDGE:=150}" "${VAE:=450}" "${TRANSFORMER:=1230}" "${STUDENT:=1450}" ;;
short) : "${VAE:=180}" "${TRANSFORMER:=445}" "${STUDENT:=600}" ;;
motion) : "${JUDGE:=80}" "${TRANSFORMER:=460}" "${STUDENT:=620}" ;;
*) echo "PLAN is full, short or motion" >&2 && exit 2 ;;
esac
# Seconds from the start at which the steps end: JUDGE, VAE, TRANSFORMER, STUDENT.
: "${PYTHON:=python3}"
out=$1 in=$2 here=$(dirname "$0") start=$(date +%s) student_steps=6
mkdir -p "$out/back"
# What a run before left in OUT comes again from its states; a step that waits for it must not take the old file.
rm -f "$out"/{judge.safetensors,vae.pt,transformer.pt,student.pt} "$out"/*.done "$out"/back/*
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTORCH_NVML_BASED_CUDA_CHECK=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True

inputs=(--sprites "$in/sprites" --text "$in/text_encoder")
motion=(--lessons 0.45 --pairs 0.2 --settled 1 --later 0.15 --camera-said 0.9 --moving 2)
autoencoder=(--adversarial-from 0.65 --fast 0.5 --frames 17) teacher=(--auxiliary 0.05 --shift 4)
student=(--motion-guidance 3 --teacher-steps 3) seen_by_judge=(--lessons 0.5 --settled 0.5)
compile=(--compile) tiny=() tiny_vae=() tiny_judge=() tiny_score=()
if [ "${TINY:-0}" = 1 ]; then
  compile=() tiny=(--workers 1 --chunk 2 --clips 1 --images 2 --fill-clips 2 --fill-images 2 --max-steps 2 --log-every 1)
  tiny_vae=(--workers 1 --batch 2 --crop 64 --frames 5 --clips 1 --max-steps 4 --log-every 1)
  tiny_judge=(--workers 1 --batch 2 --singles 1 --clips 2 --max-steps 3) tiny_score=(--limit 1 --batch 1)
fi

declare -A pids=() dependents=([transformer]=student) # who would wait in vain if it failed
step() { # name, script and its arguments
  local name=$1 script=$2
  shift 2
  "$PYTHON" "$here/$script" "$@" > "$out/$name.log" 2>&1 &
  pids[$name]=$!
}
until_second() { echo $((start + $1)); }
score() { # name, NAME=WEIGHTS,VAE, how many latent frames are given
  local name=$1 entry=$2
  shift 2
  step "score_$name" score.py "$out" --judge "$judge" --prompts "$in/prompts.json" "${inputs[@]}" --given "$@" \
    "${tiny_score[@]}" -- "$entry,$student_steps,1"
}
next() { # a step that has ended well
  case $1 in
  vae)
    step export_decoder export.py "$out/vae.pt" "$out/back/decoder.safetensors" --only decoder --shard-mb 15
    score decoder "decoder=$in/transformer.safetensors,$out/vae.pt" 0
    ;;
  student)
    step export_student export.py "$out/student.pt" "$out/back/student.safetensors" --int8 --shard-mb 15
    local vae=$out/vae.pt
    [ -e "$vae" ] || vae=$latents # the decoder's training failed, or there was none
    score new "new=$out/student.pt,$vae" 0 1 3
    ;;
  judge)
    cp "$out/judge.safetensors" "$out/judge.json" "$out/back/" || true
    ;;
  esac
}

latents=$in/vae judge=$out after=() # after: the file that the student's compiling waits for
case $PLAN in
full)
  latents="$out/vae.pt" after=(--after "$out/vae.done")
  dependents+=([vae]="transformer student" [judge]="vae transformer student score_old")
  step judge train_judge.py "$out" --until "$(until_second "$JUDGE")" "${inputs[@]}" "${seen_by_judge[@]}" "${tiny_judge[@]}"
  autoencoder+=("${compile[@]}" --after "$out/judge.safetensors" --save-every 1000) teacher+=(--save-every 2000)
  ;;
short)
  judge=$in/judge after=(--after "$out/vae.done")
  autoencoder+=(--decoder-only) # not compiled: that takes longer than it saves in so few seconds
  ;;
motion)
  after=(--after "$out/judge.done") # the transformer compiles first
  dependents+=([judge]=score_new)
  step judge train_judge.py "$out" --until "$(until_second "$JUDGE")" "${inputs[@]}" "${seen_by_judge[@]}" \
    --init "$in/judge" "${tiny_judge[@]}"
  ;;
esac
[ "$PLAN" = full ] || teacher+=(--lr 2e-3 --first-images 0.1 --fill-clips 2000 --fill-images 3000)
if [ "$PLAN" != motion ]; then
  step vae train_autoencoder.py "$out" --until "$(until_second "$VAE")" "${inputs[@]}" --init "$in/vae" \
    "${autoencoder[@]}" "${tiny_vae[@]}"
fi
[ "$PLAN" != full ] || [ "${TINY:-0}" = 1 ] || sleep 20 # the autoencoder compiles first: it is needed first
step transformer train_transformer.py "$out" --until "$(until_second "$TRANSFORMER")" "${inputs[@]}" "${compile[@]}" \
  --vae "$latents" --init "$in/transformer.safetensors" "${motion[@]}" "${teacher[@]}" "${tiny[@]}"
step student distill.py "$out" --until "$(until_second "$STUDENT")" "${inputs[@]}" "${compile[@]}" --vae "$latents" \
  "${after[@]}" --init "$out/transformer.pt" --keep-clips 4000 --keep-images 8000 "${motion[@]}" "${student[@]}" "${tiny[@]}"
[ "$PLAN" = motion ] || score old "old=$in/transformer.safetensors,$in/vae" 0 1 3 # while the others compile

failed=0
ended() { # name, exit status
  touch "$out/$1.done"
  if [ "$2" = 0 ]; then
    echo "$1 is done after $(($(date +%s) - start)) s"
    next "$1"
    return
  fi
  failed=1
  echo "$1 failed ($2)" && tail -n 15 "$out/$1.log"
  local waiting
  for waiting in ${dependents[$1]:-}; do
    if [ -n "${pids[$waiting]:-}" ]; then kill "${pids[$waiting]}" || true; fi
  done
}
while [ ${#pids[@]} -gt 0 ]; do
  for name in "${!pids[@]}"; do
    if kill -0 "${pids[$name]}" 2> /dev/null; then continue; fi
    status=0
    wait "${pids[$name]}" || status=$?
    unset "pids[$name]"
    ended "$name" "$status"
  done
  sleep 0.2
done
find "$out" -maxdepth 1 \( -name '*.json' -o -name '*.log' -o -name '*.jpg' \) -printf '%f\n' |
  tar czf "$out/back/records.tar.gz" -C "$out" -T -
echo "all is done after $(($(date +%s) - start)) s"
exit $failed
