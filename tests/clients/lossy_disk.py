"""A filesystem that loses what was not synced: the disk of a machine whose power can be cut.

It lives in the memory of a process of its own, mounted through FUSE. Every write, size, name and removal is volatile
until the file, or the directory that names it, is synced. A cut keeps any part of what is volatile: each 512-byte
sector of each write for itself, and the first few of a directory's name changes. It can also fail, stall, be full, and not read parts of a file.

Used as a program: `lossy_disk.py MOUNTPOINT SEED`; one command a line on stdin, one answer a line on stdout. Tests use
`LossyDisk`.
"""

import errno
import os
import pathlib
import random
import stat
import subprocess
import sys
import threading
import time

SECTOR_BYTES = 512
FREE_BYTES_DEFAULT = 4 << 30
ANSWER_SECONDS_MAX = 30


def why_not():
    """The reason why this machine cannot have one; None when it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no access to /dev/fuse"
    if os.geteuid() != 0:
        return "mounting needs root"
    try:
        import mfusepy  # noqa: F401, PLC0415: loads libfuse
    except (ImportError, OSError, AttributeError) as error:
        return f"no libfuse: {error}"
    return None


class LossyDisk:
    """The program below, as a test drives it."""

    def __init__(self, mountpoint, seed):
        self.mountpoint = pathlib.Path(mountpoint)
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, str(self.mountpoint), str(seed)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.await_mount()

    def await_mount(self):
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while not os.path.ismount(self.mountpoint):
            assert self.process.poll() is None, "the filesystem ended"
            assert time.monotonic() < deadline, "the filesystem was not mounted"
            time.sleep(0.01)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.startswith("ok"), f"{command}: {answer}"
        return answer[3:]

    def cut_after(self, operations):
        """The power goes at the so-manieth write, sync or name change from now; 0: at once."""
        self.ask(f"cut {operations}")

    def is_cut(self):
        return self.ask("state") == "cut"

    def power_on(self):
        """Mounts what is left. Whoever used the disk must have ended."""
        self.ask("on")
        self.await_mount()

    def fail(self, kind, after=1):
        """The so-manieth operation of the kind (read, write, fsync) from now fails with EIO, once."""
        self.ask(f"fail {kind} {after}")

    def refuse(self, path, offset, length=1):
        """Reads of these bytes fail with EIO until `heal`. Nobody may have the file open: the kernel may hold them."""
        name = pathlib.Path(path).relative_to(self.mountpoint)
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.ask(f"refuse /{name} {offset} {length}")

    def heal(self):
        """Everything can be read again."""
        self.ask("heal")

    def stall(self, stalled):
        """Holds every sync until told otherwise."""
        self.ask(f"stall {int(stalled)}")

    def make_read_only(self, read_only):
        self.ask(f"readonly {int(read_only)}")

    def set_capacity(self, size_bytes):
        self.ask(f"capacity {size_bytes}")

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(ANSWER_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
        subprocess.run(["umount", "-l", self.mountpoint], stderr=subprocess.DEVNULL, check=False)


class Node:
    """A file or a directory, whatever its names are."""

    def __init__(self, mode):
        self.mode = mode
        self.content = bytearray()
        self.durable = bytearray()
        self.unsynced = []  # (offset, bytes), or (size,)

    @property
    def is_dir(self):
        return stat.S_ISDIR(self.mode)

    def write(self, data, offset):
        put(self.content, data, offset)
        self.unsynced.append((offset, bytes(data)))

    def resize(self, size):
        fit(self.content, size)
        self.unsynced.append((size,))

    def sync(self):
        for change in self.unsynced:
            if len(change) == 1:
                fit(self.durable, change[0])
            else:
                put(self.durable, change[1], change[0])
        self.unsynced = []

    def lose(self, chance, survival):
        """What a power cut leaves of it."""
        for change in self.unsynced:
            if len(change) == 1:
                if chance.random() < survival:
                    fit(self.durable, change[0])
                continue
            offset, data = change
            at = 0
            while at < len(data):
                end = min(len(data), at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES)
                # A file grows without holes: size follows data in every journalling filesystem.
                if offset + at <= len(self.durable) and chance.random() < survival:
                    put(self.durable, data[at:end], offset + at)
                at = end
        self.unsynced = []
        self.content = bytearray(self.durable)


def fit(content, size):
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def put(content, data, offset):
    if offset > len(content):
        fit(content, offset)
    content[offset : offset + len(data)] = data


class Tree:
    """Names: as they are now, as a cut leaves them at least, and what is between."""

    def __init__(self):
        self.now = {"/": Node(stat.S_IFDIR | 0o755)}
        self.durable = dict(self.now)
        self.changes = []  # (directory, {path: node or None}), in order

    def set(self, directory, names):
        apply(self.now, names)
        self.changes.append((directory, names))

    def sync(self, directory):
        for changed, names in self.changes:
            if changed == directory:
                apply(self.durable, names)
        self.changes = [change for change in self.changes if change[0] != directory]

    def lose(self, chance, survival):
        kept = {}
        for directory, names in self.changes:
            # The first few of each directory: journals keep their order.
            if kept.setdefault(directory, True) and chance.random() < survival:
                apply(self.durable, names)
            else:
                kept[directory] = False
        self.changes = []
        reachable = {}
        for path in sorted(self.durable):
            if path == "/" or parent(path) in reachable:
                reachable[path] = self.durable[path]
        self.durable = reachable
        self.now = dict(reachable)
        for node in set(self.now.values()):
            node.lose(chance, survival)


def apply(names, changed):
    for path, node in changed.items():
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


def parent(path):
    return path.rsplit("/", 1)[0] or "/"


def filesystem(fuse, chance):
    """The operations, over one Tree that outlives a mount."""

    class Lossy(fuse.Operations):
        use_ns = True

        def __init__(self):
            self.guard = threading.RLock()
            self.flowing = threading.Condition(self.guard)
            self.tree = Tree()
            self.handles = {}
            self.next_handle = 1
            self.is_cut = False
            self.cut_in = None
            self.failing = {}
            self.refused = []  # (path, first byte, end)
            self.is_stalled = False
            self.is_read_only = False
            self.capacity = FREE_BYTES_DEFAULT

        # Faults

        def count(self, kind):
            """Before anything that changes the disk."""
            self.check(kind)
            if self.is_read_only:
                raise fuse.FuseOSError(errno.EROFS)
            if self.cut_in is not None:
                self.cut_in -= 1
                if self.cut_in <= 0:
                    self.cut()
                    self.check(kind)

        def check(self, kind):
            if self.is_cut:
                raise fuse.FuseOSError(errno.EIO)
            if kind in self.failing:
                self.failing[kind] -= 1
                if self.failing[kind] <= 0:
                    del self.failing[kind]
                    raise fuse.FuseOSError(errno.EIO)

        def cut(self):
            self.is_cut, self.cut_in = True, None
            self.flowing.notify_all()

        def power_on(self):
            survival = chance.choice((0, 0.1, 0.5, 0.9, 1))
            self.tree.lose(chance, survival)
            self.handles = {}
            self.is_cut, self.failing, self.is_stalled = False, {}, False

        def take(self, size):
            """Room for so many bytes more."""
            if size > 0 and self.used() + size > self.capacity:
                raise fuse.FuseOSError(errno.ENOSPC)

        def used(self):
            return sum(len(node.content) for node in set(self.tree.now.values()))

        # Lookups

        def node(self, path, handle=None):
            if handle in self.handles:
                return self.handles[handle]
            try:
                return self.tree.now[path]
            except KeyError:
                raise fuse.FuseOSError(errno.ENOENT) from None

        def opened(self, node):
            handle, self.next_handle = self.next_handle, self.next_handle + 1
            self.handles[handle] = node
            return handle

        def getattr(self, path, fh=None):
            with self.guard:
                node = self.node(path, fh)
                size = len(node.content)
                return {
                    "st_mode": node.mode,
                    "st_size": size,
                    "st_blocks": (size + 511) // 512,
                    "st_nlink": 2 if node.is_dir else 1,
                }

        def readdir(self, path, fh):
            with self.guard:
                names = [p.rsplit("/", 1)[1] for p in self.tree.now if p != "/" and parent(p) == path]
            return [".", "..", *names]

        def statfs(self, path):
            with self.guard:
                free = max(0, self.capacity - self.used()) // 4096
                return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": self.capacity // 4096, "f_bfree": free, "f_bavail": free}

        # Names

        def add(self, path, node):
            with self.guard:
                self.count("name")
                self.tree.set(parent(path), {path: node})

        def create(self, path, mode, fi=None):
            with self.guard:
                self.add(path, Node(stat.S_IFREG | (mode & 0o7777)))
                return self.opened(self.tree.now[path])

        def mkdir(self, path, mode):
            self.add(path, Node(stat.S_IFDIR | (mode & 0o7777)))

        def unlink(self, path):
            with self.guard:
                self.node(path)
                self.count("name")
                self.tree.set(parent(path), {path: None})

        rmdir = unlink

        def rename(self, old, new):
            with self.guard:
                self.count("name")
                moved = {}
                for path in [p for p in self.tree.now if p == old or p.startswith(old + "/")]:
                    moved[path] = None
                    moved[new + path[len(old) :]] = self.tree.now[path]
                self.tree.set(parent(new), moved)

        def chmod(self, path, mode):
            with self.guard:
                node = self.node(path)
                node.mode = stat.S_IFMT(node.mode) | (mode & 0o7777)

        def chown(self, path, uid, gid):
            pass

        def utimens(self, path, times=None):
            pass

        # Bytes

        def open(self, path, flags):
            with self.guard:
                return self.opened(self.node(path))

        def release(self, path, fh):
            with self.guard:
                self.handles.pop(fh, None)

        def read(self, path, size, offset, fh):
            with self.guard:
                self.check("read")
                for bad, first, end in self.refused:
                    if bad == path and first < offset + size and offset < end:
                        raise fuse.FuseOSError(errno.EIO)
                return bytes(self.node(path, fh).content[offset : offset + size])

        def write(self, path, data, offset, fh):
            with self.guard:
                node = self.node(path, fh)
                self.take(offset + len(data) - len(node.content))
                # The write that the cut meets may have reached the disk in part.
                if self.cut_in == 1:
                    node.write(data, offset)
                self.count("write")
                node.write(data, offset)
                return len(data)

        def truncate(self, path, length, fh=None):
            with self.guard:
                node = self.node(path, fh)
                self.take(length - len(node.content))
                self.count("name")
                node.resize(length)

        def fallocate(self, path, mode, offset, size, fh):
            with self.guard:
                node = self.node(path, fh)
                if mode != 0:
                    raise fuse.FuseOSError(errno.EOPNOTSUPP)
                self.take(offset + size - len(node.content))
                self.count("name")
                node.resize(max(len(node.content), offset + size))

        def fsync(self, path, datasync, fh):
            self.settle(lambda: self.node(path, fh).sync())

        def fsyncdir(self, path, datasync, fh):
            self.settle(lambda: self.tree.sync(path))

        def settle(self, sync):
            with self.guard:
                while self.is_stalled and not self.is_cut:
                    self.flowing.wait()
                self.count("fsync")
                sync()

    return Lossy()


def obey(disk, mountpoint, remount):
    """Carries out commands from stdin until it ends."""
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = "ok"
        if command == "on":
            subprocess.run(["umount", "-l", mountpoint], check=True)
            remount.wait()
            remount.clear()
        with disk.guard:
            if command == "cut" and int(arguments[0]) == 0:
                disk.cut()
            elif command == "cut":
                disk.cut_in = int(arguments[0])
            elif command == "state":
                answer += " cut" if disk.is_cut else " on"
            elif command == "fail":
                disk.failing[arguments[0]] = int(arguments[1])
            elif command == "refuse":
                first = int(arguments[1])
                disk.refused.append((arguments[0], first, first + int(arguments[2])))
            elif command == "heal":
                disk.refused = []
            elif command == "stall":
                disk.is_stalled = arguments[0] == "1"
                disk.flowing.notify_all()
            elif command == "readonly":
                disk.is_read_only = arguments[0] == "1"
            elif command == "capacity":
                disk.capacity = int(arguments[0])
        print(answer, flush=True)
    with disk.guard:
        disk.cut()
    subprocess.run(["umount", "-l", mountpoint], check=False)
    os._exit(0)


def main():
    import mfusepy as fuse  # noqa: PLC0415: only the program needs it

    mountpoint, seed = sys.argv[1:]
    disk, remount = filesystem(fuse, random.Random(int(seed))), threading.Event()
    threading.Thread(target=obey, args=(disk, mountpoint, remount), daemon=True).start()
    while True:
        fuse.FUSE(disk, mountpoint, foreground=True, nothreads=False, allow_other=True, hard_remove=True, max_threads=10)
        with disk.guard:
            disk.power_on()
        remount.set()


if __name__ == "__main__":
    main()
