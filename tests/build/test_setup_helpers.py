"""The decisions of setup.py: toolkit, CUDA or not, architectures, jobs, compiler, flags."""

import importlib.util
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import cnnfast

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build():
    """setup.py as a module; importing it builds nothing."""
    specification = importlib.util.spec_from_file_location("cnnfast_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_toolkit(root: Path, version: str = "12.4", header: bool = True) -> Path:
    """A tree with an nvcc that answers as the real one does to --version, --dryrun and --list-gpu-arch."""
    script(
        root / "bin" / "nvcc",
        f"""case "$*" in
  *--version*) echo "Cuda compilation tools, release {version}, V{version}.131" ;;
  *--dryrun*) echo "#$ _HERE_={root}/bin" >&2; echo "#$ TOP={root}/bin/.." >&2 ;;
  *--list-gpu-arch*) printf 'compute_75\\ncompute_80\\ncompute_86\\ncompute_103\\n' ;;
esac
""",
    )
    (root / "include").mkdir(exist_ok=True)
    if header:
        (root / "include" / "cuda_runtime.h").touch()
    return root


class TestToolkit:
    def test_cuda_home_wins_over_path(self, build, tmp_path):
        chosen, other = fake_toolkit(tmp_path / "a", "12.4"), fake_toolkit(tmp_path / "b", "13.0")
        found = build.find_toolkit({"CUDA_HOME": str(chosen), "PATH": str(other / "bin")})
        assert found == build.Toolkit(str(chosen), "12.4")

    def test_link_on_path_is_followed(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "cuda")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "nvcc").symlink_to(root / "bin" / "nvcc")
        assert build.find_toolkit({"PATH": str(tmp_path / "bin")}, usual="") == build.Toolkit(str(root), "12.4")

    def test_wrapper_script_on_path_is_asked_for_its_root(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "deep" / "cuda")
        script(tmp_path / "bin" / "nvcc", f'exec {root}/bin/nvcc "$@"\n')
        assert build.find_toolkit({"PATH": str(tmp_path / "bin")}, usual="") == build.Toolkit(str(root), "12.4")

    def test_usual_folder_without_nvcc_on_path(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "cuda")
        found = build.find_toolkit({"PATH": str(tmp_path)}, usual=str(root))
        assert found == build.Toolkit(str(root), "12.4")

    def test_compiler_without_headers_is_no_toolkit(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "cuda", header=False)
        assert build.find_toolkit({"PATH": str(root / "bin")}, usual="") is None

    def test_wrong_cuda_home_is_not_replaced_by_another_toolkit(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "cuda")
        assert build.find_toolkit({"CUDA_HOME": str(tmp_path / "missing"), "PATH": str(root / "bin")}) is None

    def test_headers_without_compiler_is_no_toolkit(self, build, tmp_path):
        root = fake_toolkit(tmp_path / "cuda")
        (root / "bin" / "nvcc").unlink()
        assert build.find_toolkit({"CUDA_HOME": str(root)}) is None


class TestDecision:
    def test_builds_when_major_versions_agree(self, build):
        assert build.decide_cuda(None, True, "13.0", build.Toolkit("/cuda", "13.2")).build
        assert build.decide_cuda(True, True, "13.0", build.Toolkit("/cuda", "13.0")).build

    def test_mismatch_is_loud_and_names_both_versions(self, build):
        plan = build.decide_cuda(None, True, "13.0", build.Toolkit("/cuda", "12.4"))
        assert (plan.build, plan.loud) == (False, True)
        assert "CUDA 12.4" in plan.reason and "CUDA 13.0" in plan.reason

    def test_mismatch_stops_with_both_versions_and_both_cures_when_insisted(self, build):
        with pytest.raises(build.BuildError) as caught:
            build.decide_cuda(True, True, "13.0", build.Toolkit("/cuda", "12.4"))
        message = str(caught.value)
        assert "\n" not in message
        for part in ("CUDA 12.4", "CUDA 13.0", "point CUDA_HOME at a CUDA 13 toolkit", "torch built for CUDA 12"):
            assert part in message

    def test_missing_toolkit(self, build):
        plan = build.decide_cuda(None, True, "13.0", None)
        assert (plan.build, plan.loud) == (False, True)
        with pytest.raises(build.BuildError, match=r"no CUDA toolkit .* point CUDA_HOME at it"):
            build.decide_cuda(True, True, "13.0", None)

    def test_a_wrong_cuda_home_is_an_error(self, build):
        """pip shows nothing of a build that ends well."""
        with pytest.raises(SystemExit, match=r"was found in CUDA_HOME=/wrong .* correct or unset CUDA_HOME, or build"):
            build.decide_cuda(None, True, "13.0", None, "/wrong")
        with pytest.raises(SystemExit, match=r"CNNFAST_CUDA=1 asks for CUDA kernels.*CUDA_HOME=/wrong"):
            build.decide_cuda(True, True, "13.0", None, "/wrong")
        assert not build.decide_cuda(False, True, "13.0", None, "/wrong").loud
        assert not build.decide_cuda(None, True, None, None, "/wrong").build

    def test_cpu_build_of_torch(self, build):
        toolkit = build.Toolkit("/cuda", "13.0")
        assert build.decide_cuda(None, True, None, toolkit) == build.CudaPlan(False, "torch is a build without CUDA")
        with pytest.raises(build.BuildError, match="install a CUDA build of torch"):
            build.decide_cuda(True, True, None, toolkit)

    def test_switched_off(self, build):
        plan = build.decide_cuda(False, True, "13.0", build.Toolkit("/cuda", "13.0"))
        assert (plan.build, plan.loud, plan.reason) == (False, False, "switched off by CNNFAST_CUDA=0")

    def test_no_kernels_in_the_sources(self, build):
        plan = build.decide_cuda(None, False, "13.0", build.Toolkit("/cuda", "12.4"))
        assert (plan.build, plan.loud, plan.reason) == (False, False, "no kernels in this release")
        with pytest.raises(build.BuildError, match="no kernels in this release"):
            build.decide_cuda(True, False, "13.0", build.Toolkit("/cuda", "13.0"))

    @pytest.mark.parametrize(
        ("environment", "request_"),
        [
            ({}, None),
            ({"CNNFAST_CUDA": ""}, None),
            ({"CNNFAST_CUDA": "1"}, True),
            ({"CNNFAST_CUDA": "0"}, False),
            ({"FORCE_CUDA": "1"}, True),
            ({"FORCE_CUDA": "0"}, None),
            ({"CNNFAST_CUDA": "0", "FORCE_CUDA": "1"}, False),
        ],
    )
    def test_request(self, build, environment, request_):
        assert build.cuda_request(environment) is request_

    def test_unknown_request(self, build):
        with pytest.raises(build.BuildError, match="expected CNNFAST_CUDA to be 0 or 1, got 'yes'"):
            build.cuda_request({"CNNFAST_CUDA": "yes"})


class TestArchitectures:
    @pytest.mark.parametrize("wanted", ["8.9", "8.0;8.6+PTX", "9.0a 10.0f", "Hopper", "Kepler+Tesla;8.6"])
    def test_users_list_is_kept(self, build, wanted):
        assert build.architectures({"TORCH_CUDA_ARCH_LIST": wanted}, [(9, 0)], ["7.5"]) == wanted

    @pytest.mark.parametrize("wanted", ["86", "8.6;90", "sm_86", "8.6,9.0", "all"])
    def test_users_list_is_checked_before_anything_is_compiled(self, build, wanted):
        with pytest.raises(SystemExit, match="cnnfast: expected TORCH_CUDA_ARCH_LIST of entries like"):
            build.architectures({"TORCH_CUDA_ARCH_LIST": wanted}, [], [])

    def test_visible_gpus_once_each_and_sorted(self, build):
        assert build.architectures({}, [(9, 0), (8, 6), (9, 0)], ["7.5"]) == "8.6;9.0+PTX"

    def test_default_is_cut_to_what_nvcc_offers(self, build):
        assert build.architectures({}, []) == "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
        assert build.architectures({}, [], ["7.5", "8.0", "8.6", "8.7", "9.0"]) == "7.5;8.0;8.6;9.0+PTX"

    def test_nothing_offered(self, build):
        with pytest.raises(build.BuildError, match="set TORCH_CUDA_ARCH_LIST"):
            build.architectures({}, [], ["3.5"])

    def test_nvcc_is_asked(self, build, tmp_path):
        toolkit = build.toolkit_at(str(fake_toolkit(tmp_path / "cuda")))
        assert build.offered_architectures(toolkit) == ["7.5", "8.0", "8.6", "10.3"]


class TestJobs:
    GIB = 1024**3

    def test_cores_and_memory(self, build):
        assert build.job_count({}, 8, 64 * self.GIB) == 8
        assert build.job_count({}, 8, 7 * self.GIB) == 3
        assert build.job_count({}, 8, self.GIB) == 1
        assert build.job_count({}, 8, None) == 8

    def test_max_jobs_wins(self, build):
        assert build.job_count({"MAX_JOBS": "5"}, 2, self.GIB) == 5

    @pytest.mark.parametrize("value", ["0", "-1", "two"])
    def test_bad_max_jobs(self, build, value):
        with pytest.raises(build.BuildError, match=f"MAX_JOBS to be a positive integer, got '{value}'"):
            build.job_count({"MAX_JOBS": value}, 2, None)

    def test_memory_is_the_smaller_of_machine_and_control_group(self, build, tmp_path):
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal:       100 kB\nMemAvailable:   64 kB\n")
        assert build.available_memory(str(meminfo), str(tmp_path / "none")) == 64 * 1024
        (tmp_path / "memory.current").write_text("1000\n")
        (tmp_path / "memory.max").write_text("max\n")
        assert build.available_memory(str(meminfo), str(tmp_path)) == 64 * 1024
        (tmp_path / "memory.max").write_text("5000\n")
        assert build.available_memory(str(meminfo), str(tmp_path)) == 4000
        assert build.available_memory(str(tmp_path / "none"), str(tmp_path / "none")) is None


class TestCompiler:
    def test_none_on_path_is_one_sentence(self, build, tmp_path):
        with pytest.raises(build.BuildError) as caught:
            build.find_compiler({"PATH": str(tmp_path)})
        assert re.fullmatch(r"cnnfast: no C\+\+ compiler found \(.*\); install one .* or set CXX", str(caught.value))

    def test_first_on_path(self, build, tmp_path):
        script(tmp_path / "g++", "")
        script(tmp_path / "clang++", "")
        assert build.find_compiler({"PATH": str(tmp_path)}) == "g++"

    def test_cxx_with_wrapper_is_kept_whole(self, build, tmp_path):
        script(tmp_path / "ccache", "")
        assert build.find_compiler({"PATH": str(tmp_path), "CXX": "ccache g++-12"}) == "ccache g++-12"

    def test_missing_cxx_is_named(self, build, tmp_path):
        script(tmp_path / "g++", "")
        with pytest.raises(build.BuildError, match=r"\(CXX=g\+\+-99\)"):
            build.find_compiler({"PATH": str(tmp_path), "CXX": "g++-99"})

    def test_missing_python_headers(self, build, tmp_path):
        with pytest.raises(build.BuildError, match=r"no Python\.h in .*python3-dev"):
            build.check_python_headers(str(tmp_path))


class TestFlags:
    @pytest.mark.parametrize("debug", ["", "0", "1", "sanitize"])
    def test_never_tied_to_the_building_machine(self, build, debug):
        flags = " ".join([*build.compile_flags(debug)[0], *build.compile_flags(debug)[1]])
        for forbidden in ("-march", "-mtune", "-fopenmp", "-ffast-math", "-Ofast"):
            assert forbidden not in flags

    def test_modes(self, build):
        assert "-O3" in build.compile_flags("")[0]
        assert build.compile_flags("1")[0][:2] == ["-O0", "-g"]
        assert "-fsanitize=address,undefined" in build.compile_flags("sanitize")[0]
        with pytest.raises(build.BuildError, match="CNNFAST_DEBUG to be 0, 1 or sanitize, got '2'"):
            build.compile_flags("2")

    def test_macros_are_c_strings(self, build):
        values = dict(build.macros('2.14 "x"', "none: reason", "8.0;9.0+PTX"))
        assert values["TORCH_TARGET_VERSION"] == "0x020b000000000000"
        assert values["CNNFAST_BUILD_TORCH"] == '"2.14 \\"x\\""'
        assert values["CNNFAST_BUILD_ARCHS"] == '"8.0;9.0+PTX"'


class TestSources:
    def test_one_version_number(self, build):
        assert build.version() == cnnfast.__version__ == cnnfast.build_info()["version"]

    def test_sorted_relative_and_complete(self, build):
        cpu, cuda = build.cpu_sources(), build.cuda_sources()
        assert cpu == sorted(set(cpu)) and cuda == sorted(set(cuda)) and not set(cpu) & set(cuda)
        assert not any(os.path.isabs(name) for name in cpu + cuda)
        written = [path for suffix in ("cpp", "cu") for path in (ROOT / "csrc").rglob(f"*.{suffix}")]
        assert {*cpu, *cuda} == {path.relative_to(ROOT).as_posix() for path in written}
        assert [name for name in cuda if name.endswith(".cu")]

    def test_every_header_is_a_dependency(self, build):
        written = [path for suffix in ("h", "inl") for path in (ROOT / "csrc").rglob(f"*.{suffix}")]
        assert set(build.headers()) == {path.relative_to(ROOT).as_posix() for path in written}

    def test_no_two_sources_share_folder_and_stem(self, build):
        stems = [os.path.splitext(name)[0] for name in [*build.cpu_sources(), *build.cuda_sources()]]
        assert len(stems) == len(set(stems))


class TestTools:
    """What the build needs beside torch: one sentence each."""

    def test_old_setuptools(self, build, monkeypatch):
        monkeypatch.setattr("importlib.metadata.version", lambda name: "65.5.0")
        with pytest.raises(SystemExit, match=r"cnnfast: expected setuptools 77 or newer, got 65; pip install"):
            build.check_build_tools()

    @pytest.mark.parametrize(
        ("missing", "words"), [("pybind11", "pip install pybind11 ninja"), ("torch", "first pip install 'torch>=2.11'")]
    )
    def test_missing_packages(self, build, monkeypatch, missing, words):
        real = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else real(name))
        with pytest.raises(SystemExit, match=f"cnnfast: .*{words}"):
            build.load_torch()
            build.check_build_tools()

    @pytest.mark.parametrize(("found", "old"), [("2.10.1+cu128", True), ("1.13.0", True), ("2.11.0", False)])
    def test_old_torch(self, build, monkeypatch, found, old):
        monkeypatch.setattr("torch.__version__", found)
        if old:
            with pytest.raises(SystemExit, match=r"expected torch 2\.11 or newer, got .*; pip install 'torch>=2\.11'"):
                build.load_torch()
        else:
            build.load_torch()

    def test_two_builds_wait_for_each_other(self, build, tmp_path):
        lock = str(tmp_path / "build" / "temp.lock")
        code = f"import runpy; m = runpy.run_path({str(ROOT / 'setup.py')!r}, run_name='x')\n"
        code += f"with m['one_at_a_time']({lock!r}): print('in')"
        with build.one_at_a_time(lock):
            other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(1)
        assert other.communicate(timeout=60)[0] == "in\n"

    def test_a_build_starts_from_an_empty_folder_and_removes_it(self, build, tmp_path, monkeypatch):
        from setuptools import Distribution
        from setuptools.command.build import build as command

        monkeypatch.chdir(tmp_path)
        fresh = build.fresh_build_command(command)(Distribution())
        fresh.ensure_finalized()
        assert fresh.build_lib.startswith(os.path.join("build", f"run-{os.getpid()}"))
