// SPDX-License-Identifier: GPL-2.0
/* Dereferences NULL in a work function, a second after it is loaded. */
#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define CAS_ENTRIES 8
#define CAS_INTERVAL_S 60

struct cas_account {
	char owner[24];
	long balance;
};

struct cas_entry {
	struct list_head list;
	unsigned int number;
	struct cas_account *account;
};

struct cas_ledger {
	struct delayed_work audit;
	struct list_head entries;
	long total;
};

static struct workqueue_struct *cas_wq;
static struct cas_ledger cas_ledger;

static struct cas_entry *cas_new_entry(unsigned int number)
{
	struct cas_entry *entry = kzalloc(sizeof(*entry), GFP_KERNEL);

	if (!entry)
		return NULL;
	entry->number = number;
	/* The last entry keeps its NULL account: the fault to find. */
	if (number < CAS_ENTRIES)
		entry->account = kzalloc(sizeof(*entry->account), GFP_KERNEL);
	return entry;
}

static noinline int cas_fill_ledger(struct cas_ledger *ledger)
{
	struct cas_entry *entry;
	unsigned int number;

	INIT_LIST_HEAD(&ledger->entries);
	for (number = 1; number <= CAS_ENTRIES; number++) {
		entry = cas_new_entry(number);
		if (!entry)
			return -ENOMEM;
		list_add_tail(&entry->list, &ledger->entries);
	}
	return 0;
}

static inline long cas_balance(const struct cas_entry *entry)
{
	return READ_ONCE(entry->account->balance);
}

static inline long cas_weigh(const struct cas_entry *entry)
{
	return entry->number * cas_balance(entry);
}

static noinline long cas_sum_entries(struct cas_ledger *ledger)
{
	struct cas_entry *entry;
	long sum = 0;

	list_for_each_entry(entry, &ledger->entries, list) {
		sum += cas_weigh(entry);
		/* A call, too: drgn 0.3.0 cannot leave a leaf function that faulted on arm64. */
		cond_resched();
	}
	return sum;
}

static noinline __noclone void cas_audit_ledger(struct cas_ledger *ledger, const char *reason)
{
	pr_info("cas_oops: auditing the ledger: %s\n", reason);
	ledger->total = cas_sum_entries(ledger);
	pr_info("cas_oops: total %ld\n", ledger->total);
}

static void cas_audit_work(struct work_struct *work)
{
	struct cas_ledger *ledger = container_of(work, struct cas_ledger, audit.work);

	cas_audit_ledger(ledger, "scheduled");
	queue_delayed_work(cas_wq, &ledger->audit, CAS_INTERVAL_S * HZ);
}

static int __init cas_oops_init(void)
{
	int error = cas_fill_ledger(&cas_ledger);

	if (error)
		return error;
	cas_wq = alloc_workqueue("cas_wq", 0, 0);
	if (!cas_wq)
		return -ENOMEM;
	INIT_DELAYED_WORK(&cas_ledger.audit, cas_audit_work);
	/* Not the boot CPU, where there is a choice. */
	queue_delayed_work_on(cpumask_last(cpu_online_mask), cas_wq, &cas_ledger.audit, HZ);
	return 0;
}

module_init(cas_oops_init);
MODULE_DESCRIPTION("CAS test: NULL dereference in a workqueue");
MODULE_LICENSE("GPL");
