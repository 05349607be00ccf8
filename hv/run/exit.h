/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits: from the decoded exit to the one handler that owns it.
 *
 * A handler looks first and acts last: it completes, or changes nothing and
 * returns EXIT_PARK with the vCPU's waiter registered.  Only a handler advances
 * RIP.  An unknown exit stops the guest with a full dump.
 */
#ifndef SPILLWAY_HV_RUN_EXIT_H
#define SPILLWAY_HV_RUN_EXIT_H

#include "hv/guest/vcpu.h"

/* Handles one exit of the loaded vCPU.  No locks held. */
enum exit_result exit_dispatch(struct vcpu *vcpu, const struct vcpu_exit *exit);
const char *exit_kind_name(enum exit_kind kind);

#endif
