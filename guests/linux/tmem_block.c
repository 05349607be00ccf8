// SPDX-License-Identifier: GPL-2.0-only
/* /dev/tmem0: the disk over tmem_queue.c's requests, its figures in sysfs, its life. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/module.h>

#include "tmem.h"

#define QUEUES_MAX    16
#define QUEUE_DEPTH   64
#define BATCH_SECTORS (SPILLWAY_TMEM_BATCH * TMEM_BLOCK_SECTORS)

static struct {
    u32 pool;
    u64 blocks; /* 0: there is no tmem0 */
    struct blk_mq_tag_set tags;
    struct gendisk *disk;
    int major;
} device;

static const struct block_device_operations disk_operations = {.owner = THIS_MODULE};

/* ---- /sys/block/tmem0/tmem/stat ---- */

static ssize_t stat_show(struct device *dev, struct device_attribute *attribute, char *page)
{
    const char *name = NULL;
    unsigned int counter;
    ssize_t length = 0;
    u64 value = tmem_queue_counter(0, &name);

    for (counter = 1; name; counter++) {
        length += sysfs_emit_at(page, length, "%s %llu\n", name, value);
        name = NULL;
        value = tmem_queue_counter(counter, &name);
    }
    return length;
}

static DEVICE_ATTR_RO(stat);

static struct attribute *stat_attributes[] = {&dev_attr_stat.attr, NULL};
static const struct attribute_group stat_group = {.name = "tmem", .attrs = stat_attributes};
static const struct attribute_group *stat_groups[] = {&stat_group, NULL};

/* ---- life ---- */

/* Merging has become the rule. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define TAG_FLAGS (BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_NO_SCHED_BY_DEFAULT)
#else
#define TAG_FLAGS BLK_MQ_F_NO_SCHED_BY_DEFAULT
#endif

static int tags_alloc(unsigned int queues)
{
    device.tags = (struct blk_mq_tag_set){.ops = &tmem_queue_operations,
                                          .nr_hw_queues = queues,
                                          .queue_depth = QUEUE_DEPTH,
                                          .numa_node = NUMA_NO_NODE,
                                          .cmd_size = sizeof(struct tmem_request),
                                          .flags = TAG_FLAGS};
    return blk_mq_alloc_tag_set(&device.tags);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
static struct gendisk *disk_alloc(void)
{
    struct queue_limits limits = {
        .logical_block_size = PAGE_SIZE,
        .physical_block_size = PAGE_SIZE,
        .max_hw_sectors = BATCH_SECTORS,
        .max_segments = SPILLWAY_TMEM_BATCH,
        .max_hw_discard_sectors = BATCH_SECTORS,
        .max_write_zeroes_sectors = BATCH_SECTORS,
        .discard_granularity = PAGE_SIZE,
    };
    struct gendisk *disk = blk_mq_alloc_disk(&device.tags, &limits, NULL);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
    if (!IS_ERR(disk)) {
        blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
    }
#endif
    return disk;
}
#else
static struct gendisk *disk_alloc(void)
{
    struct gendisk *disk = blk_mq_alloc_disk(&device.tags, NULL);

    if (!IS_ERR(disk)) {
        struct request_queue *queue = disk->queue;

        blk_queue_logical_block_size(queue, PAGE_SIZE);
        blk_queue_physical_block_size(queue, PAGE_SIZE);
        blk_queue_max_hw_sectors(queue, BATCH_SECTORS);
        blk_queue_max_segments(queue, SPILLWAY_TMEM_BATCH);
        blk_queue_max_discard_sectors(queue, BATCH_SECTORS);
        blk_queue_max_write_zeroes_sectors(queue, BATCH_SECTORS);
        queue->limits.discard_granularity = PAGE_SIZE;
        blk_queue_flag_set(QUEUE_FLAG_NONROT, queue);
    }
    return disk;
}
#endif

static int disk_add(void)
{
    struct gendisk *disk = disk_alloc();
    int error;

    if (IS_ERR(disk)) {
        return PTR_ERR(disk);
    }
    disk->major = device.major;
    disk->first_minor = 0;
    disk->minors = 1;
    disk->flags |= GENHD_FL_NO_PART;
    disk->fops = &disk_operations;
    strscpy(disk->disk_name, "tmem0", sizeof(disk->disk_name));
    set_capacity(disk, device.blocks * TMEM_BLOCK_SECTORS);
    device.disk = disk;
    error = device_add_disk(NULL, disk, stat_groups);
    if (error) {
        put_disk(disk);
    }
    return error;
}

/* Everything below the disk: pool, map, queues, backing disk. */
static int parts_init(unsigned int queues)
{
    int error = tmem_call_create(SPILLWAY_TMEM_PERSISTENT, &device.pool);

    if (error) {
        pr_err("the host makes no pool: error %d\n", error);
        return error;
    }
    error = tmem_queues_alloc(queues, device.pool, device.blocks);
    if (error) {
        goto no_queues;
    }
    error = tmem_backing_open(device.blocks);
    if (error) {
        goto no_backing;
    }
    return 0;

no_backing:
    tmem_queues_free();
no_queues:
    tmem_call_pool(SPILLWAY_TMEM_DESTROY, device.pool);
    return error;
}

static void parts_exit(void)
{
    tmem_backing_close();
    tmem_queues_free();
    tmem_call_pool(SPILLWAY_TMEM_DESTROY, device.pool);
}

static int device_init(void)
{
    unsigned int queues = min_t(unsigned int, num_online_cpus(), QUEUES_MAX);
    int error = parts_init(queues);

    if (error) {
        return error;
    }
    device.major = register_blkdev(0, "tmem");
    if (device.major < 0) {
        error = device.major;
        goto no_major;
    }
    error = tags_alloc(queues);
    if (error) {
        goto no_tags;
    }
    error = disk_add();
    if (error) {
        goto no_disk;
    }
    return 0;

no_disk:
    blk_mq_free_tag_set(&device.tags);
no_tags:
    unregister_blkdev(device.major, "tmem");
no_major:
    parts_exit();
    return error;
}

int tmem_block_init(void)
{
    struct spillway_tmem_info info;
    int error = tmem_call_query(&info);

    if (error) {
        pr_err("the host does not answer a query: error %d\n", error);
        return error;
    }
    device.blocks = min_t(u64, info.quota, U32_MAX); /* the index has 32 bits */
    if (device.blocks == 0) {
        pr_info("no quota: there will be no tmem0\n");
        return 0;
    }
    error = device_init();
    if (error) {
        device.blocks = 0;
        return error;
    }
    pr_info("tmem0: %llu pages%s\n", device.blocks,
            tmem_backing_present() ? ", with a backing disk" : "");
    return 0;
}

void tmem_block_exit(void)
{
    if (device.blocks == 0) {
        return;
    }
    del_gendisk(device.disk);
    put_disk(device.disk);
    blk_mq_free_tag_set(&device.tags);
    unregister_blkdev(device.major, "tmem");
    parts_exit();
}
