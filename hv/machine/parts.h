/* SPDX-License-Identifier: BSD-2-Clause */
/* What hv/machine.h gives to everybody else.  Boot fills it in (hv/machine/main.c), in order,
 * before anybody asks for it. */
#ifndef SPILLWAY_HV_MACHINE_PARTS_H
#define SPILLWAY_HV_MACHINE_PARTS_H

#include "hv/config/config.h"
#include "hv/machine.h"

struct machine {
    const struct handover *handover;
    const struct vcpu_backend *backend;
    struct store *store;
    struct config config;
    struct net_switch *net; /* as many as the configuration has */
};

extern struct machine machine;

#endif
