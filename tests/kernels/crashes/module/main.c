// SPDX-License-Identifier: GPL-2.0
/* Crashes the kernel: write the name of a cause to /proc/cas_crashes. */
#include <linux/err.h>
#include <linux/proc_fs.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "cas_crashes.h"

static const struct cas_cause *const cas_causes[] = {
	cas_lock_causes, cas_stall_causes, cas_memory_causes, cas_fault_causes, cas_io_causes,
};

void cas_start(int (*body)(void *data), const char *name, int cpu)
{
	struct task_struct *task = kthread_create(body, NULL, "%s", name);

	if (IS_ERR(task))
		return;
	if (cpu >= 0)
		kthread_bind(task, cpu);
	wake_up_process(task);
}

static const struct cas_cause *cas_find(const char *name)
{
	const struct cas_cause *cause;
	int group;

	for (group = 0; group < ARRAY_SIZE(cas_causes); group++)
		for (cause = cas_causes[group]; cause->name; cause++)
			if (sysfs_streq(name, cause->name))
				return cause;
	return NULL;
}

static ssize_t cas_crashes_write(struct file *file, const char __user *buffer, size_t size,
				 loff_t *offset)
{
	const struct cas_cause *cause;
	char name[32] = "";

	if (size >= sizeof(name) || copy_from_user(name, buffer, size))
		return -EINVAL;
	cause = cas_find(name);
	if (!cause)
		return -ENOENT;
	pr_info("cas_crashes: %s\n", cause->name);
	cause->crash();
	return size;
}

static const struct proc_ops cas_crashes_ops = {
	.proc_write = cas_crashes_write,
};

static int __init cas_crashes_init(void)
{
	return proc_create("cas_crashes", 0200, NULL, &cas_crashes_ops) ? 0 : -ENOMEM;
}

module_init(cas_crashes_init);
MODULE_DESCRIPTION("CAS test: crashes of all causes");
MODULE_LICENSE("GPL");
