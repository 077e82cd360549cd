// SPDX-License-Identifier: GPL-2.0
/* First process of the lean guests: leaves a sleeping child, then lets cas_oops crash the kernel. */
#include "nolibc.h"

static const char *const modules[] = {
	"/modules/nf-cas-dummy.ko",
	"/modules/cas_stuck.ko",
	"/modules/cas_oops.ko",
};

static void load(const char *path)
{
	int fd = open(path, O_RDONLY, 0);

	if (my_syscall3(__NR_finit_module, fd, "", 0) < 0)
		write(1, "cannot load a module\n", 21);
	close(fd);
}

static void read_stuck(void)
{
	char byte;

	read(open("/proc/cas_stuck", O_RDONLY, 0), &byte, 1);
}

int main(void)
{
	unsigned int i;

	mount("proc", "/proc", "proc", 0, NULL);
	for (i = 0; i < sizeof(modules) / sizeof(*modules) - 1; i++)
		load(modules[i]);
	if (fork() == 0)
		read_stuck();
	sleep(3);
	load(modules[i]);
	sleep(3600);
	return 0;
}
