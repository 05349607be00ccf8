# SPDX-License-Identifier: BSD-2-Clause
"""Guest devices that wait for the guest's own pages: guests/bare/park.asm, on the hypervisor with the test
device (`make testdev`), which also checks the ranks of its locks."""
import os

from cases import BUILD, Case, bare_file, bare_vm, expect_end, host

LOADER = os.path.join(BUILD, "testdev", "BOOTX64.EFI")


def park(boot):
    """Each string and each single access has waited for pages, says the guest, and all bytes were right."""
    config = host(store="auto") + bare_vm("a", "park.elf", "32M")
    machine = boot(config, (bare_file("park.elf"),), loader=LOADER)
    machine.expect(r"^a\| park: (PASS|wrong).*", 300)
    expect_end(machine)


CASES = [
    Case("park", park, memory="256M"),
    Case("park", park, emu="bochs", memory="256M"),
]
