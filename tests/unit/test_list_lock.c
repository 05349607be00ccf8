/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists, bit fields, spinlocks and their rank checker, XXH64. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/xxhash.h"
#include "tests/unit/support.h"

/* ---- lists ---- */

#define ITEMS 64u

struct item {
    unsigned number;
    struct list link;
};

static struct item items[ITEMS];

static unsigned length_of(const struct list *head)
{
    unsigned count = 0;

    for (const struct list *at = head->next; at != head; at = at->next) {
        assert_ptr_equal(at->next->prev, at);
        assert_ptr_equal(at->prev->next, at);
        count++;
    }
    return count;
}

static void expect_order(const struct list *head, const unsigned *numbers, unsigned count)
{
    const struct list *at = head;

    for (unsigned i = 0; i < count; i++) {
        at = at->next;
        assert_int_equal(
            ((const struct item *)((const char *)at - offsetof(struct item, link)))->number,
            numbers[i]);
    }
    assert_ptr_equal(at->next, head);
    assert_int_equal(length_of(head), count);
}

static void init_items(void)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].number = i;
        list_init(&items[i].link);
    }
}

static void test_list(void **state)
{
    struct list head = LIST_INIT(head), other = LIST_INIT(other);

    (void)state;
    init_items();
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    expect_order(&head, (unsigned[]){0, 1, 2}, 3);
    list_insert_after(&items[1].link, &items[3].link);
    expect_order(&head, (unsigned[]){0, 1, 3, 2}, 4);
    list_remove(&items[1].link);
    list_remove(&items[1].link); /* a free link */
    expect_order(&head, (unsigned[]){0, 3, 2}, 3);
    assert_ptr_equal(LIST_ENTRY(list_pop_front(&head), struct item, link), &items[0]);
    assert_true(list_empty(&items[0].link));

    list_push_back(&other, &items[7].link);
    list_splice(&other, &head);
    assert_true(list_empty(&head));
    expect_order(&other, (unsigned[]){7, 3, 2}, 3);
    list_splice(&other, &head);
    expect_order(&other, (unsigned[]){7, 3, 2}, 3);
    list_splice(&head, &other);
    expect_order(&head, (unsigned[]){7, 3, 2}, 3);
    LIST_FOR_EACH_SAFE (at, next, &head) {
        if (LIST_ENTRY(at, struct item, link)->number == 3) {
            list_remove(at);
        }
    }
    expect_order(&head, (unsigned[]){7, 2}, 2);
}

/* Two lists against two arrays. */
static void test_list_random(void **state)
{
    struct list head[2];
    int in[ITEMS]; /* list, or -1 */
    unsigned count[2] = {0, 0};

    (void)state;
    support_seed(1);
    init_items();
    list_init(&head[0]);
    list_init(&head[1]);
    memset(in, 0xff, sizeof(in));
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)support_random_below(ITEMS), to = (unsigned)support_random_below(2);

        if (in[i] >= 0) {
            list_remove(&items[i].link);
            count[in[i]]--;
            in[i] = -1;
        } else {
            (support_random_below(2) == 0 ? list_push_back : list_push_front)(&head[to],
                                                                              &items[i].link);
            count[to]++;
            in[i] = (int)to;
        }
        if (support_random_below(50) == 0) {
            list_splice(&head[to], &head[1 - to]);
            count[to] += count[1 - to];
            count[1 - to] = 0;
            for (unsigned k = 0; k < ITEMS; k++) {
                in[k] = in[k] >= 0 ? (int)to : -1;
            }
        }
        assert_int_equal(length_of(&head[0]), count[0]);
        assert_int_equal(length_of(&head[1]), count[1]);
    }
}

static void test_bits(void **state)
{
    (void)state;
    assert_true(BITS(63, 0) == ~0ull && BITS(0, 0) == 1 && BITS(7, 4) == 0xf0);
    assert_true(FIELD_GET(BITS(15, 8), 0x123456) == 0x34);
    assert_true(FIELD_PREP(BITS(15, 8), 0x1ab) == 0xab00);
    assert_true(ALIGN_UP(4097ull, 4096) == 8192 && ALIGN_UP(4096ull, 4096) == 4096);
    assert_true(ALIGN_DOWN(4097ull, 4096) == 4096);
    assert_true(IS_ALIGNED(8192, 4096) && !IS_ALIGNED(8193, 4096));
}

/* ---- locks ---- */

static struct spinlock low = SPINLOCK_INIT(RANK_SPACE, "low");
static struct spinlock middle = SPINLOCK_INIT(RANK_STORE, "middle");
static struct spinlock high = SPINLOCK_INIT(RANK_BUDDY, "high");

static void test_rank_order(void **state)
{
    (void)state;
    spin_lock(&low);
    spin_lock(&middle);
    spin_lock(&high);
    /* Released in any order. */
    spin_unlock(&low);
    spin_unlock(&high);
    spin_unlock(&middle);
    spin_lock(&high);
    spin_unlock(&high);
    spin_lock(&low);
    spin_unlock(&low);
}

static void test_rank_inversion(void **state)
{
    struct spinlock twin = SPINLOCK_INIT(RANK_STORE, "twin");

    (void)state;
    spin_lock(&middle);
    EXPECT_PANIC("waits for 'low'", spin_lock(&low));
    EXPECT_PANIC("waits for 'twin'", spin_lock(&twin));
    EXPECT_PANIC("waits for 'middle'", spin_lock(&middle));
    /* It is the whole set that counts, not the lock taken last. */
    spin_lock(&high);
    spin_unlock(&middle);
    EXPECT_PANIC("holds 'high'", spin_lock(&middle));
    /* A trylock cannot wait, but what it got counts. */
    assert_true(spin_trylock(&low));
    assert_false(spin_trylock(&low));
    spin_unlock(&high);
    EXPECT_PANIC("holds 'low'", spin_lock(&low));
    spin_unlock(&low);
    EXPECT_PANIC("does not hold", spin_unlock(&low));
}

/* Each CPU has locks of its own. */
static void test_rank_per_cpu(void **state)
{
    (void)state;
    support_set_cpu(1);
    spin_lock(&high);
    support_set_cpu(2);
    spin_lock(&low);
    EXPECT_PANIC("does not hold", spin_unlock(&high));
    spin_unlock(&low);
    support_set_cpu(1);
    spin_unlock(&high);
    support_set_cpu(0);
}

#define THREADS 2u
#define ROUNDS  4000u /* few: a ticket lock whose next holder is not running waits for the host */

static struct spinlock counter_lock = SPINLOCK_INIT(RANK_SPACE, "counter");
static uint64_t counter; /* under counter_lock */
static uint64_t attempts_refused;

static void *count(void *context)
{
    uint64_t refused = 0;

    support_set_cpu(*(const unsigned *)context);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 3 != 0 || !spin_trylock(&counter_lock)) {
            refused += i % 3 == 0;
            spin_lock(&counter_lock);
        }
        counter++;
        if (i % 64 == 0) {
            attempts_refused += refused;
            refused = 0;
        }
        spin_unlock(&counter_lock);
    }
    return NULL;
}

/* Tickets wrap around: nothing happens. */
static void test_lock_threads(void **state)
{
    pthread_t thread[THREADS];
    unsigned id[THREADS];

    (void)state;
    atomic_store(&counter_lock.next, UINT32_MAX - 100);
    atomic_store(&counter_lock.owner, UINT32_MAX - 100);
    for (unsigned i = 0; i < THREADS; i++) {
        id[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, count, &id[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    assert_int_equal(counter, THREADS * ROUNDS);
}

/* ---- hash ---- */

/* Vectors of the XXH64 specification: the empty input, and "abc". */
static void test_xxh64(void **state)
{
    (void)state;
    assert_true(XXH64("", 0, 0) == 0xef46db3751d8e999ull);
    assert_true(XXH64("abc", 3, 0) == 0x44bc2cf5ad770999ull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),           cmocka_unit_test(test_list_random),
        cmocka_unit_test(test_bits),           cmocka_unit_test(test_rank_order),
        cmocka_unit_test(test_rank_inversion), cmocka_unit_test(test_rank_per_cpu),
        cmocka_unit_test(test_lock_threads),   cmocka_unit_test(test_xxh64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
