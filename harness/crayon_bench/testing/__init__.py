"""Checks that a plugin keeps to what its interface asks for; for plugin authors.

In a test file::

    from crayon_bench.testing import parametrize_with_checks
    from my_package import MyMethod

    @parametrize_with_checks([MyMethod])
    def test_my_plugins(plugin, check):
        check(plugin)

``crayon-bench plugins check NAME`` runs the same checks. A method is run as ``crayon-bench run`` runs it, on a tiny
data set that is drawn in memory.
"""

import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crayon_bench.errors import did_you_mean
from crayon_bench.plugins.registry import Kind, kind_of
from crayon_bench.testing.tiny import TinyOracle, TinySet
from crayon_bench.testing.trial import CheckSkipped, Trial, try_method

__all__ = [
    "Check",
    "CheckSkipped",
    "Outcome",
    "TinyOracle",
    "TinySet",
    "Trial",
    "checks_for",
    "parametrize_with_checks",
    "run_checks",
    "try_method",
]

Check = Callable[[type[Any]], None]
"""Raises AssertionError if a plugin does not keep to something, CheckSkipped if there is nothing to look at."""

ExpectedFailures = Mapping[str, str] | Callable[[type[Any]], Mapping[str, str]]


def checks_for(plugin: type[Any]) -> list[Check]:
    """Return the checks for *plugin*, a subclass of Dataset, FeedbackOracle, Method or Metric.

    Raises TypeError for anything else.
    """
    from crayon_bench.testing import datasets, methods, metrics, oracles

    of = {
        Kind.DATASET: datasets.checks_of,
        Kind.ORACLE: oracles.checks_of,
        Kind.METHOD: methods.checks_of,
        Kind.METRIC: metrics.checks_of,
    }
    kind = kind_of(plugin)
    if kind not in of:
        raise TypeError(f"there are no checks for plugins of the kind '{kind}'")
    return of[kind](plugin)


@dataclass(frozen=True)
class Outcome:
    """How one check went. state: ``ok``, ``FAILED`` or ``skipped``. details: what was printed meanwhile."""

    check: str
    state: str
    reason: str = ""
    details: str = ""


def run_checks(plugin: type[Any]) -> Iterator[Outcome]:
    """Run all checks for *plugin*, one after the other. Whatever a check raises is a failure of the plugin."""
    for check in checks_for(plugin):
        name = check.__name__
        try:
            check(plugin)
        except unittest.SkipTest as skip:
            yield Outcome(name, "skipped", _one_line(str(skip)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            what = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            yield Outcome(name, "FAILED", _one_line(what), "\n".join(getattr(error, "__notes__", [])))
        else:
            yield Outcome(name, "ok")


def parametrize_with_checks(plugins: Sequence[type[Any]], *, expected_failed_checks: ExpectedFailures = {}) -> Any:  # noqa: B006
    """Return a decorator that turns ``test(plugin, check)`` into one test per plugin and check.

    expected_failed_checks: name of a check → why it is expected to fail; it is then marked ``xfail``. Or a function
    that returns this for a plugin. Raises ValueError for a check that does not exist.
    """
    import pytest

    parameters = []
    for plugin in plugins:
        checks = checks_for(plugin)
        names = [check.__name__ for check in checks]
        expected = expected_failed_checks(plugin) if callable(expected_failed_checks) else expected_failed_checks
        for name in expected:
            # Of several plugins, some may not have a check that others have.
            if name not in names and (callable(expected_failed_checks) or len(plugins) == 1):
                raise ValueError(f"there is no check '{name}' for {plugin.__name__}; {did_you_mean(name, names)}")
        for check, name in zip(checks, names, strict=True):
            marks = [pytest.mark.xfail(reason=expected[name])] if name in expected else []
            parameters.append(pytest.param(plugin, check, id=f"{plugin.__name__}-{name}", marks=marks))
    return pytest.mark.parametrize(("plugin", "check"), parameters)


def _one_line(text: str) -> str:
    return " ".join(text.split())
