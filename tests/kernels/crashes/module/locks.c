// SPDX-License-Identifier: GPL-2.0
/* Locks that are never had, and replies that never come. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/spinlock.h>

#include "cas_crashes.h"

#define CAS_OVERLAP_MS 100

static unsigned long cas_booked;

/* mutex-abba */
static DEFINE_MUTEX(ma);
static DEFINE_MUTEX(mb);

static noinline void cas_credit(void)
{
	mutex_lock(&ma);
	msleep(CAS_OVERLAP_MS);
	mutex_lock(&mb);
	cas_booked++;
	mutex_unlock(&mb);
	mutex_unlock(&ma);
}

static noinline void cas_debit(void)
{
	mutex_lock(&mb);
	msleep(CAS_OVERLAP_MS);
	mutex_lock(&ma);
	cas_booked--;
	mutex_unlock(&ma);
	mutex_unlock(&mb);
}

static int cas_held_ab(void *unused)
{
	cas_credit();
	return 0;
}

static int cas_held_ba(void *unused)
{
	cas_debit();
	return 0;
}

static void cas_mutex_abba(void)
{
	cas_start(cas_held_ab, "held-ab", -1);
	cas_start(cas_held_ba, "held-ba", -1);
}

/* rwsem-abba */
static DECLARE_RWSEM(ra);
static DECLARE_RWSEM(rb);

static noinline void cas_grow(void)
{
	down_write(&ra);
	msleep(CAS_OVERLAP_MS);
	down_write(&rb);
	cas_booked++;
	up_write(&rb);
	up_write(&ra);
}

static noinline void cas_shrink(void)
{
	down_write(&rb);
	msleep(CAS_OVERLAP_MS);
	down_write(&ra);
	cas_booked--;
	up_write(&ra);
	up_write(&rb);
}

static int cas_sem_ab(void *unused)
{
	cas_grow();
	return 0;
}

static int cas_sem_ba(void *unused)
{
	cas_shrink();
	return 0;
}

static void cas_rwsem_abba(void)
{
	cas_start(cas_sem_ab, "sem-ab", -1);
	cas_start(cas_sem_ba, "sem-ba", -1);
}

/* rwsem-reader: a reader that sleeps with it keeps a writer out, and the writer all readers. */
static DECLARE_RWSEM(cas_map_sem);

static noinline void cas_walk_map(void)
{
	down_read(&cas_map_sem);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(MAX_SCHEDULE_TIMEOUT);
	up_read(&cas_map_sem);
}

static noinline void cas_edit_map(void)
{
	down_write(&cas_map_sem);
	cas_booked++;
	up_write(&cas_map_sem);
}

static noinline void cas_look_at_map(void)
{
	down_read(&cas_map_sem);
	up_read(&cas_map_sem);
}

static int cas_map_walker(void *unused)
{
	cas_walk_map();
	return 0;
}

static int cas_map_editor(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_edit_map();
	return 0;
}

static int cas_map_reader(void *unused)
{
	msleep(2 * CAS_OVERLAP_MS);
	cas_look_at_map();
	return 0;
}

static void cas_rwsem_reader(void)
{
	cas_start(cas_map_walker, "map-walker", -1);
	cas_start(cas_map_editor, "map-editor", -1);
	cas_start(cas_map_reader, "map-reader", -1);
}

/* mutex-self */
static DEFINE_MUTEX(cas_cache_lock);

static noinline void cas_drop_entry(void)
{
	mutex_lock(&cas_cache_lock);
	cas_booked--;
	mutex_unlock(&cas_cache_lock);
}

static noinline void cas_flush_cache(void)
{
	mutex_lock(&cas_cache_lock);
	cas_drop_entry();
	mutex_unlock(&cas_cache_lock);
}

static int cas_cache_flusher(void *unused)
{
	cas_flush_cache();
	return 0;
}

static void cas_mutex_self(void)
{
	cas_start(cas_cache_flusher, "cache-flusher", -1);
}

/* mutex-sleeper: the owner waits for something else, interruptibly; five wait for the owner. */
static DEFINE_MUTEX(cas_config_lock);

static noinline void cas_hold_config(void)
{
	mutex_lock(&cas_config_lock);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(MAX_SCHEDULE_TIMEOUT);
	mutex_unlock(&cas_config_lock);
}

static noinline void cas_read_config(void)
{
	mutex_lock(&cas_config_lock);
	mutex_unlock(&cas_config_lock);
}

static int cas_config_keeper(void *unused)
{
	cas_hold_config();
	return 0;
}

static int cas_config_reader(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_read_config();
	return 0;
}

static void cas_mutex_sleeper(void)
{
	int number;

	cas_start(cas_config_keeper, "config-keeper", -1);
	for (number = 0; number < 5; number++)
		cas_start(cas_config_reader, "config-reader", -1);
}

/* semaphore: no owner is kept of one. */
static struct semaphore cas_slots;

static noinline void cas_use_slot(void)
{
	down(&cas_slots);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(MAX_SCHEDULE_TIMEOUT);
	up(&cas_slots);
}

static noinline void cas_take_slot(void)
{
	down(&cas_slots);
	cas_booked++;
	up(&cas_slots);
}

static int cas_slot_user(void *unused)
{
	cas_use_slot();
	return 0;
}

static int cas_slot_taker(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_take_slot();
	return 0;
}

static void cas_semaphore(void)
{
	sema_init(&cas_slots, 1);
	cas_start(cas_slot_user, "slot-user", -1);
	cas_start(cas_slot_taker, "slot-taker", -1);
}

/* lost-wakeup: the reply comes before the one who waits for it is ready. */
static struct {
	unsigned int number;
	struct completion done;
} cas_request;

static noinline void cas_wait_for_reply(void)
{
	msleep(CAS_OVERLAP_MS);
	reinit_completion(&cas_request.done);
	wait_for_completion(&cas_request.done);
	cas_booked++;
}

static int cas_requester(void *unused)
{
	cas_wait_for_reply();
	return 0;
}

static void cas_lost_wakeup(void)
{
	cas_request.number = 42;
	init_completion(&cas_request.done);
	cas_start(cas_requester, "requester", -1);
	complete(&cas_request.done);
}

/* spinlock: CPU 0 works with the lock for ever, CPU 1 spins for it. */
static DEFINE_SPINLOCK(cas_table_lock);

static noinline void cas_rebuild_table(void)
{
	spin_lock(&cas_table_lock);
	while (!kthread_should_stop()) {
		cas_booked++;
		cond_resched();
	}
	spin_unlock(&cas_table_lock);
}

static noinline void cas_look_up_table(void)
{
	spin_lock(&cas_table_lock);
	cas_booked++;
	spin_unlock(&cas_table_lock);
}

static int cas_table_builder(void *unused)
{
	cas_rebuild_table();
	return 0;
}

static int cas_table_user(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_look_up_table();
	return 0;
}

static void cas_spinlock(void)
{
	cas_start(cas_table_builder, "table-builder", 0);
	cas_start(cas_table_user, "table-user", 1);
}

/* spinlock-self */
static DEFINE_SPINLOCK(cas_queue_lock);

static noinline void cas_requeue(void)
{
	spin_lock(&cas_queue_lock);
	cas_booked++;
	spin_unlock(&cas_queue_lock);
}

static noinline void cas_run_queue(void)
{
	spin_lock(&cas_queue_lock);
	cas_requeue();
	spin_unlock(&cas_queue_lock);
}

static int cas_queue_runner(void *unused)
{
	cas_run_queue();
	return 0;
}

static void cas_spinlock_self(void)
{
	cas_start(cas_queue_runner, "queue-runner", 1);
}

/* spinlock-irq: as spinlock, with the interrupts off, so that only an NMI gets through. */
static DEFINE_SPINLOCK(cas_ring_lock);

static noinline void cas_fill_ring(void)
{
	spin_lock(&cas_ring_lock);
	while (!kthread_should_stop()) {
		cas_booked++;
		cond_resched();
	}
	spin_unlock(&cas_ring_lock);
}

static noinline void cas_empty_ring(void)
{
	unsigned long flags;

	spin_lock_irqsave(&cas_ring_lock, flags);
	cas_booked++;
	spin_unlock_irqrestore(&cas_ring_lock, flags);
}

static int cas_ring_filler(void *unused)
{
	cas_fill_ring();
	return 0;
}

static int cas_ring_emptier(void *unused)
{
	msleep(CAS_OVERLAP_MS);
	cas_empty_ring();
	return 0;
}

static void cas_spinlock_irq(void)
{
	cas_start(cas_ring_filler, "ring-filler", 0);
	cas_start(cas_ring_emptier, "ring-emptier", 1);
}

const struct cas_cause cas_lock_causes[] = {
	{ "mutex-abba", cas_mutex_abba },
	{ "mutex-self", cas_mutex_self },
	{ "mutex-sleeper", cas_mutex_sleeper },
	{ "rwsem-abba", cas_rwsem_abba },
	{ "rwsem-reader", cas_rwsem_reader },
	{ "semaphore", cas_semaphore },
	{ "lost-wakeup", cas_lost_wakeup },
	{ "spinlock", cas_spinlock },
	{ "spinlock-self", cas_spinlock_self },
	{ "spinlock-irq", cas_spinlock_irq },
	{ }
};
