// SPDX-License-Identifier: GPL-2.0
/* CPUs that do nothing else any more, and work that does not get on. */
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/rcupdate.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "cas_crashes.h"

#define CAS_TIMERS 6000
#define CAS_OVERLAP_MS 100

/* As a register of a device that never says ready. */
static unsigned int cas_status;

static noinline bool cas_is_ready(void)
{
	return READ_ONCE(cas_status) & 1;
}

/* loop */
static noinline void cas_poll_status(void)
{
	while (!cas_is_ready())
		cpu_relax();
}

static int cas_poller(void *unused)
{
	cas_poll_status();
	return 0;
}

static void cas_loop(void)
{
	cas_start(cas_poller, "poller", 1);
}

/* rcu-stall */
static noinline void cas_walk_readers(void)
{
	rcu_read_lock();
	while (!cas_is_ready())
		cpu_relax();
	rcu_read_unlock();
}

static int cas_rcu_reader(void *unused)
{
	cas_walk_readers();
	return 0;
}

static void cas_freed_by_rcu(struct rcu_head *head)
{
}

static struct rcu_head cas_head;

static void cas_rcu_stall(void)
{
	cas_start(cas_rcu_reader, "rcu-reader", 1);
	msleep(CAS_OVERLAP_MS);
	call_rcu(&cas_head, cas_freed_by_rcu);
}

/* irqs-off */
static noinline void cas_drain_fifo(void)
{
	unsigned long flags;

	local_irq_save(flags);
	while (!cas_is_ready())
		cpu_relax();
	local_irq_restore(flags);
}

static int cas_fifo_drainer(void *unused)
{
	cas_drain_fifo();
	return 0;
}

static void cas_irqs_off(void)
{
	cas_start(cas_fifo_drainer, "fifo-drainer", 1);
}

/* timer-storm: each of thousands does a millisecond of work, and they are all due together. */
static struct timer_list *cas_timers;

static noinline void cas_age_entry(struct timer_list *timer)
{
	mdelay(1);
	mod_timer(timer, jiffies + 1);
}

static int cas_timer_starter(void *unused)
{
	unsigned long due = jiffies + HZ;
	int number;

	cas_timers = vzalloc(array_size(CAS_TIMERS, sizeof(*cas_timers)));
	if (!cas_timers)
		return -ENOMEM;
	for (number = 0; number < CAS_TIMERS; number++) {
		timer_setup(&cas_timers[number], cas_age_entry, TIMER_PINNED);
		mod_timer(&cas_timers[number], due);
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(MAX_SCHEDULE_TIMEOUT);
	return 0;
}

static void cas_timer_storm(void)
{
	cas_start(cas_timer_starter, "timer-starter", 1);
}

/* workqueue: a work item waits for the firmware, another behind it, a task for that one. */
static struct workqueue_struct *cas_wq;
static DECLARE_WAIT_QUEUE_HEAD(cas_firmware_queue);

static noinline void cas_ask_firmware(struct work_struct *work)
{
	wait_event_interruptible(cas_firmware_queue, cas_is_ready());
}

static void cas_update_leds(struct work_struct *work)
{
}

static DECLARE_WORK(cas_firmware_work, cas_ask_firmware);
static DECLARE_WORK(cas_leds_work, cas_update_leds);

static noinline void cas_settle(void)
{
	flush_work(&cas_leds_work);
}

static int cas_settler(void *unused)
{
	cas_settle();
	return 0;
}

static void cas_workqueue(void)
{
	cas_wq = alloc_ordered_workqueue("cas_ordered", 0);
	if (!cas_wq)
		return;
	queue_work(cas_wq, &cas_firmware_work);
	queue_work(cas_wq, &cas_leds_work);
	cas_start(cas_settler, "settler", -1);
}

/* rt-hog: what runs on CPU 1 leaves it to nobody, work for that CPU is waited for. */
static noinline void cas_refresh_cpu(void)
{
	schedule_work_on(1, &cas_leds_work);
	flush_work(&cas_leds_work);
}

static int cas_refresher(void *unused)
{
	cas_refresh_cpu();
	return 0;
}

/* The shell that asks goes on in a loop of its own. */
static void cas_rt_hog(void)
{
	cas_start(cas_refresher, "refresher", 0);
	sched_set_fifo(current);
}

const struct cas_cause cas_stall_causes[] = {
	{ "loop", cas_loop },
	{ "rcu-stall", cas_rcu_stall },
	{ "irqs-off", cas_irqs_off },
	{ "nmi", cas_irqs_off },
	{ "timer-storm", cas_timer_storm },
	{ "workqueue", cas_workqueue },
	{ "rt-hog", cas_rt_hog },
	{ }
};
