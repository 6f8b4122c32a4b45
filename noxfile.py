"""Sessions: tests, slow, fuzz, chaos, lint, types, benchmarks, docs. Run one with ``nox -s NAME``."""

import nox

nox.options.sessions = ["tests", "slow", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def tests(session: nox.Session) -> None:
    """What is run after every change: minutes."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The other tests: chaos, load, fuzz, the browser, wheels, packages of third parties, long trainings."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "slow", "--dist", "worksteal", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """All hostile cases, 5,000 fuzzed requests and 50 kills of the annotation server; ``slow`` runs a part of them."""
    session.install("-e", ".[test]")
    which = "test_hostile or annotate_attack or annotate_nothing"
    session.run(
        "pytest", "tests", "-m", "slow or not slow", "-k", which, *session.posargs, env={"CRAYON_BENCH_FUZZ": "full"}
    )


@nox.session
def chaos(session: nox.Session) -> None:
    """Processes and machines killed at random moments, a hundred times; takes an hour on two CPUs."""
    session.install("-e", ".[test]")
    session.run(
        "pytest", "-s", "-m", "slow", "tests/test_chaos.py", *session.posargs, env={"CRAYON_BENCH_CHAOS": "100"}
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and which module may import which."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """``mypy --strict``."""
    session.install("-e", ".[lint]")
    session.run("mypy")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Ratios of two things timed in one run."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/benchmarks", "--benchmark-enable", "--benchmark-only", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, with every broken link an error, and run the commands in it."""
    session.install("-e", ".[test,docs]")
    session.run("mkdocs", "build", "--strict", "-d", session.create_tmp(), env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("pytest", "-m", "slow or not slow", "tests/test_docs.py")
