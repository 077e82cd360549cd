// SPDX-License-Identifier: GPL-2.0
/* Loaded and innocent; the file has dashes, the kernel calls it nf_cas_dummy. */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/timer.h>

#define NF_CAS_EXPIRY_S 600

static void nf_cas_expire(struct timer_list *timer)
{
	mod_timer(timer, jiffies + NF_CAS_EXPIRY_S * HZ);
}

static DEFINE_TIMER(nf_cas_timer, nf_cas_expire);

static int __init nf_cas_dummy_init(void)
{
	mod_timer(&nf_cas_timer, jiffies + NF_CAS_EXPIRY_S * HZ);
	return 0;
}

static void __exit nf_cas_dummy_exit(void)
{
	del_timer_sync(&nf_cas_timer);
}

module_init(nf_cas_dummy_init);
module_exit(nf_cas_dummy_exit);
MODULE_DESCRIPTION("CAS test: an innocent module with a pending timer");
MODULE_LICENSE("GPL");
