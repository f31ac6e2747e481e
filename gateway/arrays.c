/*
 * arrays.c
 *		Arrays as parameters of a statement.
 *
 * In binary, in which an element has its length before it: nothing in an element can be taken for its end, and none is
 * quoted. Elements are text all the same, and the server looks whether it is well formed.
 */
#include "arrays.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

/* The types as the server numbers them, in all its versions. */
static const int type_oids[] = {[ARRAY_JSONB] = 3802, [ARRAY_TEXT] = 25};

#define JSONB_VERSION 1

static void
add_number(Buffer *array, int number)
{
	uint32_t bytes = htonl((uint32_t) number);

	buffer_append(array, (const char *) &bytes, sizeof(bytes));
}

/* Of one dimension, whose elements follow; the server takes it with NULLs and without. */
void
array_begin(Buffer *array, ArrayType type, int count)
{
	add_number(array, 1);
	add_number(array, 1);
	add_number(array, type_oids[type]);
	add_number(array, count);
	add_number(array, 1);
}

/* text: NULL is NULL. */
void
array_add(Buffer *array, ArrayType type, const char *text)
{
	size_t length = text != NULL ? strlen(text) : 0;

	if (text == NULL)
	{
		add_number(array, -1);
		return;
	}
	add_number(array, (int) length + (type == ARRAY_JSONB));
	if (type == ARRAY_JSONB)
		buffer_append(array, &(char){JSONB_VERSION}, 1);
	buffer_append(array, text, length);
}
