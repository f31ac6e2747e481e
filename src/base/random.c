/*
 * random.c
 *		Random numbers that nobody can guess or draw again.
 *
 * They are drawn from the operating system, many at a time: asking for each on
 * its own would cost more than what it is for.
 */
#include "postgres.h"

#include "base/random.h"

#define POOL_SIZE 64

static uint64 pool[POOL_SIZE];
static int left;

/* 64 random bits. Raises an error where the operating system has none. */
uint64
evq_random(void)
{
	if (left == 0)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		left = POOL_SIZE;
	}
	return pool[--left];
}
