/*
 * memory.c
 *		Allocation that ends the program when there is no memory.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "memory.h"

static void *
must(void *pointer)
{
	if (pointer == NULL)
	{
		log_write(LOG_ERROR, "out of memory", NULL);
		exit(EX_OSERR);
	}
	return pointer;
}

void *
memory_zeroed(size_t count, size_t size)
{
	return must(calloc(count, size));
}

void *
memory_resized(void *old, size_t size)
{
	return must(realloc(old, size));
}

char *
memory_copy(const char *string)
{
	return must(strdup(string));
}
