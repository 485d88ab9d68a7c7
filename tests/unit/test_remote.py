"""A program that is copied over ssh: the script that goes there runs in a folder here, behind a stand-in for ssh and,
where there is an sshd, behind the real ones. sudo and systemctl are stand-ins that note how they were called."""

import functools
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require, require_tools
from tinyfed_command import Tinyfed
from tinyfed_host.firmware import flash, remote

from tinyfed.boards import read_board
from tinyfed.errors import BuildError, DeviceError, MissingToolError, TinyfedError, UsageError

PI = read_board("raspberrypi")
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
# As the real ones: options up to --, the host, and what the login shell is given.
SSH = """#!/bin/sh
printf '%s\\n' "$*" > {home}/../called
while [ "$1" != -- ]; do shift; done
cd {home} && exec sh -c "$3"
"""
SUDO = """#!/bin/sh
[ "$1" = -n ] && shift
echo "$*" >> {home}/../root
if [ "$1" = tee ]; then exec cat > {home}/../unit; fi
"""
SYSTEMCTL = """#!/bin/sh
test -e {home}/../unit
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, programs = tmp_path / "home", tmp_path / "bin"
    for new in (folder, programs):
        new.mkdir()
    for name, text in (("ssh", SSH), ("sudo", SUDO), ("systemctl", SYSTEMCTL)):
        a_program(programs / name, text.format(home=folder))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return folder


def a_program(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def to(text: str = "") -> remote.Address:
    return remote.Address.read(text or f"{getpass.getuser()}@127.0.0.1")


def test_it_arrives_whole_and_may_be_started(home: Path) -> None:
    program = a_program(home.parent / "built", "#!/bin/sh\n" + "# \0\r\n" * 100_000)
    assert remote.copy(PI, program, to("pi@[fe80::1]:2222")) is False, "no service runs it"
    copied = home / "tinyfed-device"
    assert copied.read_bytes() == program.read_bytes()
    assert os.access(copied, os.X_OK)
    assert sorted(path.name for path in home.iterdir()) == ["tinyfed-device"]
    called = (home.parent / "called").read_text()
    assert " -o Port=2222 -- pi@fe80::1 sh -c " in called


def test_a_service_keeps_it_running_and_takes_the_next_program(home: Path) -> None:
    assert remote.copy(PI, a_program(home.parent / "one"), to(), "listen:0.0.0.0:5000")
    unit, root = home.parent / "unit", home.parent / "root"
    assert unit.read_text() == remote.unit(to().user, "listen:0.0.0.0:5000")
    asked = ["systemctl daemon-reload", "systemctl enable tinyfed-device", "systemctl restart tinyfed-device"]
    assert root.read_text().splitlines() == ["true", f"tee {remote.UNIT_FILE}", *asked]
    newer = a_program(home.parent / "two", "#!/bin/sh\nexit 0 # newer\n")
    assert remote.copy(PI, newer, to()), "the service has the new one"
    assert root.read_text().splitlines()[-1] == asked[-1]
    assert (home / "tinyfed-device").read_bytes() == newer.read_bytes()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on PATH")
    for user, line in ((getpass.getuser(), "listen:[::]:5000"), (getpass.getuser(), "/dev/serial0")):
        path = tmp_path / "tinyfed-device.service"
        path.write_text(remote.unit(user, line))
        done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
        assert str(path.name) not in done.stderr


def broken(folder: Path, says: str, code: int) -> None:
    a_program(folder.parent / "bin" / "ssh", f"#!/bin/sh\ncat > /dev/null\necho '{says}' >&2\nexit {code}\n")


@pytest.mark.parametrize(
    ("says", "code", "kind", "told"),
    [
        ("pi@pi: Permission denied (publickey).", 255, DeviceError, "let your key in: ssh-copy-id pi@pi"),
        ("ssh: Could not resolve hostname pi", 255, DeviceError, "check the name"),
        ("ssh: connect to host pi port 22: Connection refused", 255, DeviceError, "is it on, and ssh enabled"),
        ("Host key verification failed.", 255, DeviceError, "look at the key: ssh pi@pi"),
        ("Something new", 255, DeviceError, "pi@pi: Something new; try: ssh pi@pi"),
        ("No space left on device", 1, BuildError, "pi@pi: No space left on device"),
        ("sudo: a password is required", 43, BuildError, "sudo wants a password there; allow it without"),
    ],
)
def test_each_failure_is_one_line(home: Path, says: str, code: int, kind: type[TinyfedError], told: str) -> None:
    broken(home, says, code)
    with pytest.raises(kind, match=re.escape(told)) as caught:
        remote.copy(PI, a_program(home.parent / "built"), to("pi@pi"))
    assert "\n" not in str(caught.value)


def test_what_does_not_run_there_or_is_cut_short_replaces_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "tinyfed-device").write_text("the one before")
    with pytest.raises(BuildError, match=r"raspberrypi's program does not run there, on a computer that is .*32-bit"):
        remote.copy(PI, a_program(home.parent / "built", "#!/none\n"), to())
    cut = SSH.format(home=home).replace("exec sh", "head -c 200 | sh")
    a_program(home.parent / "bin" / "ssh", cut)
    with pytest.raises(BuildError, match="did not arrive whole"):
        remote.copy(PI, a_program(home.parent / "built", "#!/bin/sh\n" + "#\n" * 1000), to())
    assert [path.read_text() for path in home.iterdir()] == ["the one before"]
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(MissingToolError, match="apt-get install openssh-client"):
        remote.copy(PI, home / "tinyfed-device", to())


@pytest.mark.parametrize(
    "text", ["raspberrypi", "-oProxyCommand=x@pi", "pi@-pi", "pi@a b", "pi@pi:0", "pi@pi;ls", "/dev/x"]
)
def test_no_other_address_reaches_ssh(text: str) -> None:
    with pytest.raises(UsageError, match="write USER@HOST"):
        to(text)


@pytest.mark.parametrize(
    "line",
    [
        *("pty", "listen:%h:1", "listen:a:1; ls", '/dev/x"', "listen:a:1\nUser=root", "fd:3"),
        *("listen:a:0", "listen:a:65536", "tcp:a:99999", "listen:::1:80", "listen:[::1:80", "listen:a:\u0663"),
    ],
)
def test_no_other_line_reaches_the_unit(line: str) -> None:
    with pytest.raises(UsageError, match="no line that a service can wait on"):
        remote.unit("pi", line)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("flash --board raspberrypi", "tinyfed firmware flash --board raspberrypi --port pi@raspberrypi.local"),
        ("flash --board raspberrypi --port /dev/ttyUSB0", "write USER@HOST"),
        ("flash --board raspberrypi --port pi@pi --shard x", "--shard: does not go with a program that is copied"),
        ("flash --board mps2_an386 --port pi@pi", "leave it away"),
        ("install --board raspberrypi", "tinyfed firmware install --board raspberrypi --port pi@raspberrypi.local"),
        ("install --board stm32f405 --port pi@pi", "runs no Linux"),
    ],
)
def test_a_command_that_is_refused_says_what_to_type(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in Tinyfed(capsys).error(2, "firmware", *words.split())


@pytest.mark.parametrize(("words", "installs"), [("flash", False), ("install --line /dev/serial0", True)])
def test_the_line_that_dry_run_shows_does_it(
    home: Path, capsys: pytest.CaptureFixture[str], words: str, installs: bool
) -> None:
    program = a_program(home.parent / "tinyfed-device")
    call = ["firmware", *words.split(), "--board", "raspberrypi", "--port", "pi@pi", "--dry-run"]
    with pytest.MonkeyPatch.context() as without:  # ssh
        without.setenv("PATH", "/nowhere")
        shown = Tinyfed(capsys).text(*call)
    assert not list(home.iterdir())
    subprocess.run(["sh", "-c", shown], cwd=program.parent, check=True, timeout=60)
    assert (home / "tinyfed-device").read_bytes() == program.read_bytes()
    assert (home.parent / "unit").exists() is installs


def test_a_device_that_was_installed_answers(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The real program and command; the service manager is a stand-in that starts what the unit says."""
    require_tools("gcc")
    with socket.create_server(("127.0.0.1", 0)) as free:
        line = f"listen:127.0.0.1:{free.getsockname()[1]}"
    start = f"""if [ "$2" = restart ]; then
  line=$(sed -n 's/^ExecStart=//p' {home}/../unit | sed 's/[$][$]/\\\\$/g') # systemd's $$ is a $
  (cd {home} && eval "exec $line") > {home}/../started 2>&1 < /dev/null &
  echo $! > {home}/../pid
fi
"""
    a_program(home.parent / "bin" / "sudo", SUDO.format(home=home) + start)
    try:
        call = ["firmware", "install", "--board", "native", "--port", f"{getpass.getuser()}@127.0.0.1", "--line", line]
        (told,) = Tinyfed(capsys).lines(*call)
        assert (told["port"], told["service"]) == (f"socket://{line.removeprefix('listen:')}", True)
    finally:
        os.kill(int((home.parent / "pid").read_text()), signal.SIGTERM)


def test_a_service_that_does_not_answer_says_where_to_look(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tools("gcc")
    monkeypatch.setattr(flash, "wait_for_answer", functools.partial(flash.wait_for_answer, timeout_s=0.0))
    call = ("install", "--board", "native", "--line", "listen:127.0.0.1:1")
    told = Tinyfed(capsys).error(4, "firmware", *call, "--port", "pi@127.0.0.1")
    assert "ssh pi@127.0.0.1 systemctl status tinyfed-device" in told and "RESET" not in told
    # The stand-in for ssh goes to this computer; its loopback is not that of the other.
    (installed,) = Tinyfed(capsys).lines("firmware", *call, "--port", "pi@pi")
    assert (installed["port"], installed["service"]) == (None, True)


def test_what_is_built_for_a_computer_may_be_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_tools("gcc")
    output = tmp_path / "device"
    Tinyfed(capsys).text("firmware", "build", "--board", "native", "--output", str(output))
    assert subprocess.run([output, "--help"], capture_output=True, timeout=60).returncode == 0
    assert output.stat().st_mode & 0o777 == 0o777 & ~umask()


def umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


@pytest.fixture
def real(home: Path) -> Iterator[remote.Address]:
    """sshd on loopback, without rights: it lets in its own user, and the script into `home` only."""
    require(SSHD, "sshd is not on PATH: apt-get install openssh-server")
    assert SSHD is not None
    require_tools("ssh", "ssh-keygen")
    if os.geteuid() == 0:  # root's sshd wants it, and only its own service makes it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder = home.parent
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inside = f'cd {home} && PATH={folder}/bin:/usr/bin:/bin exec sh -c "$SSH_ORIGINAL_COMMAND"'
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
        f"ForceCommand {inside}\n"
    )
    key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}")
    options = f"-F none -i {folder}/user -o UserKnownHostsFile={folder}/known -o BatchMode=yes"
    a_program(folder / "bin" / "ssh", f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", folder / "sshd_config", "-p", str(port), "-o", "ListenAddress=127.0.0.1"]
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                if server.poll() is not None:
                    require(False, "sshd does not start without rights of root here")
                time.sleep(0.05)
        yield to(f"{getpass.getuser()}@127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait()


def test_over_a_real_sshd(home: Path, real: remote.Address) -> None:
    program = a_program(home.parent / "built", "#!/bin/sh\n" + "# \0\r\n" * 100_000)
    assert remote.copy(PI, program, real, "listen:0.0.0.0:5000")
    assert (home / "tinyfed-device").read_bytes() == program.read_bytes()
    assert (home.parent / "unit").read_text().count("listen:0.0.0.0:5000") == 1
    with pytest.raises(BuildError, match="does not run there"):
        remote.copy(PI, a_program(home.parent / "built", "#!/none\n"), real)
    (home.parent / "user").unlink()
    with pytest.raises(DeviceError, match=r"Permission denied.*ssh-copy-id"):
        remote.copy(PI, program, real)
