/* SPDX-License-Identifier: BSD-2-Clause */
/* What only the firmware can tell: CPUs, ACPI, SMBIOS, screen, time; and a page below 1 MiB. */
#include "boot/loader.h"

/* UEFI PI 1.8, volume 2, section 13.4, MP Services Protocol; GNU-EFI does not declare it. */
struct mp_processor {
    uint64_t id; /* APIC ID */
    uint32_t status;
    uint32_t package, core, thread;
    uint32_t extended[6];
};
_Static_assert(sizeof(struct mp_processor) == 48, "PI 1.8");
#define MP_BOOT_CPU (1u << 0)
#define MP_ENABLED  (1u << 1)
#define MP_HEALTHY  (1u << 2)

struct mp_services {
    EFI_STATUS(EFIAPI *get_count)(struct mp_services *, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *get_info)(struct mp_services *, UINTN index, struct mp_processor *);
    void *startup_all, *startup_this, *switch_boot, *enable_disable, *who_am_i;
};

static const EFI_GUID mp_guid = {
    0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
static const EFI_GUID acpi2_guid = {
    0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}};
static const EFI_GUID acpi1_guid = {
    0xeb9d2d30, 0x2d88, 0x11d3, {0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
static const EFI_GUID smbios3_guid = {
    0xf2fd1544, 0x9794, 0x4a2c, {0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94}};
static const EFI_GUID smbios_guid = {
    0xeb9d2d31, 0x2d88, 0x11d3, {0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};

static uint32_t own_apic_id(void)
{
    uint32_t out[4];

    cpuid(0, 0, out);
    if (out[0] >= 0xb) {
        cpuid(0xb, 0, out);
        if (out[1] != 0) { /* SDM CPUID leaf 0BH: EBX is 0 when the leaf is not there */
            return out[3];
        }
    }
    cpuid(1, 0, out);
    return out[1] >> 24;
}

static void describe_cpus(void)
{
    struct handover *h = loader.handover;
    EFI_GUID guid = mp_guid;
    void *found;
    UINTN all = 0, enabled = 0;

    h->cpu_apic_id[0] = own_apic_id();
    h->cpu_count = h->cpu_total = 1;
    if (loader.boot->LocateProtocol(&guid, NULL, &found) != EFI_SUCCESS) {
        loader_print("spillway: the firmware has no MP services: one CPU only\n");
        return;
    }
    struct mp_services *mp = found;
    if (mp->get_count(mp, &all, &enabled) != EFI_SUCCESS) {
        return;
    }
    h->cpu_total = (uint32_t)enabled;
    for (UINTN i = 0; i < all && h->cpu_count < HANDOVER_MAX_CPUS; i++) {
        struct mp_processor cpu;
        if (mp->get_info(mp, i, &cpu) != EFI_SUCCESS || !(cpu.status & MP_ENABLED) ||
            !(cpu.status & MP_HEALTHY)) {
            continue;
        }
        if (cpu.status & MP_BOOT_CPU) {
            h->cpu_apic_id[0] = (uint32_t)cpu.id;
        } else {
            h->cpu_apic_id[h->cpu_count++] = (uint32_t)cpu.id;
        }
    }
}

static uint64_t find_table(const EFI_GUID *guid)
{
    for (UINTN i = 0; i < loader.system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &loader.system->ConfigurationTable[i];
        if (memcmp(&entry->VendorGuid, guid, sizeof(*guid)) == 0) {
            return (uint64_t)(uintptr_t)entry->VendorTable;
        }
    }
    return 0;
}

static void describe_screen(void)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    void *found;

    if (loader.boot->LocateProtocol(&guid, NULL, &found) != EFI_SUCCESS) {
        return;
    }
    const EFI_GRAPHICS_OUTPUT_PROTOCOL *output = found;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = output->Mode->Info;
    struct handover *h = loader.handover;
    h->screen.address = output->Mode->FrameBufferBase;
    h->screen.width = info->HorizontalResolution;
    h->screen.height = info->VerticalResolution;
    h->screen.pixels_per_line = info->PixelsPerScanLine;
    h->screen.format = info->PixelFormat;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar; March is month 0 of the count. */
static uint64_t days_since_epoch(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned m = month <= 2 ? month + 9 : month - 3;

    return 365ull * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool get_time(EFI_TIME *time)
{
    return loader.system->RuntimeServices->GetTime(time, NULL) == EFI_SUCCESS && time->Year >= 1970;
}

static uint64_t describe_time(void)
{
    EFI_TIME time;

    if (!get_time(&time)) {
        return 0;
    }
    uint64_t epoch = days_since_epoch(time.Year, time.Month, time.Day) * 86400 +
                     time.Hour * 3600ull + time.Minute * 60ull + time.Second;
    /* Local time = UTC - TimeZone (UEFI 2.10, GetTime()). */
    if (time.TimeZone != EFI_UNSPECIFIED_TIMEZONE) {
        epoch += (uint64_t)((int64_t)time.TimeZone * 60);
    }
    return epoch;
}

void machine_describe(void)
{
    struct handover *h = loader.handover;

    describe_cpus();
    describe_screen();
    h->acpi_rsdp = find_table(&acpi2_guid);
    if (h->acpi_rsdp == 0) {
        h->acpi_rsdp = find_table(&acpi1_guid);
    }
    h->smbios = find_table(&smbios3_guid);
    if (h->smbios == 0) {
        h->smbios = find_table(&smbios_guid);
    }
    h->runtime_services = (uint64_t)(uintptr_t)loader.system->RuntimeServices;
    h->boot_epoch = describe_time();
    h->epoch_tsc = read_tsc();
    h->trampoline = (uint64_t)(uintptr_t)pages_alloc(1, 0x9ffff);
}
