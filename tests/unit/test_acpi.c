/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c hv/timer.c */
/* The ACPI tables that a guest finds: checksums, addresses, and what they say of its devices and
 * CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "hv/load/internal.h"
#include "hv/vdev/legacy/acpi.h"
#include "hv/vdev/pci/vpci.h"
#include "tests/unit/vdev_fake.h"

static uint8_t sum(const uint8_t *p, uint64_t bytes)
{
    uint8_t s = 0;

    while (bytes-- > 0) {
        s = (uint8_t)(s + *p++);
    }
    return s;
}

static const uint8_t *table(const uint8_t *tables, uint64_t address, const char *signature)
{
    const uint8_t *p = tables + (address - ACPI_TABLES_BASE);

    assert_memory_equal(p, signature, 4);
    assert_int_equal(sum(p, get32(p + 4)), 0);
    return p;
}

/* Scope (\_SB) with a device for each, as iasl would put it: 20.2 "AML Grammar Definition". */
static void check_processors(const uint8_t *ssdt, unsigned vcpus)
{
    const uint8_t *aml = ssdt + 36, *end = ssdt + get32(ssdt + 4);
    char name[16];

    assert_int_equal(aml[0], 0x10);
    assert_int_equal(aml[1] >> 6, 1);
    assert_ptr_equal(aml + 1 + (aml[1] & 0xf) + aml[2] * 16, end);
    assert_memory_equal(aml + 3, "\\_SB_", 5);
    aml += 8;
    for (unsigned i = 0; i < vcpus; i++, aml += 29) {
        snprintf(name, sizeof(name), "C%03u", i);
        assert_memory_equal(aml, "\x5b\x82\x1b", 3);
        assert_memory_equal(aml + 3, name, 4);
        assert_memory_equal(aml + 7, "\x08_HID\rACPI0007", 15);
        assert_memory_equal(aml + 22, "\x08_UID\x0a", 6);
        assert_int_equal(aml[28], i);
    }
    assert_ptr_equal(aml, end);
}

static void acpi_tables(void **state)
{
    static uint8_t tables[ACPI_TABLES_BYTES];

    (void)state;
    for (unsigned vcpus = 1; vcpus <= VM_VCPUS_MAX; vcpus++) {
        const uint8_t *xsdt, *fadt, *madt, *facs, *mcfg;
        unsigned enabled = 0, overrides = 0;

        assert_true(acpi_build(tables, vcpus));
        assert_memory_equal(tables, "RSD PTR ", 8);
        assert_int_equal(sum(tables, 20), 0);
        assert_int_equal(sum(tables, 36), 0);
        xsdt = table(tables, get64(tables + 24), "XSDT");
        fadt = table(tables, get64(xsdt + 36), "FACP");
        madt = table(tables, get64(xsdt + 44), "APIC");
        assert_int_equal(get32(fadt + 4), 276);
        assert_int_equal(get32(fadt + 112) & BIT(20), 0); /* not hardware-reduced */
        assert_int_equal(get64(fadt + 116 + 4), 0xcf9);
        assert_int_equal(fadt[46], 9);
        assert_int_equal(get32(fadt + 48), 0); /* no SMI command */
        assert_int_equal(get32(fadt + 56), 0x600);
        assert_int_equal(get32(fadt + 64), 0x604);
        assert_int_equal(get32(fadt + 76), 0x608);
        assert_int_equal(get64(fadt + 148 + 4), 0x600);
        assert_int_equal(get64(fadt + 172 + 4), 0x604);
        assert_int_equal(get64(fadt + 208 + 4), 0x608);
        facs = tables + (get32(fadt + 36) - ACPI_TABLES_BASE);
        assert_memory_equal(facs, "FACS", 4);
        assert_int_equal(get32(facs + 4), 64);
        assert_int_equal((facs - tables) % 64, 0);
        assert_int_equal(get32(madt + 40), 1); /* there are 8259s */
        (void)table(tables, get64(fadt + 140), "DSDT");
        mcfg = table(tables, get64(xsdt + 68), "MCFG");
        assert_int_equal(get64(mcfg + 44), VPCI_ECAM_BASE);
        assert_int_equal(mcfg[54] + mcfg[55], 0); /* one bus */
        for (uint32_t at = 44; at < get32(madt + 4); at += madt[at + 1]) {
            assert_true(madt[at + 1] >= 6);
            enabled += madt[at] == 0 && get32(madt + at + 4) == 1;
            overrides += madt[at] == 2 && madt[at + 3] == 0 && get32(madt + at + 4) == 2;
            overrides += madt[at] == 2 && madt[at + 3] == 9 && madt[at + 8] == 0x0d;
        }
        assert_int_equal(enabled, vcpus);
        assert_int_equal(overrides, 2);
        check_processors(table(tables, get64(xsdt + 60), "SSDT"), vcpus);
    }
    assert_false(acpi_build(tables, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(acpi_tables)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
