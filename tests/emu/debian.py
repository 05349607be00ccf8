# SPDX-License-Identifier: BSD-2-Clause
"""What `make debian` has built, as a VM: its disk, its configuration, and a shell at its console."""
import os
import shutil
import subprocess
import tempfile
import urllib.request

from machine import BUILD, Failure, guest_file

DIRECTORY = guest_file("debian")
PASSWORD = "spillway"  # guests/debian/configure
FILES = tuple(f"{os.path.join(DIRECTORY, name)}=\\guest\\{name}" for name in ("vmlinuz", "initrd.img"))


class Disks:
    """A copy of the image for each VM; gone at the end."""

    def __init__(self, count):
        self.folder = tempfile.TemporaryDirectory(prefix="debian-", dir=BUILD)
        self.paths = [os.path.join(self.folder.name, f"{number}.img") for number in range(count)]
        for path in self.paths:
            subprocess.run(["cp", "--sparse=always", os.path.join(DIRECTORY, "disk.img"), path], check=True)
        self.options = [f"--guest-disk={path}" for path in self.paths]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder.name)

    def check(self):
        """Each holds a file system that has nothing to be repaired."""
        for path in self.paths:
            done = subprocess.run(["e2fsck", "-fn", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, check=False)
            if done.returncode != 0:
                raise Failure(f"e2fsck: {done.stdout}")


def ssh(port, command, data=b""):
    """What the command prints that root runs in the guest whose sshd is forwarded to that port."""
    options = [word for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes",
                                   "ConnectTimeout=60", "LogLevel=ERROR") for word in ("-o", option)]
    done = subprocess.run(["ssh", "-i", os.path.join(DIRECTORY, "id_ed25519"), "-p", str(port), *options,
                           "root@127.0.0.1", command], input=data, capture_output=True, timeout=300, check=False)
    if done.returncode != 0:
        raise Failure(f"ssh: exit status {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def fetch(port):
    """The page that the web server behind that port gives first."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        return answer.read()


def vm(name, disk, memory, **keys):
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             "cmdline = console=ttyS0 root=LABEL=debian ro quiet", f"memory = {memory}", f"disk0 = {disk}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


class Shell:
    """root at the VM's serial console, over the monitor's `console`."""

    def __init__(self, machine, name):
        self.machine = machine
        self.name = name
        self.count = 0

    def attach(self):
        """And lets pass what the monitor shows of earlier output, in which there may be a login, too."""
        self.machine.send(f"console {self.name}\r")
        self.machine.expect(rf"^console of {self.name}, ", 30, len(self.machine.text))
        seen = None
        while seen != len(self.machine.text):
            seen = len(self.machine.text)
            self.machine.wait(1.0)

    def detach(self):
        start = len(self.machine.text)
        self.machine.send("\x1d")
        self.machine.expect("^spillway> ", 30, start)

    def log_in(self, seconds, since=0):
        """Waits for the login prompt, behind `since` in the text; leaves the console attached."""
        self.machine.expect(rf"^{self.name}\| .*spillway login:", seconds, since)
        self.attach()
        start = len(self.machine.text)
        self.machine.send("\r")
        start = self.machine.expect("spillway login:", 60, start).end()
        self.machine.send("root\r")
        start = self.machine.expect("Password:", 60, start).end()
        self.machine.send(PASSWORD + "\r")
        self.machine.expect(r"root@spillway:~# ", 120, start)
        self.run("export PAGER=cat PS1=; stty -echo; bind 'set enable-bracketed-paste off'", 60)

    def type(self, command):
        """Leaves the command running; its mark, for wait()."""
        self.count += 1
        start = len(self.machine.text)
        self.machine.send(f"{command}; echo end-{self.name}-{self.count}-$?\r")
        return start, self.count

    def wait(self, mark, seconds):
        start, count = mark
        end = self.machine.expect(rf"end-{self.name}-{count}-(\d+)\n", seconds, start)
        output = self.machine.text[start:end.start()]
        if end.group(1) != "0":
            raise Failure(f"{self.name}: exit status {end.group(1)}: {output}")
        return output

    def run(self, command, seconds=120):
        """What the command prints; it must succeed."""
        return self.wait(self.type(command), seconds)
