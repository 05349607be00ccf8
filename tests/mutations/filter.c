/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked into a unit test by tests/mutations/run: only the test that TEST_FILTER names is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void filter(void)
{
    cmocka_set_test_filter(getenv("TEST_FILTER"));
}
