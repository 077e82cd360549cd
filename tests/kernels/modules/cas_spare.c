// SPDX-License-Identifier: GPL-2.0
/* Stands in the debuginfo package and is never loaded. */
#include <linux/module.h>

static int __init cas_spare_init(void)
{
	return 0;
}

static void __exit cas_spare_exit(void)
{
}

module_init(cas_spare_init);
module_exit(cas_spare_exit);
MODULE_DESCRIPTION("CAS test: a module that is not loaded");
MODULE_LICENSE("GPL");
