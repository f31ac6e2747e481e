/*
 * set_clock.c
 *		A library to preload: gettimeofday() as if the clock had been set, for all processes at once.
 *
 * The file that SET_CLOCK_FILE names is the number of seconds to add, in
 * binary. It is mapped, so that a change counts at once everywhere. libfaketime
 * does not do here: PostgreSQL 15 starts background workers from a signal
 * handler that interrupts select(), and there they keep the real clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>

static const volatile int64_t *offset;
static int (*real_gettimeofday)(struct timeval *, void *);

__attribute__((constructor)) static void
init(void)
{
	const char *name = getenv("SET_CLOCK_FILE");
	int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped = file >= 0 ? mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;

	*(void **) &real_gettimeofday = dlsym(RTLD_NEXT, "gettimeofday");
	if (mapped == MAP_FAILED || real_gettimeofday == NULL)
		abort();
	offset = mapped;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int result = real_gettimeofday(now, zone);

	now->tv_sec += *offset;
	return result;
}
