// SPDX-License-Identifier: GPL-2.0
/* Memory that is taken and never given back. */
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "cas_crashes.h"

#define CAS_BLOCK_BYTES (256 << 10)

/* oom-slab */
struct cas_record {
	struct list_head list;
	unsigned long number;
	char text[200];
};

static struct kmem_cache *cas_record_cache;
static LIST_HEAD(cas_records);

/* Also keeps the cache from being merged with another of this size. */
static void cas_init_record(void *object)
{
	struct cas_record *record = object;

	INIT_LIST_HEAD(&record->list);
}

static noinline void cas_keep_record(unsigned long number)
{
	struct cas_record *record = kmem_cache_alloc(cas_record_cache, GFP_KERNEL);

	if (!record)
		return;
	record->number = number;
	list_add_tail(&record->list, &cas_records);
}

static int cas_recorder(void *unused)
{
	unsigned long number = 0;

	while (!kthread_should_stop()) {
		cas_keep_record(number++);
		cond_resched();
	}
	return 0;
}

static void cas_oom_slab(void)
{
	cas_record_cache = kmem_cache_create("cas_record", sizeof(struct cas_record), 0, 0,
					     cas_init_record);
	if (cas_record_cache)
		cas_start(cas_recorder, "recorder", -1);
}

/* oom-pages: of these nothing keeps account. */
static LIST_HEAD(cas_pages);

static noinline void cas_keep_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (page)
		list_add_tail(&page->lru, &cas_pages);
}

static int cas_page_keeper(void *unused)
{
	while (!kthread_should_stop()) {
		cas_keep_page();
		cond_resched();
	}
	return 0;
}

static void cas_oom_pages(void)
{
	cas_start(cas_page_keeper, "page-keeper", -1);
}

/* oom-vmalloc */
static LIST_HEAD(cas_blocks);

static noinline void cas_keep_block(void)
{
	struct list_head *block = vmalloc(CAS_BLOCK_BYTES);

	if (block)
		list_add_tail(block, &cas_blocks);
}

static int cas_block_keeper(void *unused)
{
	while (!kthread_should_stop()) {
		cas_keep_block();
		cond_resched();
	}
	return 0;
}

static void cas_oom_vmalloc(void)
{
	cas_start(cas_block_keeper, "block-keeper", -1);
}

const struct cas_cause cas_memory_causes[] = {
	{ "oom-slab", cas_oom_slab },
	{ "oom-pages", cas_oom_pages },
	{ "oom-vmalloc", cas_oom_vmalloc },
	{ }
};
