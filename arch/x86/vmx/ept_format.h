/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT entries as a table format; pure, so that it is tested on the host. */
#ifndef SPILLWAY_ARCH_X86_VMX_EPT_FORMAT_H
#define SPILLWAY_ARCH_X86_VMX_EPT_FORMAT_H

#include "mm/table/format.h"

extern const struct table_format ept_format;

#endif
