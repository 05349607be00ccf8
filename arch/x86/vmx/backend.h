/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel VMX with EPT: SDM Vol. 3C "Introduction to Virtual Machine Extensions" and what follows. */
#ifndef SPILLWAY_ARCH_X86_VMX_BACKEND_H
#define SPILLWAY_ARCH_X86_VMX_BACKEND_H

#include "hv/backend.h"

extern const struct vcpu_backend vmx_backend;

#endif
