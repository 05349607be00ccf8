/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/run/vcpu.c */
/* As many vCPUs as there can be have ids of their own, which fit a VPID; what has ended gives its
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/run/vcpu.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmasync.h"
#include "hv/vdev/kvmsteal.h"
#include "tests/unit/support.h"

#define ALL (CONFIG_VMS_MAX * VM_VCPUS_MAX)

static bool create_fails;

static bool backend_create(struct vcpu *vcpu)
{
    (void)vcpu;
    return !create_fails;
}

static void backend_nothing(struct vcpu *vcpu)
{
    (void)vcpu;
}

static const struct vcpu_backend backend = {
    .vcpu_create = backend_create, .vcpu_destroy = backend_nothing, .vcpu_reset = backend_nothing};

const struct vcpu_backend *machine_backend(void)
{
    return &backend;
}

void sched_add_vcpu(struct vcpu *vcpu)
{
    (void)vcpu;
}

void sched_unpark(struct vcpu *vcpu)
{
    (void)vcpu;
}

struct vlapic *vlapic_create(struct vcpu *vcpu)
{
    return (struct vlapic *)vcpu; /* nobody looks into it */
}

struct kvmasync *kvmasync_create(struct vcpu *vcpu)
{
    return (struct kvmasync *)vcpu;
}

void kvmasync_destroy(struct kvmasync *async)
{
    (void)async;
}

void kvmsteal_release(struct vcpu *vcpu)
{
    (void)vcpu;
}

void vlapic_destroy(struct vlapic *vlapic)
{
    (void)vlapic;
}

static struct vm vm;
static struct vcpu *vcpus[ALL];
static bool used[1 << 16];

static void create(unsigned at)
{
    vcpus[at] = vcpu_create(&vm, at % VM_VCPUS_MAX);
    assert_non_null(vcpus[at]);
    assert_in_range(vcpus[at]->id, 0, UINT16_MAX - 1); /* one more is the VPID */
    assert_false(used[vcpus[at]->id]);
    used[vcpus[at]->id] = true;
}

static void destroy(unsigned at)
{
    used[vcpus[at]->id] = false;
    vcpu_destroy(vcpus[at]);
    vcpus[at] = NULL;
}

static void all_ids(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        create(i);
    }
    for (unsigned round = 0; round < 20000; round++) {
        unsigned at = (unsigned)support_random_below(ALL);

        destroy(at);
        create_fails = true;
        assert_null(vcpu_create(&vm, 0)); /* it gives its id back */
        create_fails = false;
        create(at);
    }
    for (unsigned i = 0; i < ALL; i++) {
        destroy(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_ids)};

    support_memory_init(1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
