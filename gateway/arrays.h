/*
 * arrays.h
 *		Arrays as parameters of a statement.
 */
#ifndef EVQ_GATEWAY_ARRAYS_H
#define EVQ_GATEWAY_ARRAYS_H

#include "buffer.h"

typedef enum ArrayType
{
	ARRAY_JSONB,
	ARRAY_TEXT
} ArrayType;

extern void array_begin(Buffer *array, ArrayType type, int count);
extern void array_add(Buffer *array, ArrayType type, const char *text);

#endif /* EVQ_GATEWAY_ARRAYS_H */
