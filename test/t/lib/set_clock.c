/*
 * set_clock.c
 *		A library to preload: the clock as if it had been set, for all processes at once.
 *
 * The file that SET_CLOCK_FILE names is the number of seconds to add, in
 * binary. It is mapped, so that a change counts at once everywhere. The
 * monotonic clock and the times of files stay as they are. libfaketime does not
 * do here: PostgreSQL 15 starts background workers from a signal handler that
 * interrupts select(), and there they keep the real clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* What is waited for by the monotonic clock is an earlier second. */
#define LEAST_REAL_SECOND 500000000

static const volatile int64_t *offset;
static int (*real_gettimeofday)(struct timeval *, void *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static void
find(void *function, const char *name)
{
	*(void **) function = dlsym(RTLD_NEXT, name);
	if (*(void **) function == NULL)
		abort();
}

/* Whichever comes first: constructors of other libraries may ask for the time. */
__attribute__((constructor)) static void
init(void)
{
	const char *name = getenv("SET_CLOCK_FILE");
	int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped = file >= 0 ? mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;

	if (mapped == MAP_FAILED)
		abort();
	close(file);
	find(&real_gettimeofday, "gettimeofday");
	find(&real_clock_gettime, "clock_gettime");
	find(&real_cond_timedwait, "pthread_cond_timedwait");
	offset = mapped;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int result;

	if (offset == NULL)
		init();
	result = real_gettimeofday(now, zone);
	now->tv_sec += *offset;
	return result;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int result;

	if (offset == NULL)
		init();
	result = real_clock_gettime(clock, now);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += *offset;
	return result;
}

time_t
time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}

/* The kernel waits by the real clock. */
int
pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
					   const struct timespec *restrict until)
{
	struct timespec real = *until;

	if (offset == NULL)
		init();
	if (real.tv_sec > LEAST_REAL_SECOND)
		real.tv_sec -= *offset;
	return real_cond_timedwait(condition, mutex, &real);
}
