"""What GitHub and pre-commit read can be read, and names what is there."""

import os
import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / ".github").is_dir():
    pytest.skip("there is no checkout here", allow_module_level=True)

ASKED = "crayon-bench --version --verbose"


def read(path: str):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_ci_runs_the_script_on_every_python_and_then_tries_the_wheel():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert [step["run"] for step in jobs["tests"]["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    wheel = " ".join(step.get("run", "") for step in jobs["wheel"]["steps"])
    assert jobs["wheel"]["needs"] == "tests"
    assert ASKED in wheel and "crayon-bench plugins list" in wheel
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("name", ["bug", "method", "question"])
def test_every_issue_form_asks_for_the_versions(name):
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"] and form["description"]
    fields = {field["id"]: field for field in form["body"]}
    assert fields["version"]["attributes"]["label"] == ASKED
    assert fields["version"]["validations"]["required"] is True
    assert all(field["type"] in ("textarea", "input") for field in form["body"])


def test_a_pull_request_is_asked_for_the_versions():
    assert ASKED in (ROOT / ".github/pull_request_template.md").read_text(encoding="utf-8")


def test_the_hooks_before_a_commit_are_at_a_fixed_version_or_those_of_the_environment():
    repos = read(".pre-commit-config.yaml")["repos"]
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"]) for repo in repos if repo["repo"] != "local")
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "mypy", "lint-imports"} <= set(hooks)
    assert all(hooks[name]["language"] == "system" for name in ("mypy", "lint-imports"))


def test_contributing_names_sessions_and_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for session in re.findall(r"nox -s (\w+)", text):
        assert f"def {session}(session" in noxfile, session
    for path in re.findall(r"(?:tests|docs|leaderboards|harness)/[\w/.-]*\w", text):
        assert (ROOT / path).exists(), path
