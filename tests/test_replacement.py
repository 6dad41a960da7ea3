"""A file is replaced completely or not at all, and only along symbolic links of the user or of root."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.storage.replacement import Replacement, make_folder, remove, replacing, resolve

pytestmark = pytest.mark.skipif(os.name != "posix", reason="symbolic links, owners and modes")

as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")

OTHER = 54_321
"""A user who is neither this one nor root."""


def write(path: Path | str, data: bytes = b"new") -> None:
    with replacing(path) as out:
        out.write(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def user(uid: int) -> Generator[None]:
    """What is done in the block is done by another user."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def mounted(*words: str, at: Path) -> Generator[None]:
    done = subprocess.run(["mount", *words, str(at)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not possible: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


# one file


@given(before=st.none() | st.binary(max_size=100), pieces=st.lists(st.binary(max_size=200_000), max_size=4), fails=st.booleans())
def test_all_or_nothing(before: bytes | None, pieces: list[bytes], fails: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "report.json"
        if before is not None:
            path.write_bytes(before)
        with contextlib.suppress(KeyError), replacing(path) as out:
            for piece in pieces:
                out.write(piece)
                assert (path.read_bytes() if path.exists() else None) == before
            if fails:
                raise KeyError
        after = before if fails else b"".join(pieces)
        assert (path.read_bytes() if path.exists() else None) == after
        assert names(Path(name)) == ([] if after is None else ["report.json"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, OSError, MemoryError])
def test_whatever_is_raised(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def fail() -> None:
        with replacing(tmp_path / "x") as out:
            out.write(b"new" * 100_000)
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_while_it_is_written_it_lies_beside(tmp_path: Path) -> None:
    with resolve(tmp_path / "x.json") as target:
        replacement = Replacement(target)
        file = replacement.open()
        [beside] = names(tmp_path)
        assert beside.startswith(".x.json.")
        assert beside.endswith(".tmp")
        file.write(b"new")
        replacement.commit()
        replacement.commit()
        replacement.discard()
    assert names(tmp_path) == ["x.json"]
    assert (tmp_path / "x.json").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "x" * 250 + ".json", "\udcff" * 255])
def test_the_longest_names(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_of_a_new_file_is_that_of_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o777, 0o4755, 0o604])
def test_the_mode_of_an_existing_file_stays(mode: int, tmp_path: Path) -> None:
    """Except set-user-ID, which the kernel takes from a file that is written, too."""
    (tmp_path / "x").write_bytes(b"old")
    (tmp_path / "x").chmod(mode)
    with replacing(tmp_path / "x") as out:
        [beside] = [path for path in tmp_path.iterdir() if path.name != "x"]
        assert beside.stat().st_mode & 0o777 & ~mode == 0
        out.write(b"new")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode & 0o777
    assert (tmp_path / "x").read_bytes() == b"new"


@as_root
def test_the_owner_of_an_existing_file_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    os.chown(tmp_path / "x", OTHER, OTHER + 1)
    (tmp_path / "x").chmod(0o640)
    write(tmp_path / "x")
    after = (tmp_path / "x").stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (OTHER, OTHER + 1, 0o640)


@as_root
@pytest.mark.parametrize(("mode", "kept"), [(0o666, 0o666), (0o662, 0o622), (0o606, 0o600), (0o646, 0o644)])
def test_where_the_owner_cannot_be_kept_nobody_gains_access(mode: int, kept: int, public: Path) -> None:
    """Neither the members of the new group, who were others, nor those of the old one, who are others now."""
    public.chmod(0o777)
    (public / "x").write_bytes(b"old")
    os.chown(public / "x", OTHER + 1, OTHER + 1)
    (public / "x").chmod(mode)
    with user(OTHER):
        write(public / "x")
    after = (public / "x").stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (OTHER, OTHER, kept)
    assert (public / "x").read_bytes() == b"new"


def test_the_access_list_stays(tmp_path: Path) -> None:
    """Of a file that has one the mode's group bits are a mask: without the list they would be the group's."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    for words in (["-m", "u:12345:rw,g::-,m::rw", str(path)], ["-d", "-m", "u:12346:rw", str(tmp_path)]):
        try:
            subprocess.run(["setfacl", *words], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no access lists here")
    access = os.getxattr(path, "system.posix_acl_access")
    write(path)
    assert os.getxattr(path, "system.posix_acl_access") == access
    (tmp_path / "y").write_bytes(b"old")
    os.removexattr(tmp_path / "y", "system.posix_acl_access")
    (tmp_path / "y").chmod(0o664)
    write(tmp_path / "y")
    assert "system.posix_acl_access" not in os.listxattr(tmp_path / "y")


@as_root
def test_a_file_that_may_not_be_written_is_not_replaced(public: Path) -> None:
    public.chmod(0o777)
    (public / "x").write_bytes(b"old")
    with user(OTHER), resolve(public / "x") as target:
        with pytest.raises(PermissionError, match="no permission to write"):
            target.check_writable()
        with pytest.raises(PermissionError):
            Replacement(target).open()
    assert (public / "x").read_bytes() == b"old"
    assert names(public) == ["x"]


def test_a_file_that_appears_meanwhile_is_replaced(tmp_path: Path) -> None:
    with replacing(tmp_path / "x") as out:
        out.write(b"new")
        (tmp_path / "x").write_bytes(b"other")
    assert (tmp_path / "x").read_bytes() == b"new"


# symbolic links


def test_links_of_ones_own_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"old")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to(tmp_path / "folder" / ".." / "real" / "x")
    (tmp_path / "folder").symlink_to("./real/.//")
    write(tmp_path / "a")
    assert (tmp_path / "real" / "x").read_bytes() == b"new"
    assert (tmp_path / "a").is_symlink()
    write(tmp_path / "folder" / "y")
    assert names(tmp_path / "real") == ["x", "y"]


def test_a_dangling_link_says_where_the_file_will_be(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a").symlink_to("real/x")
    write(tmp_path / "a")
    assert (tmp_path / "real" / "x").read_bytes() == b"new"
    assert (tmp_path / "a").is_symlink()


def test_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="too many symbolic links") as raised:
        resolve(tmp_path / "a")
    assert (raised.value.errno, raised.value.filename) == (errno.ELOOP, str(tmp_path / "a"))


@pytest.mark.parametrize(("number", "follows"), [(40, True), (41, False)])
def test_as_many_links_as_the_kernel_follows(number: int, follows: bool, tmp_path: Path) -> None:
    for i in range(number):
        (tmp_path / str(i)).symlink_to(str(i + 1))
    if follows:
        write(tmp_path / "0")
        assert (tmp_path / str(number)).read_bytes() == b"new"
    else:
        with pytest.raises(OSError, match="too many symbolic links"):
            resolve(tmp_path / "0")


@as_root
@pytest.mark.parametrize("name", ["x", "link/x", "mine/link/x"])
def test_links_of_others_are_refused(name: str, tmp_path: Path) -> None:
    """Also where a link of one's own leads to them."""
    (tmp_path / "real").mkdir()
    (tmp_path / "mine").symlink_to(".")
    for link, text in (("link", "real"), ("x", "real/x")):
        (tmp_path / link).symlink_to(text)
        os.lchown(tmp_path / link, OTHER, OTHER)
    path = tmp_path / name
    with pytest.raises(PermissionError, match=rf"/{'x' if name == 'x' else 'link'} is a symbolic link of another user") as raised:
        write(path)
    assert f"(uid {OTHER})" in str(raised.value)
    assert raised.value.filename == str(path)
    assert names(tmp_path / "real") == []


@as_root
def test_links_of_root_are_followed_by_all(public: Path) -> None:
    (public / "real").mkdir()
    os.chown(public / "real", OTHER, OTHER)
    (public / "link").symlink_to("real")
    with user(OTHER):
        write(public / "link" / "x")
        (public / "real" / "own").symlink_to("y")
        write(public / "link" / "own")
    os.lchown(public / "link", OTHER + 1, OTHER + 1)
    with user(OTHER), pytest.raises(PermissionError, match="symbolic link of another user"):
        resolve(public / "link" / "x")
    assert names(public / "real") == ["own", "x", "y"]


@as_root
@pytest.mark.parametrize("content", ["file", "pipe"])
def test_what_others_put_into_a_folder_of_all_is_refused(content: str, public: Path) -> None:
    public.chmod(0o1777)
    (public / "x").write_bytes(b"old") if content == "file" else os.mkfifo(public / "x")
    (public / "x").chmod(0o666)
    os.chown(public / "x", OTHER, OTHER)
    with pytest.raises(PermissionError, match=rf"belongs to another user \(uid {OTHER}\)"):
        write(public / "x")
    os.chown(public / "x", 0, 0)
    if content == "file":
        write(public / "x")
    assert names(public) == ["x"]


def test_a_folder_that_is_swapped_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    with resolve(tmp_path / "folder" / "x") as target:
        (tmp_path / "folder").rename(tmp_path / "moved")
        (tmp_path / "folder").symlink_to("elsewhere")
        replacement = Replacement(target)
        replacement.open().write(b"new")
        replacement.commit()
    assert (tmp_path / "moved" / "x").read_bytes() == b"new"
    assert names(tmp_path / "elsewhere") == []


def test_a_link_put_in_place_of_the_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    with replacing(tmp_path / "x") as out:
        out.write(b"new")
        (tmp_path / "x").symlink_to("victim")
    assert (tmp_path / "victim").read_bytes() == b"victim"
    assert not (tmp_path / "x").is_symlink()
    (tmp_path / "y").write_bytes(b"old")
    with resolve(tmp_path / "y") as target:
        (tmp_path / "y").unlink()
        (tmp_path / "y").symlink_to("victim")
        with pytest.raises(OSError, match="became a symbolic link"):
            Replacement(target).open()


def test_a_relative_path_is_one_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    write("../x")
    write("./y")
    write("z")
    assert (names(tmp_path), names(tmp_path / "a")) == (["a", "x"], ["y", "z"])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no/x", "there is no folder no"),
        ("folder/../no/such/x", "there is no folder folder/../no"),
        ("file/x", "file is not a folder"),
        ("folder", "is a directory"),
        ("folder/", "is a directory"),
        ("folder/..", "is a directory"),
        ("new/", "there is no folder new"),
    ],
)
def test_what_cannot_be_is_said_with_the_path(path: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"folder|directory") as raised:
        write(path)
    assert (raised.value.strerror, raised.value.filename) == (text, path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_open_files_are_written_where_they_are(tmp_path: Path) -> None:
    """Their links in /proc have texts like pipe:[1234]."""
    reader, writer = os.pipe()
    write(f"/dev/fd/{writer}")
    (tmp_path / "x").symlink_to(f"/proc/self/fd/{writer}")
    write(tmp_path / "x", b" again")
    os.close(writer)
    assert os.read(reader, 100) == b"new again"
    os.close(reader)


# what cannot be replaced


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "x").read_bytes()))
    reader.start()
    write(tmp_path / "x")
    reader.join(10)
    assert read == [b"new"]
    assert (tmp_path / "x").is_fifo()


def test_a_device_stays_one() -> None:
    write("/dev/null")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left") as raised:
        write("/dev/full")
    assert raised.value.filename == "/dev/full"


@as_root
@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_writable_file_in_a_folder_that_is_not(size: int, public: Path) -> None:
    (public / "x").write_bytes(b"old" * 1000)
    os.chown(public / "x", OTHER, OTHER)
    inode = (public / "x").stat().st_ino
    with user(OTHER):
        with contextlib.suppress(KeyError), replacing(public / "x") as out:
            out.write(b"half")
            raise KeyError
        assert (public / "x").read_bytes() == b"old" * 1000
        write(public / "x", b"n" * size)
        with pytest.raises(PermissionError) as raised:
            write(public / "y")
    assert raised.value.filename == str(public / "y")
    assert (public / "x").read_bytes() == b"n" * size
    assert (public / "x").stat().st_ino == inode
    assert names(public) == ["x"]


@as_root
def test_a_single_file_that_is_mounted(tmp_path: Path) -> None:
    """As into a container: it can be written, but nothing can take its place."""
    (tmp_path / "outside").write_bytes(b"old" * 100)
    (tmp_path / "x").write_bytes(b"")
    with mounted("--bind", str(tmp_path / "outside"), at=tmp_path / "x"):
        write(tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "outside").read_bytes() == b"new"
    assert names(tmp_path) == ["outside", "x"]


# full disks


@as_root
@pytest.mark.parametrize("before", [None, b"old" * 1000])
def test_a_full_disk(before: bytes | None, tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=16k", "none", at=tmp_path):
        path = tmp_path / "x"
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(OSError, match="No space left") as raised:
            write(path, b"n" * 100_000)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
        assert names(tmp_path) == ([] if before is None else ["x"])
        assert (path.read_bytes() if before else None) == before


@as_root
def test_a_full_disk_under_a_single_mounted_file(tmp_path: Path) -> None:
    """What is there is lost by nothing but a copy that is complete and has room."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "x").write_bytes(b"")
    with mounted("-t", "tmpfs", "-o", "size=16k", "none", at=tmp_path / "disk"):
        (tmp_path / "disk" / "outside").write_bytes(b"old" * 1000)
        with mounted("--bind", str(tmp_path / "disk" / "outside"), at=tmp_path / "x"):
            with pytest.raises(OSError, match="No space left") as raised:
                write(tmp_path / "x", b"n" * 100_000)
            assert raised.value.filename == str(tmp_path / "x")
            assert (tmp_path / "x").read_bytes() == b"old" * 1000
    assert names(tmp_path) == ["disk", "x"]


LIMITED = (
    "import resource, sys\nfrom wiredoctor.storage.replacement import replacing\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    "try:\n    with replacing(sys.argv[1]) as out: out.write(bytes(200_000))\n"
    "except OSError as error: print(error.errno, error.filename)"
)


def test_a_file_that_may_not_get_so_large(tmp_path: Path) -> None:
    """As with a quota: EFBIG and EDQUOT take the same way as ENOSPC."""
    (tmp_path / "x").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert done.stdout == f"{errno.EFBIG} {tmp_path / 'x'}\n"
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


# signals

WRITING = (
    "import signal, sys\nfrom wiredoctor.storage.replacement import replacing\n"
    "def stop(*_): raise KeyboardInterrupt\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "try:\n    print('ready', flush=True)\n    while True:\n"
    "        with replacing(sys.argv[1]) as out: out.write(b'n' * 100_000)\n"
    "except KeyboardInterrupt: sys.exit(7)"
)


@pytest.mark.parametrize("number", range(10))
def test_a_signal_at_any_moment_leaves_a_whole_file_and_no_other(number: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"n" * 100_000)
    process = subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path / "x")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.003 * number)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 7
    process.stdout.close()
    assert (tmp_path / "x").read_bytes() == b"n" * 100_000
    assert names(tmp_path) == ["x"]


# folders


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a")
    (tmp_path / "b").symlink_to("c")
    make_folder(tmp_path / "b")
    assert (tmp_path / "c").is_dir()
    make_folder(tmp_path / "a" / "..")
    with pytest.raises(FileNotFoundError):
        make_folder(tmp_path / "no" / "where")


def test_removing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    for _ in range(2):
        remove(tmp_path / "x")
        assert names(tmp_path) == []
