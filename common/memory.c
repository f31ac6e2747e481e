/*
 * memory.c
 *		Memory that is there.
 */
#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
tell_and_abort(void)
{
	fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
	abort();
}

void (*memory_ran_out)(void) = tell_and_abort;

static void *
there(void *block)
{
	if (block == NULL)
	{
		memory_ran_out();
		abort();
	}
	return block;
}

/* Zeroed. */
void *
memory_new(size_t size)
{
	return there(calloc(1, size));
}

/* The same, for so many. */
void *
memory_array(size_t count, size_t size)
{
	return there(calloc(count, size));
}

void *
memory_grow(void *block, size_t size)
{
	return there(realloc(block, size));
}

/* A copy of the bytes, with a NUL behind them. */
char *
memory_text(const char *text, size_t length)
{
	char *copy = there(malloc(length + 1));

	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
memory_string(const char *string)
{
	return memory_text(string, strlen(string));
}
