/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/svm/backend.h"

#include "arch/x86/svm/npt_format.h"
#include "arch/x86/svm/vcpu.h"

const struct vcpu_backend svm_backend = {
    .name = "SVM/NPT",
    .format = &npt_format,
    .keeps_tpr = true,
    .check = svm_check,
    .cpu_enable = svm_cpu_enable,
    .cpu_disable = svm_cpu_disable,
    .vcpu_create = svm_vcpu_create,
    .vcpu_destroy = svm_vcpu_destroy,
    .vcpu_reset = svm_vcpu_reset,
    .load = svm_load,
    .put = svm_put,
    .get_state = svm_get_state,
    .set_state = svm_set_state,
    .privilege = svm_privilege,
    .runs_64bit = svm_runs_64bit,
    .interruptible = svm_interruptible,
    .nmi_allowed = svm_nmi_allowed,
    .nmi_masked = svm_nmi_masked,
    .set_nmi_masked = svm_set_nmi_masked,
    .request_window = svm_request_window,
    .trap_pending = svm_trap_pending,
    .request_step = svm_request_step,
    .clear_shadow = svm_clear_shadow,
    .run = svm_run,
};
