// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/tmem: pools for programs.  An open file owns its pools; the ids in its table are the only
 * ones that it can use, so no program reaches the pool of tmem0 or of another program.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "spillway_tmem_ioctl.h"
#include "tmem.h"

static_assert(TMEM_OP_PUT == SPILLWAY_TMEM_PUT);
static_assert(TMEM_OP_GET == SPILLWAY_TMEM_GET);
static_assert(TMEM_OP_FLUSH_PAGE == SPILLWAY_TMEM_FLUSH_PAGE);
static_assert(TMEM_OP_FLUSH_OBJECT == SPILLWAY_TMEM_FLUSH_OBJECT);
static_assert(TMEM_POOL_PERSISTENT == SPILLWAY_TMEM_PERSISTENT);
static_assert(TMEM_POOL_SHARED_GET == SPILLWAY_TMEM_SHARED_GET);
static_assert(TMEM_BATCH_MAX == SPILLWAY_TMEM_BATCH);
static_assert(sizeof(struct tmem_info) == sizeof(struct spillway_tmem_info));
static_assert(sizeof(struct tmem_batch_op) == 48);

struct tmem_file {
    /* Write: create and destroy.  Read: while an operation uses a pool. */
    struct rw_semaphore lock;
    unsigned int count;
    u32 pools[TMEM_POOLS_MAX]; /* the first `count` */
};

/* What one ioctl hands the host. */
struct tmem_work {
    unsigned int count;
    struct page *pages[TMEM_BATCH_MAX]; /* pinned data pages, NULL for none */
    int status[TMEM_BATCH_MAX];         /* != 0: found wrong here, not handed on */
    unsigned int place[TMEM_BATCH_MAX]; /* operation -> position in ops */
    struct spillway_tmem_op ops[];
};

/* The place in the table, or -1. */
static int pool_find(const struct tmem_file *file, u32 pool)
{
    unsigned int i;

    for (i = 0; i < file->count; i++) {
        if (file->pools[i] == pool) {
            return i;
        }
    }
    return -1;
}

/* ---- operations on pages ---- */

static int data_pin(const struct tmem_page *page, bool write, struct page **pinned)
{
    int got;

    if (!PAGE_ALIGNED(page->data)) {
        return -EINVAL;
    }
    got = pin_user_pages_fast(page->data, 1, write ? FOLL_WRITE : 0, pinned);
    if (got == 1) {
        return 0;
    }
    *pinned = NULL;
    return -EFAULT;
}

/* Checks one operation and, if it is good, adds it to what goes to the host. */
static int work_add(const struct tmem_file *file, struct tmem_work *work, unsigned int i, u32 op,
                    const struct tmem_page *page)
{
    struct spillway_tmem_op *out = &work->ops[work->count];
    int error = 0;

    if (op < SPILLWAY_TMEM_PUT || op > SPILLWAY_TMEM_FLUSH_OBJECT) {
        return -EINVAL;
    }
    if (pool_find(file, page->pool) < 0) {
        return -EBADFD;
    }
    if (op == SPILLWAY_TMEM_PUT || op == SPILLWAY_TMEM_GET) {
        error = data_pin(page, op == SPILLWAY_TMEM_GET, &work->pages[i]);
    }
    if (error) {
        return error;
    }
    *out = (struct spillway_tmem_op){.op = op, .pool = page->pool, .index = page->index};
    memcpy(out->object, page->object, sizeof(out->object));
    out->address = work->pages[i] ? page_to_phys(work->pages[i]) : 0;
    work->place[i] = work->count++;
    return 0;
}

/* Performs what was added; the status of all `count` operations is in work->status then. */
static int work_run(struct tmem_work *work, unsigned int count)
{
    unsigned int i;
    int error = 0;

    if (work->count > 0) {
        error = tmem_call_run(work->ops, work->count);
    }
    for (i = 0; i < count; i++) {
        if (!error && work->status[i] == 0) {
            work->status[i] = work->ops[work->place[i]].status;
        }
        if (work->pages[i]) {
            /* A get may have written: dirty. */
            bool dirty = work->ops[work->place[i]].op == SPILLWAY_TMEM_GET;

            unpin_user_pages_dirty_lock(&work->pages[i], 1, dirty);
        }
    }
    return error;
}

static struct tmem_work *work_alloc(unsigned int count)
{
    return kzalloc(struct_size((struct tmem_work *)NULL, ops, count), GFP_KERNEL);
}

static long ioctl_page(struct tmem_file *file, u32 op, const void __user *argument)
{
    struct tmem_work *work;
    struct tmem_page page;
    long error;

    if (copy_from_user(&page, argument, sizeof(page))) {
        return -EFAULT;
    }
    work = work_alloc(1);
    if (!work) {
        return -ENOMEM;
    }
    down_read(&file->lock);
    work->status[0] = work_add(file, work, 0, op, &page);
    error = work_run(work, 1);
    up_read(&file->lock);
    if (!error) {
        error = work->status[0];
    }
    kfree(work);
    return error;
}

static long batch_run(struct tmem_file *file, struct tmem_batch_op *ops, unsigned int count)
{
    struct tmem_work *work = work_alloc(count);
    unsigned int i;
    long error;

    if (!work) {
        return -ENOMEM;
    }
    down_read(&file->lock);
    for (i = 0; i < count; i++) {
        work->status[i] = work_add(file, work, i, ops[i].op, &ops[i].page);
    }
    error = work_run(work, count);
    up_read(&file->lock);
    for (i = 0; i < count; i++) {
        ops[i].status = work->status[i];
    }
    kfree(work);
    return error;
}

static long ioctl_batch(struct tmem_file *file, const void __user *argument)
{
    struct tmem_batch_op *ops;
    struct tmem_batch batch;
    void __user *user;
    size_t bytes;
    long error;

    if (copy_from_user(&batch, argument, sizeof(batch))) {
        return -EFAULT;
    }
    if (batch.count == 0 || batch.count > TMEM_BATCH_MAX || batch.reserved != 0) {
        return -EINVAL;
    }
    user = u64_to_user_ptr(batch.ops);
    bytes = batch.count * sizeof(*ops);
    ops = memdup_user(user, bytes);
    if (IS_ERR(ops)) {
        return PTR_ERR(ops);
    }
    error = batch_run(file, ops, batch.count);
    if (!error && copy_to_user(user, ops, bytes)) {
        error = -EFAULT;
    }
    kfree(ops);
    return error;
}

/* ---- operations on pools ---- */

static long ioctl_create(struct tmem_file *file, void __user *argument)
{
    struct tmem_pool_create create;
    long error;

    if (copy_from_user(&create, argument, sizeof(create))) {
        return -EFAULT;
    }
    down_write(&file->lock);
    error = file->count < TMEM_POOLS_MAX ? tmem_call_create(create.flags, &create.pool) : -EMFILE;
    if (!error) {
        if (copy_to_user(argument, &create, sizeof(create))) {
            tmem_call_pool(SPILLWAY_TMEM_DESTROY, create.pool);
            error = -EFAULT;
        } else {
            file->pools[file->count++] = create.pool;
        }
    }
    up_write(&file->lock);
    return error;
}

static long ioctl_destroy(struct tmem_file *file, u32 pool)
{
    long error = -EBADFD;
    int at;

    down_write(&file->lock);
    at = pool_find(file, pool);
    if (at >= 0) {
        error = tmem_call_pool(SPILLWAY_TMEM_DESTROY, pool);
        if (!error) {
            file->pools[at] = file->pools[--file->count];
        }
    }
    up_write(&file->lock);
    return error;
}

static long ioctl_flush_pool(struct tmem_file *file, u32 pool)
{
    long error = -EBADFD;

    down_read(&file->lock);
    if (pool_find(file, pool) >= 0) {
        error = tmem_call_pool(SPILLWAY_TMEM_FLUSH_POOL, pool);
    }
    up_read(&file->lock);
    return error;
}

static long ioctl_query(void __user *argument)
{
    struct spillway_tmem_info info;
    long error = tmem_call_query(&info);

    if (!error && copy_to_user(argument, &info, sizeof(info))) {
        error = -EFAULT;
    }
    return error;
}

static long char_ioctl(struct file *opened, unsigned int command, unsigned long value)
{
    struct tmem_file *file = opened->private_data;
    void __user *argument = (void __user *)value;
    u32 pool;

    switch (command) {
    case TMEM_IOC_CREATE:
        return ioctl_create(file, argument);
    case TMEM_IOC_DESTROY:
    case TMEM_IOC_FLUSH_POOL:
        if (get_user(pool, (u32 __user *)argument)) {
            return -EFAULT;
        }
        return command == TMEM_IOC_DESTROY ? ioctl_destroy(file, pool)
                                           : ioctl_flush_pool(file, pool);
    case TMEM_IOC_PUT:
        return ioctl_page(file, SPILLWAY_TMEM_PUT, argument);
    case TMEM_IOC_GET:
        return ioctl_page(file, SPILLWAY_TMEM_GET, argument);
    case TMEM_IOC_FLUSH_PAGE:
        return ioctl_page(file, SPILLWAY_TMEM_FLUSH_PAGE, argument);
    case TMEM_IOC_FLUSH_OBJECT:
        return ioctl_page(file, SPILLWAY_TMEM_FLUSH_OBJECT, argument);
    case TMEM_IOC_QUERY:
        return ioctl_query(argument);
    case TMEM_IOC_BATCH:
        return ioctl_batch(file, argument);
    default:
        return -ENOTTY;
    }
}

/* ---- life ---- */

static int char_open(struct inode *inode, struct file *opened)
{
    struct tmem_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

    if (!file) {
        return -ENOMEM;
    }
    init_rwsem(&file->lock);
    opened->private_data = file;
    return 0;
}

/* Nobody else has the file any more. */
static int char_release(struct inode *inode, struct file *opened)
{
    struct tmem_file *file = opened->private_data;
    unsigned int i;

    for (i = 0; i < file->count; i++) {
        int error = tmem_call_pool(SPILLWAY_TMEM_DESTROY, file->pools[i]);

        if (error) {
            pr_warn("pool %u could not be destroyed: error %d\n", file->pools[i], error);
        }
    }
    kfree(file);
    return 0;
}

static const struct file_operations char_operations = {
    .owner = THIS_MODULE,
    .open = char_open,
    .release = char_release,
    .unlocked_ioctl = char_ioctl,
    .compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice char_device = {
    .minor = MISC_DYNAMIC_MINOR, .name = "tmem", .fops = &char_operations, .mode = 0600};

int tmem_char_init(void)
{
    return misc_register(&char_device);
}

void tmem_char_exit(void)
{
    misc_deregister(&char_device);
}
