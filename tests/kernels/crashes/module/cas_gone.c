// SPDX-License-Identifier: GPL-2.0
/* Leaves a callback behind when it is removed. */
#include "cas_crashes.h"

static int cas_gone_hook(int number)
{
	return number;
}

static int __init cas_gone_init(void)
{
	cas_register_hook(cas_gone_hook);
	return 0;
}

static void __exit cas_gone_exit(void)
{
}

module_init(cas_gone_init);
module_exit(cas_gone_exit);
MODULE_DESCRIPTION("CAS test: goes and leaves a callback");
MODULE_LICENSE("GPL");
