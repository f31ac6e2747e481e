/*
 * clock.h
 *		Milliseconds of a clock that nobody can turn back.
 */
#ifndef EVQ_WORKER_CLOCK_H
#define EVQ_WORKER_CLOCK_H

#include <stdint.h>
#include <time.h>

typedef int64_t Millis;

#define NEVER INT64_MAX

static inline Millis
clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (Millis) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline Millis
clock_earlier(Millis a, Millis b)
{
	return a < b ? a : b;
}

#endif /* EVQ_WORKER_CLOCK_H */
