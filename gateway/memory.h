/*
 * memory.h
 *		Memory that is there: where there is none, the program ends and its supervisor starts it again.
 */
#ifndef EVQ_GATEWAY_MEMORY_H
#define EVQ_GATEWAY_MEMORY_H

#include <stddef.h>

extern void *memory_new(size_t size);
extern void *memory_grow(void *block, size_t size);
extern char *memory_text(const char *text, size_t length);

#endif /* EVQ_GATEWAY_MEMORY_H */
