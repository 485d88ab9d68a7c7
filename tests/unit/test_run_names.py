"""Names of runs: what is one, and what a file's name becomes."""

from pathlib import Path

import pytest
from tinyfed_command import Tinyfed
from tinyfed_host.cli.options import find_run, model_path
from tinyfed_host.run.names import free_name, name_of, new_folder, run_folder
from tinyfed_host.run.store import RunStore, StoreError

from tinyfed.errors import UsageError

NO_NAMES = [
    "", ".", "..", ".hidden", "-x", "a b", "x" * 65, "é", "a/b", "./", "./precious", "../evil", "/tmp/x", "a\\b",
    "a\n", "a\0", "~", "$HOME", "٣",
]  # fmt: skip


@pytest.fixture
def tinyfed(capsys: pytest.CaptureFixture[str]) -> Tinyfed:
    return Tinyfed(capsys)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a run"):
        new_folder(name)


@pytest.mark.parametrize("name", ["a", "a.b-1", "_x", "3", "x" * 64, "a..b", "A-"])
def test_what_is_a_name(name: str) -> None:
    assert new_folder(name) == run_folder(name) == Path("runs") / name


def test_a_run_that_is_there_may_be_named_by_its_path() -> None:
    assert run_folder("/tmp/x") == Path("/tmp/x")
    assert run_folder("runs/x") == Path("runs/x")
    assert run_folder("./x") == Path("x")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("x.toml", "x"),
        ("some/where/x.toml", "x"),
        ("some/people/experiment.toml", "people"),
        ("experiment.toml", "experiment"),
        ("my exp.toml", "my-exp"),
        ("größe.toml", "groesse"),
        ("gro\u0308\u00dfe.toml", "groesse"),  # the umlaut as macOS writes it, in two characters
        ("Öl & Été (2).toml", "Oel-Ete-2"),
        ("...x.toml", "x"),
        ("-x.toml", "x"),
        ("日本.toml", "run"),
        ("a\nb.toml", "a-b"),
        ("x" * 200 + ".toml", "x" * 64),
        ("a.b_c-d.toml", "a.b_c-d"),
        ("\udcff.toml", "run"),  # a name that is no UTF-8
    ],
)
def test_a_file_gives_its_run_a_name(file: str, name: str) -> None:
    assert name_of(file) == name
    assert new_folder(name_of(file)).parent == Path("runs")


def test_a_free_name(tmp_path: Path) -> None:
    assert free_name("demo", tmp_path) == "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").symlink_to("nowhere")
    assert free_name("demo", tmp_path) == "demo-3"


def test_a_run_has_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs/sine", "here", "far/off"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.sqlite").touch()
    monkeypatch.chdir(tmp_path)
    for text in (
        "sine",
        "sine/",
        "runs/sine",
        "runs/sine/",
        "./runs/sine",
        "runs/sine/run.sqlite",
        "sine.toml",
        "a/sine.toml",
    ):
        assert run_folder(text) == Path("runs/sine")
    assert (run_folder("here"), run_folder("far/off/")) == (Path("here"), Path("far/off"))
    assert run_folder(f"{tmp_path}/runs/sine") == tmp_path / "runs/sine"
    assert model_path("sine") == model_path("runs/sine/") == Path("runs/sine/model.tfm")
    assert model_path("here") == Path("here/model.tfm")
    assert model_path("x.tflite") == Path("x.tflite")
    monkeypatch.chdir(tmp_path / "runs")
    assert run_folder("sine") == Path("sine")
    monkeypatch.chdir(tmp_path / "runs/sine")
    assert run_folder(".") == Path()


@pytest.mark.parametrize(
    ("text", "told"), [("sien", 'did you mean "sine"?; runs there: sine'), ("zz", "runs there: sine")]
)
def test_an_unknown_run_names_the_nearest(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="there is no run; `tinyfed run sine` makes one"):
        RunStore.read(run_folder(text))
    (tmp_path / "runs/sine").mkdir(parents=True)
    (tmp_path / "runs/sine/run.sqlite").touch()
    with pytest.raises(StoreError) as error:
        RunStore.read(run_folder(text))
    assert str(error.value) == f"runs/{text}: there is no run; {told}"
    with pytest.raises(StoreError) as error:
        model_path(text)
    assert str(error.value) == f"runs/{text}: there is no run, nor a model's file of that name; {told}"


def test_what_of_many_things_of_one_name_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run, for commands that take a model too; a file that is named as a model's is itself, wherever it lies."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/people", "people/train", "saved", "plain"):
        Path(name).mkdir(parents=True)
    for name in ("run.sqlite", "other.keras", "model.tfm"):
        Path("runs/people", name).touch()
    for name in ("people/model.tfm", "saved/saved_model.pb", "my net.tfm", "net"):
        Path(name).touch()
    for text in ("people", "people.toml", "runs/people/model.tfm", "runs/people"):
        assert find_run(text) == Path("runs/people") and model_path(text) == Path("runs/people/model.tfm")
    for text in ("runs/people/other.keras", "people/model.tfm", "saved", "my net.tfm", "net", "no/such.tfm"):
        assert find_run(text) is None and model_path(text) == Path(text)
    for text in ("plain", "nowhere", "nowhere.toml"):
        assert find_run(text) == Path("runs", Path(text).stem)


@pytest.mark.parametrize(
    "words",
    [
        "evaluate {}", "evaluate {} --task sine", "deploy {} --board mps2_an386", "report {}", "compare {}",
        "runs export {} -o x.csv", "devices adapt /dev/none {}", "model inspect {}", "model export {} -o x.npz",
        "model run {} --input x.npy -o y.npy", "model plan {}", "model codegen {} -o x",
        "model attach-head {} --classes 2 -o x.tfm",
        "run --resume {}", "run sine --from {}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["nowhere", "runs/nowhere", "nowhere.toml"])
def test_a_run_that_is_not_there_is_exit_code_7(
    words: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tinyfed: Tinyfed
) -> None:
    monkeypatch.chdir(tmp_path)
    told = tinyfed.error(7, *(word.format(text) for word in words.split()))
    assert told.startswith("tinyfed: runs/nowhere: there is no run"), told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["run sine", "sweep sine --seeds 2", "runs", "demo", "report sine", "evaluate sine"])
@pytest.mark.parametrize(("is_link", "what"), [(False, "a file"), (True, "a link that leads nowhere")])
def test_where_no_runs_can_be(
    words: str, is_link: bool, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tinyfed: Tinyfed
) -> None:
    monkeypatch.chdir(tmp_path)
    if is_link:
        Path("runs").symlink_to("away")
    else:
        Path("runs").write_text("mine")
    told = tinyfed.error(2, *words.split())
    remedy = "name another folder" if words == "runs" else "move it away, or work in another folder"
    assert told == f"tinyfed: runs: is {what}, and runs need a folder; {remedy}"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"] and Path("runs").is_symlink() == is_link


@pytest.mark.parametrize("words", ["run sine --name dang", "run sine --name dang --force", "demo --name dang"])
def test_a_link_in_a_runs_place_that_leads_nowhere(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tinyfed: Tinyfed
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/dang").symlink_to("away")
    told = tinyfed.error(7, *words.split())
    assert told == "tinyfed: runs/dang: is a link that leads nowhere; remove it, or choose another --name"
    assert Path("runs/dang").is_symlink() and not Path("runs/away").exists()
