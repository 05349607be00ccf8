# SPDX-License-Identifier: BSD-2-Clause
"""The machine's NICs: found, watched, and as the uplink of a guest's switch, which the machine that runs the
emulator reaches.  Cables are pulled in the middle."""
import hashlib
import json
import os
import random
import socket
import tempfile
import time

from cases import LAST_OK, VMLINUZ, Case, expect_end, host
from machine import Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
MODULES = ",".join(f"/lib/{name}.ko" for name in
                   ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
                    "failover", "net_failover", "virtio_net"))
MODELS = {"virtio-net-pci": "virtio-net", "e1000": "82540EM", "e1000e": "82574L"}
UPLOADS = 3  # one after the other; the first one with its cable pulled

# Takes what comes at port 2001 and says its checksum, so often; then sends 4 MiB at 2002.
SERVE = ("ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2; "
         "for i in $(seq %(uploads)d); do echo upload $i; nc -l -p 2001 > /up; md5sum /up; done; "
         "dd if=/dev/urandom of=/down bs=64k count=64 2> /dev/null; md5sum /down; "
         "nc -l -p 2002 < /down; ping -c 2 10.0.2.2 && echo all is done")


class Cable:
    """QEMU's monitor, to pull the NIC's cable; its socket is gone at the end."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="uplink-")
        self.path = os.path.join(self.folder.name, "qmp")
        self.words = f"--qemu=-qmp unix:{self.path},server=on,wait=off"
        self.line = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.line is not None:
            self.line.close()
        self.folder.cleanup()

    def _ask(self, command, **arguments):
        self.line.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.line.flush()
        while True:
            answer = json.loads(self.line.readline())
            if "error" in answer:
                raise Failure(f"QEMU: {answer}")
            if "return" in answer:
                return

    def plug(self, up):
        if self.line is None:
            monitor = socket.socket(socket.AF_UNIX)
            monitor.settimeout(30)
            monitor.connect(self.path)
            self.line = monitor.makefile("rwb")
            self.line.readline()  # its greeting
            self._ask("qmp_capabilities")
        self._ask("set_link", name="net0", up=up)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def expect_link(machine, up, start=0):
    """The end of the line that says so; at the boot it may be up at once."""
    state = "up" if up else "down"
    return machine.expect(rf"hv: eth0: (.*, )?link {state}$", 30, start).end()


def found(model):
    """Found, shown, and its link watched."""
    def run(boot):
        with Cable() as cable:
            config = host(pool="32M", store="none", when_idle="monitor")
            extra = ["--net=user", f"--nic={model}"]
            machine = boot(config, store="none", extra=extra + [cable.words])
            at = machine.expect(rf"hv: eth0: {MODELS[model]}, MAC 52:54:00:12:34:56, ", 120).end()
            machine.expect("^spillway> ", 60)
            expect_link(machine, True)
            for up in (False, True, False, True):
                at = len(machine.text)
                cable.plug(up)
                at = expect_link(machine, up, at)
                state = "up" if up else "down"
                if f"link {state}" not in machine.command("nics"):
                    raise Failure(f"nics does not say that the link is {state}")
            figures = machine.stats()["nics"]
            if [nic["name"] for nic in figures] != ["eth0"] or figures[0]["link_changes"] < 4 or \
                    figures[0]["resets"] != 0:
                raise Failure(f"stats json: {figures}")
            machine.send("poweroff\r")
            expect_end(machine, LAST_OK)
    return run


def found_by_bochs(boot):
    machine = boot(host(pool="32M", store="none", when_idle="monitor"), store="none",
                   extra=["--net=user,hostfwd=tcp:127.0.0.1:%d-:22" % free_ports(1)[0]])
    machine.expect(r"hv: eth0: 82540EM, MAC 52:54:00:12:34:56, polled", 120)
    machine.expect("^spillway> ", 60)
    expect_link(machine, True)
    machine.send("poweroff\r")
    expect_end(machine, LAST_OK)


def missing(boot):
    machine = boot(host(pool="32M", store="none", when_idle="monitor") + "[switch lan]\nuplink = eth1\n",
                   store="none", extra=["--net=user"])
    machine.expect(r"spillway.conf:6: uplink: expected one of eth0, got 'eth1'", 120)
    expect_end(machine, r"^spillway: configuration: 1 error, ", 2)


def connect(port):
    """Until the guest answers: before it listens, the emulator closes what it has accepted."""
    end = time.monotonic() + 60
    while True:
        try:
            line = socket.create_connection(("127.0.0.1", port), 10)
            line.settimeout(120)
            return line
        except OSError:
            if time.monotonic() > end:
                raise Failure("the guest's port does not answer") from None
            time.sleep(0.2)


def upload(machine, port, data, meanwhile=lambda: None):
    with connect(port) as line:
        half = len(data) // 2
        line.sendall(data[:half])
        meanwhile()
        line.sendall(data[half:])
        line.shutdown(socket.SHUT_WR)
        machine.expect(rf"^alpha\| {hashlib.md5(data).hexdigest()}  /up", 180)


def download(machine, port):
    """How many seconds that has taken."""
    expected = machine.expect(r"^alpha\| ([0-9a-f]{32})  /down", 60).group(1)
    machine.wait(1)
    whole = hashlib.md5()
    begin = time.monotonic()
    with connect(port) as line:
        while True:
            piece = line.recv(65536)
            if not piece:
                break
            whole.update(piece)
    if whole.hexdigest() != expected:
        raise Failure("what the guest has sent has come as something else")
    return time.monotonic() - begin


def uplink(model, nic="eth0"):
    def run(boot):
        rng = random.Random(1)
        with Cable() as cable:
            up_port, down_port = free_ports(2)
            command = SERVE % {"uploads": UPLOADS}
            config = host(pool="128M", store="none", when_idle="monitor") + \
                f"[switch lan]\nuplink = {nic}\n" + \
                "[vm alpha]\nkernel = \\guest\\vmlinuz\ninitrd = \\guest\\initrd.img\n" \
                f'cmdline = "console=ttyS0 quiet modules={MODULES} run=\\"{command}\\""\n' \
                "memory = 96M\nnet0 = lan\n"
            net = f"user,hostfwd=tcp:127.0.0.1:{up_port}-10.0.2.15:2001," \
                  f"hostfwd=tcp:127.0.0.1:{down_port}-10.0.2.15:2002"
            machine = boot(config, FILES, store="none", timeout=400,
                           extra=[f"--net={net}", f"--nic={model}", cable.words])

            def pull():
                for up in (False, True):
                    at = len(machine.text)
                    cable.plug(up)
                    expect_link(machine, up, at)
                    machine.wait(2)

            for number in range(1, UPLOADS + 1):
                machine.expect(rf"^alpha\| upload {number}", 120)
                machine.wait(1)
                begin = time.monotonic()
                upload(machine, up_port, rng.randbytes(3 << 20),
                       pull if number == 1 else lambda: None)
                up_rate = (3 << 10) / (time.monotonic() - begin)
            down_rate = (4 << 10) / download(machine, down_port)
            machine.expect(r"^alpha\| all is done", 60)
            machine.expect(r"vm alpha: ended well", 60)
            figures = machine.stats()["nics"][0]
            if figures["rx_bytes"] < UPLOADS * 3 << 20 or figures["tx_bytes"] < 4 << 20 or \
                    figures["resets"] != 0 or figures["link_changes"] < 2:
                raise Failure(f"stats json: {figures}")
            machine.send("poweroff\r")
            expect_end(machine, LAST_OK)
            return f"in {up_rate:.0f} KiB/s, out {down_rate:.0f} KiB/s"
    return run


CASES = [Case(f"nics-{model}", found(model), memory="256M") for model in MODELS] + [
    Case("nics", found_by_bochs, emu="bochs", memory="256M"),
    Case("uplink-missing", missing, memory="256M"),
    Case("uplink-virtio", uplink("virtio-net-pci"), long=True, memory="384M"),
    Case("uplink-e1000", uplink("e1000", "52:54:00:12:34:56"), long=True, memory="384M", cpus=2),
    Case("uplink-e1000e", uplink("e1000e"), memory="384M"),
]
