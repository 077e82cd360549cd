/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CAS_CRASHES_H
#define CAS_CRASHES_H

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

struct cas_cause {
	const char *name;
	void (*crash)(void);
};

/* Each ends with an entry without a name. */
extern const struct cas_cause cas_lock_causes[];
extern const struct cas_cause cas_stall_causes[];
extern const struct cas_cause cas_memory_causes[];
extern const struct cas_cause cas_fault_causes[];
extern const struct cas_cause cas_io_causes[];

/* A callback of another module, which ought to be taken back when that one goes. */
void cas_register_hook(int (*hook)(int number));

/* Starts a thread on a CPU, or anywhere (-1). */
void cas_start(int (*body)(void *data), const char *name, int cpu);

#endif
