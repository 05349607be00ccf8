/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions: SDM Vol. 3A 6.3.1 "External Interrupts", table 6-1. */
#ifndef SPILLWAY_ARCH_X86_HW_VECTOR_H
#define SPILLWAY_ARCH_X86_HW_VECTOR_H

#include "base/bits.h"

enum exception_vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
    VECTOR_VE = 20,
    VECTOR_CP = 21,
    VECTOR_VC = 29,
    VECTOR_SX = 30,
    VECTOR_EXCEPTIONS = 32, /* the first that is not an exception */
};

/* Exceptions that push an error code: 8, 10..14, 17, 21, 29, 30. */
#define VECTORS_WITH_ERROR_CODE (BIT(8) | BITS(14, 10) | BIT(17) | BIT(21) | BIT(29) | BIT(30))

#endif
