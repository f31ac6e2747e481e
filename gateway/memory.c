/*
 * memory.c
 *		Memory that is there.
 */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
there(void *block)
{
	if (block == NULL)
	{
		fputs("evq-gateway: out of memory\n", stderr);
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
