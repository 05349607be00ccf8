# SPDX-License-Identifier: BSD-2-Clause
"""What kvm-unit-tests are expected to say in a guest, by section of their unittests.cfg.

`passes` is the least number of PASS lines (a newer checkout may have more); a failure that is not explained
here is one.
"""


class Expected:
    def __init__(self, qemu, bochs=None, fails=(), qemu_fails=(), bochs_fails=()):
        self._passes = {"qemu": qemu, "bochs": qemu if bochs is None else bochs}
        self._fails = {"qemu": list(fails) + list(qemu_fails),
                       "bochs": list(fails) + list(bochs_fails)}

    def passes(self, emu):
        return self._passes[emu]

    def failures(self, emu):
        return self._fails[emu]


# apic.flat with two: 30,000 NMIs from a CPU that waits without PAUSE for one that shares the host's CPU with
# it, a slice each.
VCPUS = {"x2apic": 1, "xapic": 1}
# MiB of memory, seconds (three times as many on Bochs), where not 128 and 60.
MEMORY = {}
SECONDS = {"x2apic": 240, "xapic": 240, "vmexit_ipi": 120, "vmexit_ipi_halt": 120, "access": 240}
NOT_RUN = {}
NOT_RUN_ON = {"qemu": {}, "bochs": {}}
TESTS = {name: Expected(0) for name in (
    "x2apic xapic ioapic cmpxchg8b smptest smptest3 vmexit_cpuid vmexit_vmcall vmexit_mov_from_cr8 "
    "vmexit_mov_to_cr8 vmexit_inl_pmtimer vmexit_ipi vmexit_ipi_halt vmexit_tscdeadline "
    "vmexit_tscdeadline_immed vmexit_cr0_wp vmexit_cr4_pge access smap pku pks emulator eventinj hypercall "
    "idt_test memory msr msr64 realmode setjmp sieve syscall tsc tsc_adjust xsave rmap_chain taskswitch "
    "taskswitch2 kvmclock_test pcid-enabled pcid-disabled pcid-asymmetric rdpru umip la57 debug "
    "tsx-ctrl intel_cet lam cet hpet vmexit_ple_round_robin").split()}
