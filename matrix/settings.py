"""The settings in which all real tests have to pass: types of weights, kernels, threads; and nox's arguments for them.

A processor without some feature is simulated by telling the libraries not to use it. Uses only the standard library:
the noxfile is read before any environment exists.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["ALL", "COVERING", "Asked", "Setting", "asked", "expected"]


@dataclass(frozen=True)
class Kernels:
    """A set of torch's kernels by its name, and what limits the libraries below torch to the same processor.

    Attributes:
        capability: what a test of them requires; None if every processor has it.
        one_dnn: the same for ``ONEDNN_MAX_CPU_ISA``.
        mkl: the same for ``MKL_ENABLE_INSTRUCTIONS``, which only Intel's processors heed.
    """

    capability: str | None
    one_dnn: str
    mkl: str


KERNELS = {
    "default": Kernels(None, "SSE41", "SSE4_2"),
    "avx2": Kernels("avx2", "AVX2", "AVX2"),
    "avx512": Kernels("avx512", "ALL", "AVX512"),
}
DTYPES = ("float32", "bfloat16")
THREADS = (1, 2, 4)


@dataclass(frozen=True)
class Setting:
    """One way to compute: with these weights, kernels and threads."""

    dtype: str
    kernels: str
    threads: int

    @property
    def session(self) -> str:
        """The name of its receipt."""
        return f"portability-{self.dtype}-{self.kernels}-{self.threads}"

    @property
    def requires(self) -> list[str]:
        """The capabilities that every test requires in this setting, besides its own."""
        capability = KERNELS[self.kernels].capability
        return [capability] if capability else []

    def variables(self, features: Collection[str]) -> dict[str, str]:
        """The variables that select it; kernels only if the processor has the ``features``.

        Without them all tests skip, but before that torch, which does not check, would crash on an illegal instruction.
        """
        chosen = KERNELS[self.kernels]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(self.threads))
        kernels = {
            "ATEN_CPU_CAPABILITY": self.kernels,
            "ONEDNN_MAX_CPU_ISA": chosen.one_dnn,
            "MKL_ENABLE_INSTRUCTIONS": chosen.mkl,
        }
        has_them = chosen.capability is None or any(name.startswith(chosen.capability) for name in features)
        return {"LLM_BACKEND_TEST_DTYPE": self.dtype, **threads, **(kernels if has_them else {})}


ALL = tuple(Setting(*parts) for parts in product(DTYPES, KERNELS, THREADS))
# Each type with each set of kernels and each number of threads: 6 of 18 settings.
COVERING = (
    Setting("float32", "default", 1),
    Setting("float32", "avx2", 2),
    Setting("float32", "avx512", 4),
    Setting("bfloat16", "default", 2),
    Setting("bfloat16", "avx2", 4),
    Setting("bfloat16", "avx512", 1),
)


@dataclass(frozen=True)
class Asked:
    """The arguments after ``--`` on nox's command line.

    Attributes:
        settings: the settings to prove.
        repeat: how often to repeat the tests; 0 for a proof of the settings.
        rest: arguments for pytest; with any, nothing is proved.
    """

    settings: tuple[Setting, ...]
    repeat: int
    rest: list[str]


def asked(arguments: Sequence[str]) -> Asked:
    """Parse the arguments after ``--``; exits with 2, as argparse does, if they make no sense."""
    parser = argparse.ArgumentParser(prog="nox -s portability --", allow_abbrev=False, add_help=False)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--setting", action="append", choices=[setting.session for setting in ALL])
    parser.add_argument("--repeat", type=int, default=0)
    options, rest = parser.parse_known_args(arguments)
    chosen = ALL if options.all else COVERING
    if options.setting:
        chosen = tuple(setting for setting in ALL if setting.session in options.setting)
    return Asked(chosen, options.repeat, rest)


def expected(given: Collection[str]) -> list[str]:
    """Name the settings' receipts that must exist: none before the first run, then COVERING's and all received."""
    found = [setting for setting in ALL if setting.session in given]
    return [setting.session for setting in ALL if found and (setting in found or setting in COVERING)]
