// SPDX-License-Identifier: GPL-2.0
/* Whoever reads /proc/cas_stuck waits uninterruptibly, for ever. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(cas_queue);
static bool cas_released;

/*
 * Not a completion: crash 8.0.2 loses the stack behind schedule_timeout() where the kernel
 * is optimised for size.
 */
static ssize_t cas_stuck_read(struct file *file, char __user *buffer, size_t size, loff_t *offset)
{
	wait_event(cas_queue, READ_ONCE(cas_released));
	return 0;
}

static const struct proc_ops cas_stuck_ops = {
	.proc_read = cas_stuck_read,
};

static int __init cas_stuck_init(void)
{
	return proc_create("cas_stuck", 0400, NULL, &cas_stuck_ops) ? 0 : -ENOMEM;
}

module_init(cas_stuck_init);
MODULE_DESCRIPTION("CAS test: a task in uninterruptible sleep");
MODULE_LICENSE("GPL");
