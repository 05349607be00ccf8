/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/vmx/backend.h"

#include "arch/x86/vmx/ept_format.h"
#include "arch/x86/vmx/vcpu.h"

const struct vcpu_backend vmx_backend = {
    .name = "VMX/EPT",
    .format = &ept_format,
    .check = vmx_check,
    .cpu_enable = vmx_cpu_enable,
    .cpu_disable = vmx_cpu_disable,
    .vcpu_create = vmx_vcpu_create,
    .vcpu_destroy = vmx_vcpu_destroy,
    .vcpu_reset = vmx_vcpu_reset,
    .load = vmx_load,
    .put = vmx_put,
    .get_state = vmx_get_state,
    .set_state = vmx_set_state,
    .privilege = vmx_privilege,
    .runs_64bit = vmx_runs_64bit,
    .interruptible = vmx_interruptible,
    .nmi_allowed = vmx_nmi_allowed,
    .nmi_masked = vmx_nmi_masked,
    .set_nmi_masked = vmx_set_nmi_masked,
    .request_window = vmx_request_window,
    .trap_pending = vmx_trap_pending,
    .request_step = vmx_request_step,
    .clear_shadow = vmx_clear_shadow,
    .run = vmx_run,
};
