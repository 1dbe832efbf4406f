"""run_gpu.sh without the trainings: which steps it starts, that they understand their arguments, what follows a failure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import distill
import score
import train_autoencoder
import train_judge
import train_transformer

HERE = Path(__file__).parent.parent
PARSERS = {
    "train_judge.py": train_judge.arguments,
    "train_autoencoder.py": train_autoencoder.arguments,
    "train_transformer.py": train_transformer.arguments,
    "distill.py": distill.arguments,
    "score.py": score.arguments,
}
STUB = """#!{python}
import json, os, pathlib, sys, time
script, out = os.path.basename(sys.argv[1]), sys.argv[2]
with open({log!r}, "a") as log:
    log.write(json.dumps([script, *sys.argv[2:]]) + "\\n")
if script == {fails!r}:
    sys.exit("it does not work")
if script == "train_autoencoder.py":
    pathlib.Path(out, "vae.pt").touch()
if script == {waits!r}:
    time.sleep(60)
"""


def run(tmp_path, plan, tiny="1", fails="", waits=""):
    """Exit status, what was printed, and the command lines of the steps."""
    log, stub = tmp_path / "log", tmp_path / "python"
    stub.write_text(STUB.format(python=sys.executable, log=str(log), fails=fails, waits=waits))
    stub.chmod(0o755)
    environment = os.environ | {"PYTHON": str(stub), "PLAN": plan, "TINY": tiny}
    command = [HERE / "run_gpu.sh", tmp_path / "out", tmp_path / "in"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout + done.stderr, [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("plan, tiny", [("short", "1"), ("short", "0"), ("full", "1"), ("motion", "0")])
def test_all_steps_understand_their_arguments(tmp_path, plan, tiny):
    status, printed, steps = run(tmp_path, plan, tiny)
    assert status == 0, printed
    scripts = [script for script, *_ in steps]
    expected = ["train_transformer.py", "distill.py", "export.py", "score.py"]
    expected += [] if plan == "motion" else ["train_autoencoder.py", "export.py", "score.py", "score.py"]
    expected += [] if plan == "short" else ["train_judge.py"]
    assert sorted(scripts) == sorted(expected)
    parsed = {script: PARSERS[script](rest) for script, *rest in steps if script in PARSERS}
    if plan != "motion":
        assert parsed["train_autoencoder.py"].decoder_only == (plan == "short")
    if plan != "short":
        assert (parsed["train_judge.py"].init is not None) == (plan == "motion")
    assert parsed["distill.py"].lessons == parsed["train_transformer.py"].lessons > 0
    assert parsed["train_transformer.py"].compile == (tiny == "0")
    assert (tmp_path / "out/back/records.tar.gz").exists()


def test_a_failure_is_told_and_what_does_not_depend_on_it_goes_on(tmp_path):
    status, printed, steps = run(tmp_path, "short", fails="train_transformer.py", waits="distill.py")
    assert status == 1 and "transformer failed (1)" in printed and "it does not work" in printed
    assert "student failed (143)" in printed  # it was ended, and did not wait in vain
    assert sum(script == "export.py" for script, *_ in steps) == 1  # the decoder


def test_without_an_autoencoder_nobody_waits_for_it(tmp_path):
    status, printed, _ = run(tmp_path, "full", fails="train_autoencoder.py", waits="train_transformer.py")
    assert status == 1 and "vae failed (1)" in printed and "transformer failed (143)" in printed


def test_without_a_decoder_the_student_is_still_made(tmp_path):
    status, printed, steps = run(tmp_path, "short", fails="train_autoencoder.py")
    assert status == 1 and "student is done" in printed
    assert (tmp_path / "out/vae.done").exists()
    new = next(rest for script, *rest in steps if script == "score.py" and rest[-1].startswith("new="))
    assert new[-1].split(",")[1] == str(tmp_path / "in/vae")


def test_files_of_a_run_before_are_not_taken_for_new_ones(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("transformer.pt", "transformer_state.pt"):
        (tmp_path / "out" / name).touch()
    run(tmp_path, "short")
    assert not (tmp_path / "out/transformer.pt").exists() and (tmp_path / "out/transformer_state.pt").exists()
