/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD SVM with nested paging: APM Vol. 2 chapter 15 "Secure Virtual Machine". */
#ifndef SPILLWAY_ARCH_X86_SVM_BACKEND_H
#define SPILLWAY_ARCH_X86_SVM_BACKEND_H

#include "hv/backend.h"

extern const struct vcpu_backend svm_backend;

#endif
