/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's ACPI finds beside the fixed tables (hv/vdev/acpi.c).  Compiled by iasl -tc.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "SPLWAY", "SPILLWAY", 1)
{
    /* SLP_TYP of soft off: VPM_SLEEP_OFF in hv/vdev/vpm.h. */
    Name (\_S5, Package () { 5, 0, 0, 0 })

    /* ACPI_CONFIG_ADDRESS in hv/vdev/acpi.h: how many vCPUs this guest has. */
    OperationRegion (VMCF, SystemMemory, 0xE3FF0, 0x10)
    Field (VMCF, ByteAcc, NoLock, Preserve)
    {
        VCPU, 8
    }

    Method (CSTA, 1, NotSerialized)
    {
        If (LLess (Arg0, VCPU))
        {
            Return (0x0F)
        }
        Return (Zero)
    }

    Scope (\_SB)
    {
        Device (C000)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 0)
            Method (_STA) { Return (CSTA (0)) }
        }
        Device (C001)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 1)
            Method (_STA) { Return (CSTA (1)) }
        }
        Device (C002)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 2)
            Method (_STA) { Return (CSTA (2)) }
        }
        Device (C003)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 3)
            Method (_STA) { Return (CSTA (3)) }
        }
        Device (C004)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 4)
            Method (_STA) { Return (CSTA (4)) }
        }
        Device (C005)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 5)
            Method (_STA) { Return (CSTA (5)) }
        }
        Device (C006)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 6)
            Method (_STA) { Return (CSTA (6)) }
        }
        Device (C007)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 7)
            Method (_STA) { Return (CSTA (7)) }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_DDN, "COM1")
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }
    }
}
