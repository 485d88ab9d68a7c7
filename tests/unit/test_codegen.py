"""C arrays: the text compiles as C99 and C++11 everywhere and gives the model back byte for byte."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import FIRMWARE, RECIPE, require_tools
from hypothesis import given
from hypothesis import strategies as st
from streaming import two_ports
from tflite_builder import Builder
from tflite_models import path_of
from tinyfed_host.cli.main import run_command

from tinyfed.codegen.c_text import check_name, comment_text, float_text, string_text
from tinyfed.codegen.example import example_text
from tinyfed.codegen.from_model import bundle_of, tflite_bundle
from tinyfed.codegen.generate import (
    Array,
    Bundle,
    Port,
    check_labels,
    header_text,
    read_labels,
    source_text,
    suggest_name,
)
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import encode, initialize, mlp
from tinyfed.model.convert import Int8Model, read_model
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.tflite import file as tflite

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wundef", "-pedantic", "-Werror"]
COMPILERS = {
    "gcc": ["gcc", "-std=c99"],
    "g++": ["g++", "-std=c++11", "-x", "c++"],
    "clang": ["clang", "-std=c99"],
    "clang++": ["clang", "-std=c++11", "-x", "c++"],
    "arm": ["arm-none-eabi-gcc", "-std=c99", "-mcpu=cortex-m4", "-mthumb"],
    "arm++": ["arm-none-eabi-gcc", "-std=c++11", "-x", "c++", "-mcpu=cortex-m4", "-mthumb"],
    "aarch64": ["aarch64-linux-gnu-gcc", "-std=c99"],
}
# Labels that C, C++ and trigraphs could trip over.
LABELS = ("yes", 'say "no"', "back\\slash", "what??/", "Grüße", "tab\there", "7 digits after \u00e9" + "77")


def write(bundle: Bundle, folder: Path) -> tuple[Path, Path]:
    header, source = folder / f"{bundle.name}.h", folder / f"{bundle.name}.c"
    header.write_text(header_text(bundle), encoding="ascii")
    source.write_text(source_text(bundle), encoding="ascii")
    return header, source


def small_bundle() -> Bundle:
    return Bundle(
        name="small",
        source="odd */ name??/.tflite",
        arrays=(Array("tflite", "Every byte.", bytes(range(256)) * 3 + b"\x01"),),
        inputs=(Port('in "0" */', "int8", (1, 2, 3), 0.1, -128), Port("second", "float32", (1, 4))),
        outputs=(Port("out", "int8", (1, len(LABELS)), 1 / 256, -128), Port("scalar", "int64", ())),
        labels=LABELS,
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    require_tools(command[0])
    _, source = write(small_bundle(), tmp_path)
    subprocess.run([*command, *WARNINGS, "-c", str(source), "-o", str(tmp_path / "small.o")], check=True, timeout=60)


PRINTER = """
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "small.h"

int main(void) {
    static const int32_t shape[SMALL_INPUT_0_DIMENSIONS] = SMALL_INPUT_0_SHAPE;
    const float scale = SMALL_INPUT_0_SCALE;
    const SMALL_INPUT_0_TYPE zero = SMALL_INPUT_0_ZERO_POINT;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    printf("%u %d %08x %d %d %d\\n", (unsigned)((uintptr_t)small_tflite % SMALL_ALIGNMENT), (int)shape[2],
           (unsigned)bits, (int)zero, (int)SMALL_INPUT_0_COUNT, (int)SMALL_OUTPUT_1_COUNT);
    fwrite(small_tflite, 1, small_tflite_bytes, stdout);
    for (unsigned i = 0; i < SMALL_LABELS; i++) {
        fwrite(small_labels[i], 1, strlen(small_labels[i]) + 1, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang"])
def test_the_program_sees_what_was_written(compiler: str, tmp_path: Path) -> None:
    require_tools(COMPILERS[compiler][0])
    bundle = small_bundle()
    _, source = write(bundle, tmp_path)
    main = tmp_path / "main.c"
    main.write_text(PRINTER)
    program = tmp_path / "program"
    subprocess.run(
        [*COMPILERS[compiler], *WARNINGS, str(main), str(source), "-o", str(program)], check=True, timeout=60
    )
    output = subprocess.run([program], check=True, timeout=10, capture_output=True).stdout
    line, rest = output.split(b"\n", 1)
    bits = int(np.float32(0.1).view(np.uint32))
    assert line.decode() == f"0 3 {bits:08x} -128 6 1"
    content = bundle.arrays[0].content
    assert rest[: len(content)] == content
    assert rest[len(content) :].decode().split("\0")[:-1] == list(LABELS)


def test_text_depends_on_nothing_else() -> None:
    first, second = small_bundle(), small_bundle()
    assert header_text(first) == header_text(second) and source_text(first) == source_text(second)
    assert hashlib.sha256(first.arrays[0].content).hexdigest() in header_text(first)


def test_a_published_model_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_tools("gcc")
    model = path_of("hello_world_int8")
    arguments = ["model", "codegen", str(model), "--name", "hello"]
    assert run_command([*arguments, "-o", str(tmp_path / "a" / "b")]) == 0
    assert run_command([*arguments, "-o", str(tmp_path / "c")]) == 0
    for suffix in ("h", "c"):
        assert (tmp_path / "a" / "b" / f"hello.{suffix}").read_bytes() == (
            tmp_path / "c" / f"hello.{suffix}"
        ).read_bytes()
    header = (tmp_path / "c" / "hello.h").read_text()
    assert "#define HELLO_TFLITE_BYTES 2704u" in header
    assert "#define HELLO_OUTPUT_0_ZERO_POINT 5\n" in header
    subprocess.run(
        [*COMPILERS["gcc"], *WARNINGS, "-c", str(tmp_path / "c" / "hello.c"), "-o", str(tmp_path / "o")],
        check=True,
        timeout=60,
    )
    assert str(tmp_path) in capsys.readouterr().out


def test_nothing_is_written_for_a_broken_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(path_of("hello_world_int8").read_bytes()[:1000])
    assert run_command(["model", "codegen", str(broken), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "broken.tflite: not a usable .tflite file" in error
    assert not (tmp_path / "out").exists()


def test_labels_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    arguments = ["model", "codegen", str(path_of("kws_ref_model")), "-o", str(tmp_path / "out")]
    assert run_command([*arguments, "--labels", str(labels)]) == 2
    assert "2 labels for 12 classes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_example_computes_what_the_engine_does(compiler: str, tmp_path: Path) -> None:
    require_tools(compiler)
    spec = mlp(20, (16,), 3, activation="tanh", loss="softmax_cross_entropy")
    image = encode(spec, initialize(spec, 3))
    (tmp_path / "model.tfm").write_bytes(image)
    (tmp_path / "labels.txt").write_text("up\ndown\nrest\n")
    arguments = ["model", "codegen", str(tmp_path / "model.tfm"), "-o", str(tmp_path), "--name", "gestures"]
    assert run_command([*arguments, "--example", "--labels", str(tmp_path / "labels.txt")]) == 0
    program = tmp_path / "program"
    sources = [tmp_path / "gestures.c", tmp_path / "gestures_example.c", *RECIPE.sources(FIRMWARE, "base", "core")]
    command = [*COMPILERS[compiler], "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    include = RECIPE.include_flags(FIRMWARE, "core")
    subprocess.run([*command, *include, *map(str, sources), "-o", str(program)], check=True, timeout=120)
    printed = subprocess.run([program], check=True, timeout=10, capture_output=True, text=True).stdout.split()
    inputs = (np.arange(20)[None] % 16).astype(np.float32) / 8 - 1
    logits = Engine(image, "infer").infer(inputs)[0].astype(np.float64)
    assert printed[::2] == ["up", "down", "rest"]
    expected = np.exp(logits) / np.exp(logits).sum()  # the model's softmax, which is part of its loss
    np.testing.assert_allclose([float(text) for text in printed[1::2]], expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "arm++"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "mse", "int8"])
def test_the_example_is_cplusplus_too(compiler: str, loss: str, tmp_path: Path) -> None:
    require_tools(COMPILERS[compiler][0])
    model = path_of("micro_speech_quantized")
    if loss != "int8":
        spec, model = mlp(5, (4,), 2, loss=loss), tmp_path / "model.tfm"
        model.write_bytes(encode(spec, initialize(spec, 3)))
    assert run_command(["model", "codegen", str(model), "-o", str(tmp_path), "--name", "net", "--example"]) == 0
    for source in ("net.c", "net_example.c"):
        command = [
            *COMPILERS[compiler],
            *WARNINGS,
            *RECIPE.include_flags(FIRMWARE, "core"),
            "-c",
            str(tmp_path / source),
        ]
        subprocess.run([*command, "-o", str(tmp_path / "o")], check=True, timeout=60)


def test_an_array_of_any_file_for_tflm(tmp_path: Path) -> None:
    """What the engine does not know is no reason: an operator of a later schema, types that C does not have."""
    b = Builder()
    x, out = b.tensor([1, 3], "FLOAT16", name="half"), b.tensor([1, 3], "STRING", name="text")
    b.operator("RELU", [x], [out])
    b.model.operatorCodes[0].builtinCode = 5000
    (tmp_path / "new.tflite").write_bytes(b.content([x], [out]))
    bundle = bundle_of(tmp_path / "new.tflite", "later", choice="tflite")
    text = header_text(bundle)
    assert "/* LATER_INPUT_0_TYPE: float16, which C does not have */" in text and "LATER_OUTPUT_0_TYPE: string" in text
    assert bundle.arrays[0].content == (tmp_path / "new.tflite").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "several"), [("gcc", False), ("clang", False), ("gcc", True)])
def test_the_int8_example_computes_what_the_engine_does(compiler: str, several: bool, tmp_path: Path) -> None:
    """One input and output; two of each, and a state."""
    require_tools(compiler)
    model = path_of("micro_speech_quantized")
    if several:
        model = tmp_path / "two.tflite"
        model.write_bytes(two_ports())
    arguments = ["model", "codegen", str(model), "-o", str(tmp_path), "--name", "speech"]
    assert run_command([*arguments, "--example"]) == 0
    program = tmp_path / "program"
    sources = [tmp_path / "speech.c", tmp_path / "speech_example.c", *RECIPE.sources(FIRMWARE, "base", "core")]
    command = [*COMPILERS[compiler], "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    include = RECIPE.include_flags(FIRMWARE, "core")
    subprocess.run([*command, *include, *map(str, sources), "-o", str(program)], check=True, timeout=120)
    printed = subprocess.run([program], check=True, timeout=10, capture_output=True, text=True).stdout.split()
    converted = read_model(model)
    assert isinstance(converted, Int8Model)
    engine = Int8Engine(converted.content)
    inputs = [(np.arange(port.count) % 16).astype(np.float32) / 8 - 1 for port in engine.inputs]
    outputs = engine.run(*(engine.quantize(values, index) for index, values in enumerate(inputs)))
    expected = [engine.dequantize(values, index).reshape(-1) for index, values in enumerate(outputs)]
    assert [np.float32(text) for text in printed] == list(np.concatenate(expected))
    assert len(set(printed)) > 1


def test_an_image_and_the_tflite_in_one_file(tmp_path: Path) -> None:
    for choice in (None, "both"):
        bundle = bundle_of(path_of("hello_world_float"), "hello", choice=choice)
        assert [array.suffix for array in bundle.arrays] == ["tflite", "image"]
    # what the engine does not run is there for TFLM, without an example
    scrambled = path_of("keyword_scrambled")
    assert [array.suffix for array in bundle_of(scrambled, "words").arrays] == ["tflite"]
    with pytest.raises(UsageError, match="16-bit"):
        bundle_of(scrambled, "words", example=True)
    assert "#define HELLO_ARENA_ONLINE_BYTES" in header_text(bundle)
    require_tools("gcc")
    _, source = write(bundle, tmp_path)
    subprocess.run([*COMPILERS["gcc"], *WARNINGS, "-c", str(source), "-o", str(tmp_path / "o")], check=True, timeout=60)


def test_choices_that_cannot_be_are_refused(tmp_path: Path) -> None:
    spec = mlp(2, (2,), 1)
    (tmp_path / "model.tfm").write_bytes(encode(spec, initialize(spec, 1)))
    with pytest.raises(UsageError, match="so there is no such array"):
        bundle_of(tmp_path / "model.tfm", "m", choice="both")
    with pytest.raises(UsageError, match="array 'all': use one of tflite, image, both"):
        bundle_of(tmp_path / "model.tfm", "m", choice="all")
    with pytest.raises(UsageError, match="add --array image"):
        example_text(bundle_of(path_of("hello_world_float"), "hello", choice="tflite"))


@pytest.mark.parametrize(
    "name",
    ["", "Kws", "9lives", "a-b", "a b", "int", "class", "a__b", "a_", "_a", "tinyfed_x", "x" * 41, "ä", "a;b", "../a"],
)
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name "):
        check_name(name)


@given(st.text(max_size=60))
def test_a_suggested_name_is_valid(stem: str) -> None:
    name = suggest_name(stem)
    assert name == check_name(name)


def test_suggested_names() -> None:
    assert suggest_name("Kws-Ref (2)") == "kws_ref_2"
    assert suggest_name("int") == "model_int"
    assert suggest_name("2nd") == "model_2nd"
    assert suggest_name("tinyfed_x") == "model_tinyfed_x"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_read_back_as_the_same_bits(value: float) -> None:
    text = float_text(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]).view(np.uint32) == np.float32(value).view(np.uint32)


@given(st.text())
def test_comments_and_strings_hold_any_text(text: str) -> None:
    comment = comment_text(text)
    assert "*/" not in comment and "/*" not in comment and "??" not in comment and comment.isascii()
    assert "\n" not in comment and "\\" not in comment
    literal = string_text(text)
    assert literal.isascii() and literal.isprintable() and "??" not in literal


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no labels"), ("a\n\nb\n", ":2: an empty label"), ("a\nb\na\n", ":3: .* there twice")]
)
def test_bad_labels_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_labels(text, "labels.txt")


def test_labels_are_counted() -> None:
    outputs = (Port("out", "int8", (1, 2)),)
    check_labels(("a", "b"), outputs)
    with pytest.raises(UsageError, match="1 labels for 2 classes"):
        check_labels(("a",), outputs)


def test_a_port_carries_scale_and_zero_point() -> None:
    bundle = tflite_bundle(tflite.load(path_of("kws_ref_model")), "kws")
    assert bundle.inputs[0].zero_point == 83 and bundle.inputs[0].shape == (1, 49, 10, 1)
    assert bundle.inputs[0].scale == pytest.approx(0.5847, abs=1e-4)


def test_trigraphs_are_broken_up() -> None:
    """`??/` is a backslash in C99, which would take what follows it into the comment, or end no string."""
    assert comment_text("what??/") == "what? ?/"
    assert comment_text("????") == "? ? ? ?"
    assert comment_text("one? two ?") == "one? two ?"
    assert string_text("what??/") == '"what\\?\\?/"'
