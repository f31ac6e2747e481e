/*
 * memory.h
 *		Allocation that ends the program when there is no memory.
 */
#ifndef EVQ_WORKER_MEMORY_H
#define EVQ_WORKER_MEMORY_H

#include <stddef.h>

extern void *memory_zeroed(size_t count, size_t size);
extern void *memory_resized(void *old, size_t size);
extern char *memory_copy(const char *string);

#endif /* EVQ_WORKER_MEMORY_H */
