# SPDX-License-Identifier: BSD-2-Clause
"""Guests of one switch: whole files both ways, and not a frame to the guest of another switch."""
import re

from cases import LAST_OK, Case, expect_end, host
from linux_cases import run_vm
from machine import Failure
from uplink_cases import FILES, MODULES

ADDRESSES = {"alpha": "10.9.0.1", "beta": "10.9.0.2", "gamma": "10.9.0.3"}
# Nobody sends what nobody has asked for: the figures of two guests can be compared.
OPTIONS = f"ipv6.disable=1 modules={MODULES}"

# A busybox' nc that listens ends what it sends when its own input ends, and who talks to it then goes: its input is a pipe
# that somebody could still write to.  The wget of Debian's (1.35) is built without time-outs and dies of its option -T.
MAKE = ("for i in $(seq {files}); do dd if=/dev/urandom of=/{kind}$i bs=64k count={pieces} 2> /dev/null; done; "
        "md5sum /{kind}*; ")
UP = "ip addr add {own}/24 dev eth0; ip link set eth0 up; "
MEET = "until ping -c 1 -W 1 {other} > /dev/null; do true; done; ping -q -c 3 {other} || exit 1; "
# It can be reached when everything is ready: files to fetch, and who takes as many.
SERVE = ("mkfifo /p; " + MAKE.replace("{kind}", "down") + "httpd -h /; "
         "for i in $(seq {files}); do nc -l -p 200$i <> /p > /up$i & done; " + UP + MEET +
         "wait; md5sum /up*; echo all is done; sleep 99999")
FETCH = (MAKE.replace("{kind}", "up") + UP + MEET +
         "for i in $(seq {files}); do wget -q -O /got$i http://{other}/down$i & done; wait; md5sum /got*; "
         "for i in $(seq {files}); do nc {other} 200$i < /up$i & done; wait; "
         "echo all is done; until ping -q -c 1 -W 1 {nobody}; do echo nobody there; done")
ALONE = UP + "until ping -q -c 1 -W 1 {other} || ping -q -c 1 -W 1 {nobody}; do echo nobody there; done"


def net_vm(name, command, others, files=1, pieces=1, net="lan", **keys):
    """A guest with one NIC that runs the command."""
    addresses = dict(zip(("own", "other", "nobody"), (ADDRESSES[who] for who in (name, *others))))
    return run_vm(name, command.format(files=files, pieces=pieces, **addresses), OPTIONS, net0=net, **keys)


def check_sums(machine, files):
    """What has arrived is what has been sent."""
    sums = {(who, path): md5 for who, md5, path in
            re.findall(r"^(alpha|beta)\| ([0-9a-f]{32})  /(\w+)$", machine.text, re.M)}
    for i in range(1, files + 1):
        for sent, got in ((("beta", f"down{i}"), ("alpha", f"got{i}")), (("alpha", f"up{i}"), ("beta", f"up{i}"))):
            if sent not in sums or sums[sent] != sums.get(got):
                raise Failure(f"{sent[0]} has sent {sent[1]} as {sums.get(sent)}, it has come as {sums.get(got)}")


def check_figures(vms, files, pieces):
    """What one has sent the other one has got, or it is counted as dropped; the third one has got nothing."""
    for one, other in (("alpha", "beta"), ("beta", "alpha")):
        sent, got = vms[one], vms[other]
        if sent["net_tx_bytes"] < files * pieces << 16 or got["net_rx_bytes"] < files * pieces << 16:
            raise Failure(f"{one} has sent {sent['net_tx_bytes']} bytes, {other} got {got['net_rx_bytes']}")
        # Before both were there, and since the figures were taken: requests for addresses.
        missing = sent["net_tx"] - got["net_rx"] - got["net_rx_drops"]
        if sent["net_tx_drops"] != 0 or not 0 <= missing < 100:
            raise Failure(f"{one} and {other} do not agree: {sent}, {got}")
    if vms["gamma"]["net_rx"] != 0 or vms["gamma"]["net_tx"] == 0:
        raise Failure(f"gamma is on another switch: {vms['gamma']}")


def net(files, pieces, memory="96M", **keys):
    """Alpha and beta on one switch, gamma on another one."""
    def run(boot):
        config = host(pool="320M", store="none", when_idle="monitor") + "[switch lan]\n[switch other]\n" + \
            net_vm("gamma", ALONE, ("alpha", "beta"), net="other", memory="96M") + \
            net_vm("beta", SERVE, ("alpha", "gamma"), files, pieces, memory=memory, **keys) + \
            net_vm("alpha", FETCH, ("beta", "gamma"), files, pieces, memory=memory, **keys)
        machine = boot(config, FILES)
        at = max(machine.expect(rf"^{who}\| all is done", 500).end() for who in ("alpha", "beta"))
        for who in ("alpha", "gamma"):
            machine.expect(rf"^{who}\| nobody there", 60, at)
        check_sums(machine, files)
        vms = {vm["name"]: vm for vm in machine.stats()["vms"]}
        check_figures(vms, files, pieces)
        for who in ADDRESSES:
            machine.command(f"stop {who}")
            machine.expect(rf"vm {who}: ended well", 60)
        machine.send("poweroff\r")
        expect_end(machine, LAST_OK)
        return ", ".join(f"{who} dropped {vms[who]['net_rx_drops']}" for who in ("alpha", "beta"))
    return run


CASES = [
    Case("net", net(1, 64), memory="512M", cpus=2),
    Case("net", net(1, 8), emu="bochs", memory="512M", timeout=900),
]
