// SPDX-License-Identifier: GPL-2.0
/* What the processor, or a check of the kernel, stops at once. */
#include <linux/bits.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "cas_crashes.h"

struct cas_account {
	char owner[24];
	long balance;
};

struct cas_order {
	struct list_head list;
	unsigned int number;
	struct cas_account *account;
	int (*settle)(struct cas_order *order);
	char note[64];
};

static LIST_HEAD(cas_orders);
static long cas_total;

static struct cas_order *cas_new_order(unsigned int number)
{
	struct cas_order *order = kzalloc(sizeof(*order), GFP_KERNEL);

	if (!order)
		return NULL;
	order->number = number;
	order->account = kzalloc(sizeof(*order->account), GFP_KERNEL);
	list_add_tail(&order->list, &cas_orders);
	return order;
}

static noinline long cas_balance_of(struct cas_order *order)
{
	return READ_ONCE(order->account->balance);
}

static noinline void cas_sum_up(struct cas_order *order)
{
	cas_total += cas_balance_of(order);
}

/* null */
static void cas_null(void)
{
	struct cas_order *order = cas_new_order(1);

	order->account = NULL;
	cas_sum_up(order);
}

/* poison: an order that was taken from the list shows where its neighbour was. */
static noinline unsigned int cas_number_behind(struct cas_order *order)
{
	return READ_ONCE(list_next_entry(order, list)->number);
}

static void cas_poison(void)
{
	struct cas_order *order = cas_new_order(1);

	list_del(&order->list);
	cas_total += cas_number_behind(order);
}

/* use-after-free: wants slub_debug=P */
static void cas_use_after_free(void)
{
	struct cas_order *order = cas_new_order(1);

	list_del(&order->list);
	kfree(order);
	cas_sum_up(order);
}

/* double-free: wants slub_debug=F */
static noinline void cas_free_order(struct cas_order *order)
{
	kfree(order);
}

static noinline void cas_cancel_order(struct cas_order *order)
{
	cas_free_order(order);
	cas_free_order(order);
}

static void cas_double_free(void)
{
	struct cas_order *order = cas_new_order(1);

	list_del(&order->list);
	cas_cancel_order(order);
}

/* overrun: wants slub_debug=FZ */
static noinline void cas_write_note(struct cas_order *order, const char *note, size_t size)
{
	memcpy(order->note, note, size);
}

static void cas_overrun(void)
{
	static const char note[] = "a note that is longer than the sixty-four bytes that there are"
				   " for one, by a few words";
	struct cas_order *order = cas_new_order(1);

	list_del(&order->list);
	cas_write_note(order, note, sizeof(note));
	cas_free_order(order);
}

/* list-corruption: wants DEBUG_LIST and BUG_ON_DATA_CORRUPTION */
static noinline void cas_remove_order(struct cas_order *order)
{
	list_del(&order->list);
}

static void cas_list_corruption(void)
{
	struct cas_order *order = cas_new_order(1);

	cas_new_order(2);
	cas_remove_order(order);
	cas_remove_order(order);
}

/* bit-flip */
static void cas_bit_flip(void)
{
	struct cas_order *order = cas_new_order(1);

	order->account = (void *)((unsigned long)order->account ^ BIT(42));
	cas_sum_up(order);
}

/* user-address */
static void cas_user_address(void)
{
	struct cas_order *order = cas_new_order(1);

	order->account = (void *)0x7f0012345000;
	cas_sum_up(order);
}

/* err-ptr */
static noinline struct cas_account *cas_find_account(const char *owner)
{
	return cas_total < 0 ? NULL : ERR_PTR(-ENOENT);
}

static noinline void cas_close_account(const char *owner)
{
	struct cas_account *account = cas_find_account(owner);

	cas_total -= READ_ONCE(account->balance);
}

static void cas_err_ptr(void)
{
	cas_close_account("nobody");
}

/* divide */
static unsigned int cas_settled;

static noinline long cas_average(long sum, unsigned int orders)
{
	return sum / orders;
}

static noinline void cas_summarise(void)
{
	cas_total = cas_average(cas_total, READ_ONCE(cas_settled));
}

static void cas_divide(void)
{
	cas_summarise();
}

/* bug */
static noinline void cas_check_order(struct cas_order *order)
{
	BUG_ON(order->number > 8);
}

static void cas_bug(void)
{
	cas_check_order(cas_new_order(9));
}

/* warn: wants panic_on_warn */
static noinline void cas_doubt_order(struct cas_order *order)
{
	WARN(order->number > 8, "order %u of %u\n", order->number, 8);
}

static void cas_warn(void)
{
	cas_doubt_order(cas_new_order(9));
}

/* recursion */
static noinline int cas_visit(struct cas_order *order, int depth)
{
	volatile char trail[256];

	trail[depth % sizeof(trail)] = 1;
	/* A list that leads back to its beginning. */
	return depth < INT_MAX ? cas_visit(list_next_entry(order, list), depth + 1) + trail[0] : 0;
}

static noinline void cas_visit_all(void)
{
	cas_total = cas_visit(cas_new_order(1), 0);
}

static void cas_recursion(void)
{
	cas_visit_all();
}

/* jump-null */
static noinline int cas_settle_order(struct cas_order *order)
{
	cas_settled++;
	return order->settle(order) + 1;
}

static void cas_jump_null(void)
{
	cas_total += cas_settle_order(cas_new_order(1));
}

/* jump-wild: a function pointer that was overwritten with text */
static void cas_jump_wild(void)
{
	struct cas_order *order = cas_new_order(1);

	memcpy(&order->settle, "ORDER #7", sizeof(order->settle));
	cas_total += cas_settle_order(order);
}

/* jump-unloaded: wants cas_gone loaded and removed */
static int (*cas_hook)(int number);

void cas_register_hook(int (*hook)(int number))
{
	cas_hook = hook;
}
EXPORT_SYMBOL_GPL(cas_register_hook);

static noinline void cas_call_hook(int number)
{
	cas_total += cas_hook(number) + 1;
}

static void cas_jump_unloaded(void)
{
	cas_call_hook(7);
}

const struct cas_cause cas_fault_causes[] = {
	{ "null", cas_null },
	{ "poison", cas_poison },
	{ "use-after-free", cas_use_after_free },
	{ "double-free", cas_double_free },
	{ "overrun", cas_overrun },
	{ "list-corruption", cas_list_corruption },
	{ "bit-flip", cas_bit_flip },
	{ "user-address", cas_user_address },
	{ "err-ptr", cas_err_ptr },
	{ "divide", cas_divide },
	{ "bug", cas_bug },
	{ "warn", cas_warn },
	{ "recursion", cas_recursion },
	{ "jump-null", cas_jump_null },
	{ "jump-wild", cas_jump_wild },
	{ "jump-unloaded", cas_jump_unloaded },
	{ }
};
