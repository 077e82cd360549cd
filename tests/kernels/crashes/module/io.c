// SPDX-License-Identifier: GPL-2.0
/* A disk that does not answer, and a server that does not. */
#include <linux/blk-mq.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "cas_crashes.h"

#define CAS_DISK_SECTORS 2048
#define CAS_CLIENTS 3
#define CAS_OVERLAP_MS 100

/* io-stuck: the disk takes requests and never ends them. */
static struct blk_mq_tag_set cas_tags;

static noinline blk_status_t cas_queue_request(struct blk_mq_hw_ctx *context,
					       const struct blk_mq_queue_data *data)
{
	blk_mq_start_request(data->rq);
	return BLK_STS_OK;
}

static enum blk_eh_timer_return cas_request_late(struct request *request)
{
	return BLK_EH_RESET_TIMER;
}

static const struct blk_mq_ops cas_mq_ops = {
	.queue_rq = cas_queue_request,
	.timeout = cas_request_late,
};

static const struct block_device_operations cas_disk_ops = {
	.owner = THIS_MODULE,
};

static void cas_add_disk(void)
{
	struct gendisk *disk;
	int major = register_blkdev(0, "casdisk");

	cas_tags.ops = &cas_mq_ops;
	cas_tags.nr_hw_queues = 1;
	cas_tags.queue_depth = 16;
	cas_tags.numa_node = NUMA_NO_NODE;
	cas_tags.flags = BLK_MQ_F_SHOULD_MERGE;
	if (major < 0 || blk_mq_alloc_tag_set(&cas_tags))
		return;
	disk = blk_mq_alloc_disk(&cas_tags, NULL);
	if (IS_ERR(disk))
		return;
	disk->major = major;
	disk->minors = 1;
	disk->flags = GENHD_FL_NO_PART;
	disk->fops = &cas_disk_ops;
	strscpy(disk->disk_name, "casdisk0", sizeof(disk->disk_name));
	set_capacity(disk, CAS_DISK_SECTORS);
	if (add_disk(disk))
		pr_err("cas_crashes: no disk\n");
}

/* server: one client has the lock of the share and waits for the server, others for the lock. */
static struct {
	struct mutex lock;
	wait_queue_head_t replies;
	bool has_reply;
} cas_share;

static noinline void cas_call_server(void)
{
	pr_warn("cas_share: server 192.0.2.9 not responding, still trying\n");
	wait_event(cas_share.replies, READ_ONCE(cas_share.has_reply));
}

static noinline void cas_read_share(void)
{
	mutex_lock(&cas_share.lock);
	cas_call_server();
	mutex_unlock(&cas_share.lock);
}

static noinline void cas_list_share(void)
{
	mutex_lock(&cas_share.lock);
	mutex_unlock(&cas_share.lock);
}

static int cas_share_reader(void *unused)
{
	cas_read_share();
	return 0;
}

static int cas_share_lister(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_list_share();
	return 0;
}

static void cas_server(void)
{
	char name[TASK_COMM_LEN];
	int number;

	mutex_init(&cas_share.lock);
	init_waitqueue_head(&cas_share.replies);
	cas_start(cas_share_reader, "share-reader", -1);
	for (number = 1; number <= CAS_CLIENTS; number++) {
		snprintf(name, sizeof(name), "share-lister/%d", number);
		cas_start(cas_share_lister, name, -1);
	}
}

const struct cas_cause cas_io_causes[] = {
	{ "io-stuck", cas_add_disk },
	{ "server", cas_server },
	{ }
};
