"""A container engine of the test's own: Podman with runc as root, its storage in a folder, its API on a socket."""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from deadline import eventually
from passo import ORDER, PATH

# Debian's defaults for root in a virtual machine: no systemd to make cgroups, and limits that may be above the machine's.
CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
"""
TOOLS = ("podman", "runc", "busybox")


def missing():
    """What keeps containers from being tested here; none in CI."""
    if os.geteuid() != 0:
        return "containers need root"
    absent = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
    return f"{', '.join(absent)} is not installed" if absent else None


def image_name():
    """The default image of the example's workers."""
    return re.search(r"WorkerImage:\n\s+Type: String\n\s+Default: (\S+)", (ORDER / "template.yaml").read_text())[1]


class Engine:
    def __init__(self):
        # Podman wants short paths.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
        self.socket = folder / "podman.sock"
        (folder / "containers.conf").write_text(CONFIGURATION)
        self.environment = {
            "PATH": PATH, "HOME": str(folder), "CONTAINERS_CONF": str(folder / "containers.conf"),
            "XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder),
        }
        self.service = None

    def command(self, *words):
        places = ["--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return ["podman", *map(str, [*places, *words])]

    def podman(self, *words):
        done = subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, prefix=()):
        command = [*prefix, *self.command("system", "service", "--time", "0", f"unix://{self.socket}")]
        log = (self.folder / "service.log").open("wb")
        self.service = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.socket.exists, what="the engine's socket")
        return self

    def stop(self):
        if self.service:
            subprocess.run(self.command("rm", "--all", "--force", "--time", "0"), env=self.environment, capture_output=True, timeout=120)
            self.service.terminate()
            self.service.wait(20)
        # Podman leaves its storage mounted.
        subprocess.run(["umount", "--lazy", str(self.folder / "root" / "vfs")], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def import_python(self):
        """An image with this machine's Python and busybox, under the name that the example asks for."""
        archive = self.folder / "image.tar"
        python = Path("/usr/bin/python3").resolve()
        with tarfile.open(archive, "w") as image:
            add_with_libraries(image, python)
            image.add(python, "usr/bin/python3")
            library = Path("/usr/lib") / python.name
            image.add(library, str(library)[1:], filter=without_tests)
            for module in sorted((library / "lib-dynload").glob("*.so")):
                add_libraries(image, module)
            image.add(shutil.which("busybox", path=PATH), "bin/busybox")
            for applet in ("sh", "sleep", "cat", "ls", "true", "false", "echo"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                image.addfile(link)
            folder = tarfile.TarInfo("tmp")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            image.addfile(folder)
        self.podman("import", "--change", "ENV PATH=/usr/bin:/bin", archive, image_name())
        archive.unlink()


def without_tests(entry):
    unwanted = ("__pycache__", "/test", "/idlelib", "/tkinter", "/lib2to3", "/ensurepip", "/config-")
    return None if any(part in entry.name for part in unwanted) else entry


def add_with_libraries(image, file):
    image.add(file, str(file)[1:])
    add_libraries(image, file)


def add_libraries(image, file):
    """The libraries a file is linked to, and the loader."""
    listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        if path[1:] not in image.getnames():
            image.add(os.path.realpath(path), path[1:])
