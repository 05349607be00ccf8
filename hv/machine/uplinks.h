/* SPDX-License-Identifier: BSD-2-Clause */
/* Which NIC of the machine is which switch's way to the outside: [switch NAME] uplink = eth0. */
#ifndef SPILLWAY_HV_MACHINE_UPLINKS_H
#define SPILLWAY_HV_MACHINE_UPLINKS_H

/* Boot CPU, when NICs and switches are there, before its main loop.  Does not return if a NIC that
 * the configuration names is not there, or two switches want the same one. */
void machine_uplinks_create(void);

#endif
