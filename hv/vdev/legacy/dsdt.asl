/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's ACPI finds beside the tables that are made for each VM (hv/vdev/legacy/acpi.c).  Compiled by iasl -tc.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "SPLWAY", "SPILLWAY", 1)
{
    /* SLP_TYP of soft off: VPM_SLEEP_OFF in hv/vdev/vpm.h. */
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
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
