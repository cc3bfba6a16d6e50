"""The settings cover what they claim, reach the libraries by their variables, and have a receipt each."""

from __future__ import annotations

from itertools import product

import pytest

from matrix.settings import ALL, COVERING, DTYPES, KERNELS, THREADS, Setting, asked, expected


def test_default_settings_cover_each_type_with_each_of_the_rest() -> None:
    """Each type of weights is combined with each set of kernels and each number of threads, 18 settings in all."""
    assert {(each.dtype, each.kernels) for each in COVERING} == set(product(DTYPES, KERNELS))
    assert {(each.dtype, each.threads) for each in COVERING} == set(product(DTYPES, THREADS))
    assert len({each.session for each in ALL}) == len(ALL) == 18
    assert set(COVERING) < set(ALL)


def test_a_setting_reaches_every_library() -> None:
    """The kernels of torch, the libraries below it and the number of threads follow the setting."""
    assert Setting("bfloat16", "avx2", 4).variables(["avx2"]) == {
        "LLM_BACKEND_TEST_DTYPE": "bfloat16",
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",
        "RAYON_NUM_THREADS": "4",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


@pytest.mark.parametrize(
    ("kernels", "features", "chosen"),
    [
        ("default", [], "default"),
        ("avx2", ["avx2"], "avx2"),
        ("avx512", ["avx2", "avx512f"], "avx512"),
        ("avx512", ["avx2"], None),
        ("avx2", [], None),
    ],
)
def test_kernels_are_chosen_only_where_the_processor_has_them(
    kernels: str, features: list[str], chosen: str | None
) -> None:
    """A setting chooses its kernels only on a processor that has them; elsewhere its tests skip."""
    assert Setting("float32", kernels, 1).variables(features).get("ATEN_CPU_CAPABILITY") == chosen


def test_what_a_setting_needs_is_what_its_tests_require() -> None:
    """A setting's tests skip by the contract on a processor without its kernels."""
    assert [Setting("float32", kernels, 1).requires for kernels in KERNELS] == [[], ["avx2"], ["avx512"]]


def test_what_is_typed_chooses_settings_repeats_and_tests() -> None:
    """Typed arguments choose all settings, one, repeats, or pass options to pytest."""
    assert asked([]).settings == COVERING
    assert asked(["--all"]).settings == ALL
    assert asked(["--setting", "portability-float32-avx2-4"]).settings == (Setting("float32", "avx2", 4),)
    assert (asked(["--repeat", "20", "-k", "memory"]).repeat, asked(["-k", "memory"]).rest) == (20, ["-k", "memory"])


def test_a_setting_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown setting is refused."""
    with pytest.raises(SystemExit):
        asked(["--setting", "portability-float64-avx2-4"])
    assert "invalid choice: 'portability-float64-avx2-4'" in capsys.readouterr().err


def test_a_merge_expects_all_settings_as_soon_as_one_is_proved() -> None:
    """A merge expects no setting if none was run, and all of them as soon as one was."""
    assert expected(["integration-cpu"]) == []
    found = expected(["integration-cpu", "portability-float32-default-4"])
    assert set(found) == {"portability-float32-default-4", *(each.session for each in COVERING)}
