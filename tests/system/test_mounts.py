"""Which file system a directory is on, by mount tables as kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcache.storage.local import LocalStore
from pcache.system.mounts import is_network

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:40 / /home rw,relatime shared:9 - nfs4 server:/export/home rw,vers=4.2,addr=10.0.0.1
31 30 0:41 / /home/local rw,relatime - ext4 /dev/vdb rw
32 22 0:42 / /mnt/with\040space rw,relatime master:3 propagate_from:2 - cifs //server/share rw
33 22 0:43 / /mnt/twice rw - nfs server:/a rw
34 33 0:44 / /mnt/twice rw - xfs /dev/vdc rw
35 22 0:45 / /mnt/ssh rw - fuse.sshfs me@there:/ rw
36 22 0:46 / /mnt/disk rw - fuse.ntfs-3g /dev/sdb1 rw
37 22 0:47 / /mnt/back\134slash rw - 9p share rw
38 22 0:48 / /auto rw - autofs systemd-1 rw
39 38 0:49 / /auto rw - lustre server@tcp:/fs rw
40 22 0:50 /nfs /srv/nfs rw - btrfs /dev/vdd rw,subvol=/nfs
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", False),
        ("/var/cache", False),
        ("/home", True),
        ("/home/me/.cache/pcache", True),
        ("/homes/me", False),
        ("/home/local/me", False),
        ("/home/locals", True),
        ("/mnt/with space/cache", True),
        ("/mnt/with", False),
        ("/mnt/twice/cache", False),
        ("/mnt/ssh/cache", True),
        ("/mnt/disk/cache", True),
        ("/mnt/back\\slash/cache", True),
        ("/auto/cache", True),
        ("/srv/nfs/cache", False),
    ],
)
def test_the_longest_mount_point_decides(tmp_path: Path, path: str, expected: bool) -> None:
    """The mount nearest above a path counts, of those on one point the last, and names only as whole words."""
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert is_network(path, str(table)) is expected


def test_a_root_on_the_network(tmp_path: Path) -> None:
    """A machine whose root is on the network has nothing that is not."""
    table = tmp_path / "mountinfo"
    table.write_text("22 1 0:30 / / rw - nfs server:/root rw\n")
    assert is_network("/any/where", str(table))


def test_what_is_no_table(tmp_path: Path) -> None:
    """Without a mount table, or with lines that are none, the answer is no."""
    assert not is_network("/home", str(tmp_path / "nothing"))
    (tmp_path / "mountinfo").write_text("\nnonsense\n")
    assert not is_network("/home", str(tmp_path / "mountinfo"))
    (tmp_path / "mountinfo").write_bytes(b"30 22 0:40 / /h\xff rw - nfs server:/ rw\n")
    assert not is_network("/home", str(tmp_path / "mountinfo"))


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """A link to another file system is on that one."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:1 / {tmp_path / 'there'} rw - nfs s:/ rw\n")
    assert is_network(str(tmp_path / "here" / "cache"), str(table))


def test_this_machine(tmp_path: Path) -> None:
    """A temporary directory is taken for a local one, unless somebody says otherwise."""
    assert not LocalStore(str(tmp_path / "cache")).network
    assert LocalStore(str(tmp_path / "cache"), network=True).network
