/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel SDM vol. 3, "Machine-Check Architecture"; APM Vol. 2 chapter 9 "Machine Check
 * Architecture". */
#include "arch/x86/machine_check.h"

#include "arch/x86/cpu.h"
#include "base/bits.h"
#include "base/log.h"

#define MCG_CAP_BANKS   BITS(7, 0)
#define MCG_STATUS_MCIP BIT(2)
#define STATUS_VALID    BIT(63)
#define STATUS_MISCV    BIT(59)
#define STATUS_ADDRV    BIT(58)

static void report_bank(unsigned bank)
{
    uint32_t msr = MSR_MC0_STATUS + bank * MSR_MC_PER_BANK;
    uint64_t status = rdmsr(msr);

    if (!(status & STATUS_VALID)) {
        return;
    }
    log_error("machine check, bank %u: status %016lx address %016lx misc %016lx", bank, status,
              status & STATUS_ADDRV ? rdmsr(msr + 1) : 0,
              status & STATUS_MISCV ? rdmsr(msr + 2) : 0);
    wrmsr(msr, 0);
}

void machine_check_report(void)
{
    uint64_t status;

    if (!(cpuid(1, 0).edx & CPUID_1_EDX_MCA)) {
        return;
    }
    status = rdmsr(MSR_IA32_MCG_STATUS);
    if (status & MCG_STATUS_MCIP) {
        log_error("machine check: MCG_STATUS %lx", status);
    }
    for (unsigned bank = 0; bank < FIELD_GET(MCG_CAP_BANKS, rdmsr(MSR_IA32_MCG_CAP)); bank++) {
        report_bank(bank);
    }
    wrmsr(MSR_IA32_MCG_STATUS, status & ~MCG_STATUS_MCIP);
}

void machine_check_exit(void)
{
    panic("#MC machine check while a guest ran");
}
