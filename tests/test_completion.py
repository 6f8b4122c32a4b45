"""Shells complete names as click's own completion asks for them; torch is not imported for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def completed(shell: str, *words: str) -> list[str]:
    """Return what the program offers after *words*, the last of which is incomplete."""
    env = {
        **os.environ,
        "_CRAYON_BENCH_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["crayon-bench", *words]),
    }
    env["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words))
    env["COMP_WORDS"] = " ".join(["crayon-bench", *words[:-1]]) if shell == "fish" else env["COMP_WORDS"]
    code = (
        "import sys, atexit; atexit.register(lambda: 'torch' in sys.modules and print('TORCH'));"
        "from crayon_bench.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stderr == "" and "TORCH" not in done.stdout, done.stderr
    lines = done.stdout.splitlines()
    if shell == "zsh":
        return lines[1::3]
    return [line.partition(",")[2].partition("\t")[0] for line in lines]


CASES = {
    "methods": (("run", "--methods", "crayon"), ["crayon-attention", "crayon-attention-pruning", "crayon-pruning"]),
    "a second method": (("run", "--methods", "original,rr"), ["original,rrr"]),
    "data sets": (("run", "--dataset", "c"), ["celeba"]),
    "protocols": (("run", "--dataset", "celeba", "--protocol", "paper"), ["paper", "paper-final"]),
    "protocols of any": (("oracle", "stats", "--protocol", "fine"), ["finetune"]),
    "oracles": (("run", "--oracle", "s"), ["simulated"]),
    "boards": (("leaderboard", "--board", ""), ["curve", "table1", "table2"]),
    "runs": (("runs", "show", "celeba.r"), ["celeba.rrr.s0.0123456789abcdef"]),
    "data sets of data": (("data", "show", "wat"), ["waterbirds"]),
    "commands": (("anno",), ["annotate"]),
    "annotate": (("annotate", "serve", "--dataset", "water"), ["waterbirds"]),
}


@pytest.mark.parametrize("case", CASES)
def test_names_are_completed(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("celeba.rrr.s0.0123456789abcdef", "celeba.original.s0.0123456789abcdef", ".tmp"):
        (Path("crayon-runs/runs") / name).mkdir(parents=True)
    words, expected = CASES[case]
    assert completed("bash", *words) == expected


@pytest.mark.parametrize("case", ["methods", "a second method", "commands"])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_the_same(shell, case):
    words, expected = CASES[case]
    assert completed(shell, *words) == expected


SHELLS = {
    "bash": """. ./script; COMP_WORDS=(crayon-bench HERE); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _crayon_bench_completion crayon-bench; printf '%s\\n' "${COMPREPLY[@]}" """,
    "zsh": """compdef() { true }; compadd() { print -l -- ${(P)argv[-1]} }; . ./script
        words=(crayon-bench HERE); CURRENT=$#words; _crayon_bench_completion""",
    "fish": ". ./script; complete -C 'crayon-bench HERE'",
}
"""How a shell is asked what its own completion offers."""


@pytest.mark.parametrize("case", ["methods", "a second method"])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_offers_the_names(shell, case, process, tmp_path, monkeypatch):
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not here")
    monkeypatch.chdir(tmp_path)
    Path("script").write_text(process(env={"_CRAYON_BENCH_COMPLETE": f"{shell}_source"}).out)
    Path("crayon-bench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m crayon_bench "$@"\n')
    Path("crayon-bench").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words, expected = CASES[case]
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([program, *plain, "-c", SHELLS[shell].replace("HERE", " ".join(words))], capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (expected, "")


def test_fish_does_not_cut_a_list_at_its_commas(process):
    script = process(env={"_CRAYON_BENCH_COMPLETE": "fish_source"}).out
    assert 'string split --max 1 "," $completion' in script
    assert 'string split ","' not in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_a_shell_loads_names_the_program(shell):
    env = {**os.environ, "_CRAYON_BENCH_COMPLETE": f"{shell}_source"}
    code = "from crayon_bench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0 and "_CRAYON_BENCH_COMPLETE" in done.stdout
