/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/time.h"

#include "arch/x86/acpi.h"
#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/hw/ports.h"
#include "arch/x86/idt.h"
#include "arch/x86/percpu.h"
#include "base/log.h"
#include "drivers/platform.h"
#include "hv/arch.h"

#define PIT_LOAD2        0xb0 /* channel 2, low byte then high byte, mode 0, binary */
#define PIT_LATCH2       0x80
#define WINDOWS          3
#define WINDOWS_A_SECOND 100 /* each lasts 10 ms */
#define SNAPSHOT_TRIES   5
#define READS_MAX        20000000u /* the reference stands still */

/* A timer counts so long; it is armed again until the deadline is reached.  Not shorter, since it
 * goes on until the next one is armed. */
#define TIMER_MAX_NS NS_PER_S
#define TIMER_MIN_NS 10000ull

/* A counter of known frequency that counts up. */
struct reference {
    const char *name;
    uint32_t hz;
    uint32_t mask;
    uint16_t port; /* of the PM timer */
};

/* All three counters at one moment. */
struct snapshot {
    uint32_t reference;
    uint32_t apic;
    uint64_t tsc;
    uint64_t width; /* TSC ticks that the reading took: the uncertainty */
};

static uint64_t tsc_base;
static uint64_t tsc_khz;
static uint64_t tsc_mult;  /* ns = ticks * tsc_mult >> 32 */
static uint64_t apic_mult; /* APIC timer counts = ns * apic_mult >> 32 */
static uint64_t boot_epoch_ns;

static uint64_t scale(uint64_t value, uint64_t mult)
{
    return (uint64_t)((unsigned __int128)value * mult >> 32);
}

/* ---- calibration ---- */

static void pit_start(void)
{
    port_out8(IOPORT_SYSTEM_B,
              (uint8_t)((port_in8(IOPORT_SYSTEM_B) & ~SYSTEM_B_SPEAKER) | SYSTEM_B_GATE2));
    port_out8(IOPORT_PIT_COMMAND, PIT_LOAD2);
    port_out8(IOPORT_PIT + 2, 0xff);
    port_out8(IOPORT_PIT + 2, 0xff);
}

static uint32_t reference_read(const struct reference *r)
{
    uint32_t low, high;

    if (r->port != 0) {
        return port_in32(r->port) & r->mask;
    }
    port_out8(IOPORT_PIT_COMMAND, PIT_LATCH2);
    low = port_in8(IOPORT_PIT + 2);
    high = port_in8(IOPORT_PIT + 2);
    return -(high << 8 | low) & r->mask; /* it counts down */
}

static struct reference choose_reference(void)
{
    unsigned bits = 24;
    uint16_t port = acpi_pm_timer_port(&bits);

    if (port != 0) {
        struct reference pm = {"ACPI PM timer", PM_TIMER_HZ, (uint32_t)BITS(bits - 1, 0), port};
        uint32_t first = reference_read(&pm);

        for (unsigned i = 0; i < 1000; i++) {
            if (reference_read(&pm) != first) {
                return pm;
            }
        }
    }
    pit_start();
    return (struct reference){"PIT", PIT_HZ, 0xffff, 0};
}

/* The best of a few tries: an SMI, or an emulator's host, may come between any two reads. */
static struct snapshot take_snapshot(const struct reference *r)
{
    struct snapshot best = {0, 0, 0, UINT64_MAX};

    for (unsigned i = 0; i < SNAPSHOT_TRIES; i++) {
        uint64_t before = rdtsc_ordered();
        uint32_t reference = reference_read(r);
        uint32_t apic = apic_timer_current();
        uint64_t after = rdtsc_ordered();

        if (after - before < best.width) {
            best =
                (struct snapshot){reference, apic, before + (after - before) / 2, after - before};
        }
    }
    return best;
}

static void wait_reference(const struct reference *r, uint32_t start, uint32_t counts)
{
    for (unsigned reads = 0; ((reference_read(r) - start) & r->mask) < counts; reads++) {
        if (reads == READS_MAX) {
            panic("the %s stands still: no clock to calibrate the TSC against", r->name);
        }
    }
}

/* Takes, of a few windows, the one whose ends are known best. */
static void calibrate(const struct reference *r, uint64_t *tsc, uint64_t *apic)
{
    uint64_t best_width = UINT64_MAX;
    struct snapshot begin = take_snapshot(r);

    for (unsigned i = 0; i < WINDOWS; i++) {
        struct snapshot end;

        wait_reference(r, begin.reference, r->hz / WINDOWS_A_SECOND);
        end = take_snapshot(r);
        if (begin.width + end.width < best_width) {
            uint64_t counts = (end.reference - begin.reference) & r->mask;

            best_width = begin.width + end.width;
            *tsc = (end.tsc - begin.tsc) * r->hz / counts / 1000;
            *apic = (uint64_t)(begin.apic - end.apic) * r->hz / counts / 1000;
        }
        begin = end;
    }
}

void time_init(const struct handover *handover)
{
    struct reference r = choose_reference();
    uint64_t apic_khz = 0;

    apic_timer_mask(true);
    apic_timer_start(UINT32_MAX);
    calibrate(&r, &tsc_khz, &apic_khz);
    apic_timer_start(0);
    if (tsc_khz == 0 || apic_khz == 0) {
        panic("calibration against the %s failed: TSC %lu kHz, APIC timer %lu kHz", r.name, tsc_khz,
              apic_khz);
    }
    tsc_base = handover->entry_tsc;
    apic_mult = (apic_khz << 32) / 1000000;
    tsc_mult = (1000000ull << 32) / tsc_khz;
    if (handover->boot_epoch != 0) {
        /* Read anywhere within that second: half of it has gone, in the mean. */
        boot_epoch_ns = handover->boot_epoch * NS_PER_S + NS_PER_S / 2 -
                        scale(handover->epoch_tsc - handover->entry_tsc, tsc_mult);
    }
    log_info("clock: TSC %lu kHz, APIC timer %lu kHz, by the %s", tsc_khz, apic_khz, r.name);
}

/* ---- clock ---- */

uint64_t arch_tsc(void)
{
    return rdtsc();
}

uint64_t arch_tsc_khz(void)
{
    return tsc_khz;
}

uint64_t arch_clock_ns(void)
{
    return scale(rdtsc() - tsc_base, tsc_mult);
}

uint64_t arch_boot_epoch_ns(void)
{
    return boot_epoch_ns;
}

void time_delay_us(unsigned us)
{
    uint64_t end = arch_clock_ns() + us * 1000ull;

    while (arch_clock_ns() < end) {
        cpu_pause();
    }
}

/*
 * ---- timer ----
 *
 * For one deadline, but the APIC's timer is periodic: should its interrupt get lost, the next one
 * comes after as long a time again, and not when somebody presses a key.
 */

static void on_timer(void *owner)
{
    struct percpu *cpu = percpu_self();

    (void)owner;
    if (cpu->timer_deadline == UINT64_MAX) {
        return;
    }
    if (arch_clock_ns() < cpu->timer_deadline) {
        arch_timer_arm(cpu->timer_deadline); /* a little early, or the count did not reach so far */
    } else {
        cpu->timer_deadline = UINT64_MAX;
    }
}

void time_enable_cpu(void)
{
    interrupt_set_handler(VECTOR_TIMER, on_timer, NULL);
    apic_timer_start(0);
    apic_timer_mask(false);
}

void arch_timer_arm(uint64_t deadline_ns)
{
    uint64_t now, delta;

    percpu_self()->timer_deadline = deadline_ns;
    if (deadline_ns == UINT64_MAX) {
        apic_timer_start(0);
        return;
    }
    now = arch_clock_ns();
    delta = deadline_ns > now ? MIN(deadline_ns - now, TIMER_MAX_NS) : 0;
    delta = MAX(delta, TIMER_MIN_NS);
    apic_timer_start((uint32_t)MIN(scale(delta, apic_mult) + 1, UINT32_MAX));
}
